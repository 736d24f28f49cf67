package api

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"consilium/internal/auth"
	"consilium/internal/catalog"
	"consilium/internal/config"
	"consilium/internal/event"
	"consilium/internal/journal"
	"consilium/internal/leak"
	"consilium/internal/media"
	"consilium/internal/metrics"
	"consilium/internal/seal"
	"consilium/sfu"
)

const keySecret = "a secret of at least thirty-two bytes!"

// fakeCalls is an SFU without media: calls are what tests put in.
type fakeCalls struct {
	mu     sync.Mutex
	calls  map[string]sfu.CallInfo
	done   []string // what was asked for
	refuse error
	enter  chan struct{} // OpenCall tells that it began, if set
	leave  chan struct{} // and waits for this
	sink   event.Sink
}

func (f *fakeCalls) OpenCall(_ context.Context, spec sfu.CallSpec) (sfu.CallInfo, error) {
	if f.enter != nil {
		f.enter <- struct{}{}
		<-f.leave
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refuse != nil {
		return sfu.CallInfo{}, fmt.Errorf("open: %w", f.refuse)
	}
	info := sfu.CallInfo{
		ID: fmt.Sprintf("call-%d", len(f.calls)+1), Room: spec.Room, ExternalID: spec.ExternalID,
		Metadata: spec.Metadata, Hold: spec.Hold, Started: time.Now(),
	}
	f.calls[info.ID] = info
	f.sink.Emit(event.Event{
		Type: event.CallStarted, Call: info.ID, Room: info.Room, ExternalID: info.ExternalID, Metadata: info.Metadata,
	})
	return info, nil
}

func (f *fakeCalls) Calls() []sfu.CallInfo {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []sfu.CallInfo
	for _, info := range f.calls {
		all = append(all, info)
	}
	return all
}

func (f *fakeCalls) Call(id string) (sfu.CallInfo, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	info, ok := f.calls[id]
	return info, ok
}

func (f *fakeCalls) do(what, id, identity, by string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	info, ok := f.calls[id]
	if !ok {
		return fmt.Errorf("call: %w", sfu.ErrNotFound)
	}
	if f.refuse != nil {
		return f.refuse
	}
	if what != "end" {
		found := false
		for _, p := range info.Participants {
			found = found || p.Identity == identity
		}
		if !found {
			return fmt.Errorf("participant: %w", sfu.ErrNotFound)
		}
	}
	f.done = append(f.done, strings.TrimSpace(what+" "+identity)+" by "+by)
	return nil
}

func (f *fakeCalls) EndCall(_ context.Context, id, by string) error {
	if err := f.do("end", id, "", by); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.calls, id)
	f.sink.Emit(event.Event{Type: event.CallEnded, Call: id})
	return nil
}

func (f *fakeCalls) Remove(_ context.Context, call, identity, by string) error {
	return f.do("remove", call, identity, by)
}

func (f *fakeCalls) Mute(_ context.Context, call, identity string, source media.Source, by string) error {
	return f.do("mute "+string(source), call, identity, by)
}

func (f *fakeCalls) Admit(_ context.Context, call, identity, by string) error {
	return f.do("admit", call, identity, by)
}

// join puts a participant into a call.
func (f *fakeCalls) join(id, identity string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	info := f.calls[id]
	info.Participants = append(info.Participants, sfu.ParticipantInfo{
		Identity: identity, Name: "Anna", Role: "patient", State: sfu.Joined, Sessions: []string{"s1"},
		Tracks: []sfu.TrackInfo{{ID: "t1", Session: "s1", Source: media.Camera, Codec: media.VP8, State: sfu.TrackFlowing}},
	})
	f.calls[id] = info
}

// fakeRecordings holds one recording with one file.
type fakeRecordings struct {
	content []byte
	slow    chan struct{} // tells that recording "slow" is being verified, and lets it end
}

type nopCloser struct{ io.ReadSeeker }

func (nopCloser) Close() error { return nil }

func (fakeRecordings) List(_ context.Context, f catalog.Filter) ([]catalog.Recording, string, error) {
	if f.After != "" && f.After != "1.rec1" {
		return nil, "", catalog.ErrBadAfter
	}
	return []catalog.Recording{{ID: "rec1", Room: f.Room, ExternalID: f.ExternalID, State: f.State}}, "1.rec1", nil
}

func (fakeRecordings) Attendance(_ context.Context, id string) (Attendance, error) {
	if id != "rec1" {
		return Attendance{}, fmt.Errorf("open /secret/path/%s: %w", id, fs.ErrNotExist)
	}
	return Attendance{Room: "red", Identities: []string{"doc", "anna", "ivan"}}, nil
}

