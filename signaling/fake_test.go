package signaling

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"consilium/internal/event"
	"consilium/internal/leak"
	"consilium/internal/media"
	"consilium/sfu"
)

// patience is how long a test waits for what must happen.
const patience = 5 * time.Second

// fakeSFU opens sessions that record what is asked of them.
type fakeSFU struct {
	mu       sync.Mutex
	joinErr  error
	waiting  bool // new sessions wait to be admitted
	offer    func(context.Context, sfu.Offer) (sfu.Answer, error)
	sessions []*fakeSession
}

func (f *fakeSFU) Join(_ context.Context, r sfu.JoinRequest) (Session, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.joinErr != nil {
		return nil, f.joinErr
	}
	x := &fakeSession{
		id: fmt.Sprintf("session-%d", len(f.sessions)+1), request: r, state: sfu.Joined, offer: f.offer,
		calls: make(chan string, 4096), done: make(chan struct{}),
	}
	if f.waiting {
		x.state = sfu.Waiting
	}
	f.sessions = append(f.sessions, x)
	return x, nil
}

func (f *fakeSFU) set(change func(*fakeSFU)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

// session returns the n-th session that was opened, from 0.
func (f *fakeSFU) session(t *testing.T, n int) *fakeSession {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if n >= len(f.sessions) {
		t.Fatalf("session %d was not opened", n)
	}
	return f.sessions[n]
}

func (f *fakeSFU) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.sessions)
}

// fakeSession is a Session. Each call on it is a line in calls.
type fakeSession struct {
	id      string
	request sfu.JoinRequest
	offer   func(context.Context, sfu.Offer) (sfu.Answer, error)
	calls   chan string

	mu    sync.Mutex
	state sfu.ParticipantState
	ended bool
	done  chan struct{}
}

func (x *fakeSession) note(format string, args ...any) { x.calls <- fmt.Sprintf(format, args...) }

func (x *fakeSession) ID() string { return x.id }

func (x *fakeSession) Call() sfu.CallInfo {
	p := x.request.Person
	return sfu.CallInfo{ID: "call-1", Room: p.Room, ExternalID: "visit-7", Recording: sfu.NoticeRecording{On: true}, Participants: []sfu.ParticipantInfo{
		{Identity: p.Identity, Name: p.Name, Role: p.Role, State: sfu.Joined, Sessions: []string{x.id}},
		{Identity: "somebody-waiting", State: sfu.Waiting},
	}}
}

func (x *fakeSession) State() sfu.ParticipantState {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.state
}

func (x *fakeSession) Offer(ctx context.Context, o sfu.Offer) (sfu.Answer, error) {
	x.note("offer %s", strings.TrimSpace(strings.SplitN(o.SDP, "\n", 2)[0]))
	if x.offer == nil {
		return sfu.Answer{SDP: "answer to " + o.SDP}, nil
	}
	return x.offer(ctx, o)
}

func (x *fakeSession) Publish(_ context.Context, mid string, s media.Source, active, muted bool) error {
	x.note("publish %s %s %v %v", mid, s, active, muted)
	return nil
}

func (x *fakeSession) View(_ context.Context, v []sfu.View) error {
	x.note("view %v", v)
	return nil
}

func (x *fakeSession) Candidate(candidate, mid string) { x.note("candidate %s %s", candidate, mid) }

func (x *fakeSession) Decoded(counts map[string]uint64) { x.note("decoded %v", counts) }

func (x *fakeSession) ClientLog(s event.Stage, text string, f event.Failure, data map[string]any, _ time.Time) {
	x.note("log %s %s %s %v", s, text, f.Code, data)
}

func (x *fakeSession) Admit(_ context.Context, identity string) error {
	x.note("admit %s", identity)
	return nil
}

func (x *fakeSession) Remove(_ context.Context, identity string) error {
	x.note("remove %s", identity)
	return fmt.Errorf("%w: remove", sfu.ErrNoGrant)
}

func (x *fakeSession) Mute(_ context.Context, identity string, s media.Source) error {
	x.note("mute %s %s", identity, s)
	return fmt.Errorf("%w: %s", sfu.ErrNotFound, identity)
}

func (x *fakeSession) EndCall(context.Context) error {
	x.note("end")
	return errors.New("disk on fire")
}

func (x *fakeSession) SocketLost() { x.note("socket lost") }
func (x *fakeSession) SocketBack() { x.note("socket back") }

func (x *fakeSession) Fail(f event.Failure) { x.note("fail %s %s", f.Code, f.Stage) }