func (fakeRecordings) Show(_ context.Context, id string) (any, error) {
	if id != "rec1" {
		return nil, fmt.Errorf("open /secret/path/%s: %w", id, fs.ErrNotExist)
	}
	return map[string]string{"call": "rec1"}, nil
}

func (f fakeRecordings) Open(_ context.Context, id, name string) (File, error) {
	switch name {
	case "p8-cam-1.webm":
		return File{}, seal.ErrNoIdentity
	case "p7-cam-1.webm":
		return File{}, seal.ErrDamaged
	}
	if id != "rec1" || name != "p1-cam-1.webm" && name != "p1-mic-1.webm" {
		return File{}, fmt.Errorf("open /secret/path/%s: %w", name, fs.ErrNotExist)
	}
	return File{Content: nopCloser{bytes.NewReader(f.content)}, Modified: time.Unix(1_800_000_000, 0)}, nil
}

func (f fakeRecordings) Verify(ctx context.Context, id string) (Verification, error) {
	switch id {
	case "rec1":
		return Verification{State: Intact, Files: 2, Bytes: 7, Key: "ab", Findings: []VerifyFinding{}}, nil
	case "rec2":
		return Verification{State: Changed, Files: 2, Key: "ab", Findings: []VerifyFinding{{File: "p1-mic-1.webm", Problem: "it is missing"}}}, nil
	case "slow":
		f.slow <- struct{}{}
		<-f.slow
		return Verification{State: Unfinished, Findings: []VerifyFinding{}}, nil
	}
	return Verification{}, fmt.Errorf("open /secret/path/%s: %w", id, fs.ErrNotExist)
}

type fakeTURN struct{}

func (fakeTURN) Credentials(username string) (TURNCredentials, error) {
	return TURNCredentials{Username: "1:" + username, Password: "p", TTL: 600, URIs: []string{"turn:h:3478?transport=udp"}}, nil
}

// site is an API on a test server.
type site struct {
	*httptest.Server
	calls   *fakeCalls
	journal *journal.Journal
	auth    *auth.Authority
	api     *API
	ready   error
}

func newSite(t testing.TB, change ...func(*Config)) *site {
	t.Helper()
	leak.Check(t)
	authority, err := auth.New(auth.Config{Keys: map[string]config.Key{"mis": {Secret: keySecret}}})
	if err != nil {
		t.Fatal(err)
	}
	kept, err := journal.New(journal.Config{Path: filepath.Join(t.TempDir(), "consilium.db")})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- kept.Run(ctx) }()
	s := &site{calls: &fakeCalls{calls: make(map[string]sfu.CallInfo), sink: kept}, journal: kept, auth: authority}
	cfg := Config{
		Calls: s.calls, Auth: authority, Journal: kept, TURN: fakeTURN{}, Metrics: metrics.New(),
		Recordings: fakeRecordings{content: []byte("0123456789")},
		PublicURL:  "https://video.example", Ready: func() error { return s.ready },
	}
	for _, f := range change {
		f(&cfg)
	}
	api, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.api, s.Server = api, httptest.NewServer(api)
	t.Cleanup(func() {
		s.Close()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s
}

// token mints a token for a person.
func (s *site) token(t testing.TB, identity, room, role string) string {
	t.Helper()
	token, err := s.auth.Mint(auth.Claims{Subject: identity, Room: room, Role: auth.Role(role)}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	text   []byte
	json   map[string]any
}

// code of a problem.
func (a answer) code() any { return a.json["code"] }

// basic is the API key.
func basic() string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte("mis:"+keySecret))
}

// send makes a request with the API key; header pairs change it.
func (s *site) send(t testing.TB, method, path, body string, header ...string) answer {
	t.Helper()
	r, err := http.NewRequest(method, s.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", basic())
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
		if header[i+1] == "" {
			r.Header.Del(header[i])
		}
	}
	client := *s.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	response, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatal(err)
	}
	a := answer{status: response.StatusCode, header: response.Header, text: text}
	if strings.Contains(a.header.Get("Content-Type"), "json") {
		if err := json.Unmarshal(text, &a.json); err != nil {
			t.Errorf("%s %s: answer is not JSON: %v: %s", method, path, err, text)
		}
	}
	return a
}

// open makes a call and returns its id.
func (s *site) open(t testing.TB, body string) string {
	t.Helper()
	a := s.send(t, "POST", "/v1/calls", body)
	id, ok := a.json["id"].(string)
	if a.status != http.StatusCreated || !ok {
		t.Fatalf("POST /v1/calls: %d %s", a.status, a.text)
	}
	return id
}