func (x *fakeSession) Leave(reason media.EndReason) {
	x.note("leave %s", reason)
	x.end(sfu.NoticeEnded{Reason: reason})
}

func (x *fakeSession) Done() <-chan struct{} { return x.done }

// end ends the session as the SFU does: a last notice, then done.
func (x *fakeSession) end(n sfu.NoticeEnded) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.ended {
		return
	}
	x.ended = true
	if x.request.Notify != nil {
		x.request.Notify(n)
	}
	close(x.done)
}

func (x *fakeSession) notify(n sfu.Notice) { x.request.Notify(n) }

// expect waits for the next call and compares it.
func (x *fakeSession) expect(t *testing.T, want string) {
	t.Helper()
	select {
	case got := <-x.calls:
		if got != want {
			t.Fatalf("SFU was asked %q, want %q", got, want)
		}
	case <-time.After(patience):
		t.Fatalf("SFU was not asked %q", want)
	}
}

// expectNothing fails if the SFU was asked for anything so far.
func (x *fakeSession) expectNothing(t *testing.T) {
	t.Helper()
	select {
	case got := <-x.calls:
		t.Fatalf("SFU was asked %q", got)
	default:
	}
}

// fakeAuth knows tokens of the form "identity@room", with every grant, and a
// few bad ones.
type fakeAuth struct{}

func (fakeAuth) Verify(_ context.Context, token string) (Claims, error) {
	refuse := func(code event.Code, text string) (Claims, error) {
		return Claims{}, fmt.Errorf("verify: %w", &TokenError{Code: code, Err: errors.New(text)})
	}
	switch token {
	case "expired":
		return Claims{}, &TokenError{
			Code: event.TokenExpired, Err: errors.New("expired"), Person: sfu.Person{Room: "r", Identity: "anna"},
		}
	case "forged":
		return Claims{}, &TokenError{
			Code: event.TokenBad, Err: errors.New("bad_signature"), Claimed: Claimed{Room: "r", Identity: "anna"},
		}
	case "early":
		return refuse(event.TokenEarly, "not yet valid")
	case "admin":
		return Claims{}, &TokenError{Code: event.TokenBad, Forbidden: true, Err: errors.New("wrong_role")}
	case "foreign", "alg-none":
		return Claims{}, errors.New("wrong key or algorithm")
	}
	identity, room, ok := strings.Cut(token, "@")
	if !ok {
		return refuse(event.TokenBad, "malformed")
	}
	identity, role, _ := strings.Cut(identity, ":")
	g := sfu.Grants{PublishAudio: true, PublishVideo: true, Subscribe: true}
	switch role {
	case "doctor":
		g.Admit, g.Mute, g.Remove, g.End = true, true, true, true
	case "observer":
		g = sfu.Grants{Subscribe: true}
	case "device":
		g = sfu.Grants{PublishAudio: true, PublishVideo: true}
	}
	return Claims{
		Person: sfu.Person{Room: room, Identity: identity, Name: "Name of " + identity, Role: role, Grants: g},
		Grants: []string{"subscribe"},
	}, nil
}

// fixture is a running Server with fakes around it.
type fixture struct {
	*Server
	sfu    *fakeSFU
	http   *httptest.Server
	events chan event.Event
}

func newFixture(t *testing.T, change func(*Config)) *fixture {
	t.Helper()
	leak.Check(t)
	f := &fixture{sfu: &fakeSFU{}, events: make(chan event.Event, 64)}
	cfg := Config{
		SFU:       f.sfu,
		Auth:      fakeAuth{},
		SecretKey: []byte("0123456789abcdef0123456789abcdef"),
		ICEServers: func(session, identity string) []ICEServer {
			return []ICEServer{{
				URLs: []string{"turn:example.org:3478?transport=udp"}, Username: "1:" + identity, Credential: "c",
			}}
		},
		Events: event.Func(func(e event.Event) { f.events <- e }),
		Timing: Timing{AckDelay: 20 * time.Millisecond},
	}
	if change != nil {
		change(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	f.Server = s
	f.http = httptest.NewServer(s.Handler())
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan error, 1)
	go func() { over <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-over; err != nil {
			t.Errorf("Run: %v", err)
		}
		f.http.Client().CloseIdleConnections()
		http.DefaultClient.CloseIdleConnections()
		f.http.Close()
	})
	return f
}

func (f *fixture) event(t *testing.T) event.Event {
	t.Helper()
	select {
	case e := <-f.events:
		return e
	case <-time.After(patience):
		t.Fatal("no event")
		return event.Event{}
	}
}

// eventually waits until something is true.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("it did not happen: %s", what)
		}
	}
}
