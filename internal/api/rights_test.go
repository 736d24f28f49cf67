package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"consilium/internal/audit"
	"consilium/internal/auth"
)

// watched is an audit log that can be made to fail.
type watched struct {
	*audit.Log
	path   string
	broken atomic.Bool
	stop   func()
}

var errBroken = errors.New("disk I/O error in /secret/path")

func (w *watched) Append(ctx context.Context, entries ...audit.Entry) error {
	if w.broken.Load() {
		return errBroken
	}
	return w.Log.Append(ctx, entries...)
}

func (w *watched) View(ctx context.Context, e audit.Entry) (*audit.Access, error) {
	if w.broken.Load() {
		return nil, errBroken
	}
	return w.Log.View(ctx, e)
}

// entries ends the log and returns all of it.
func (w *watched) entries(t *testing.T) []audit.Entry {
	t.Helper()
	w.stop()
	store, err := audit.Open(w.path)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	entries, err := store.Entries(context.Background(), audit.Filter{Limit: audit.MaxLimit})
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

// newWatchedSite is a site whose recordings are audited.
func newWatchedSite(t *testing.T, change ...func(*Config)) (*site, *watched) {
	t.Helper()
	path := filepath.Join(t.TempDir(), audit.FileName)
	log, err := audit.New(audit.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	w := &watched{Log: log, path: path}
	s := newSite(t, append(change, func(c *Config) { c.Audit = w })...)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- log.Run(ctx) }()
	w.stop = func() {
		cancel()
		if err, open := <-done; open && err != nil {
			t.Error(err)
		}
		close(done)
		w.stop = func() {}
	}
	t.Cleanup(func() { w.stop() })
	return s, w
}

// doctor is the Authorization of a doctor who took part in rec1.
func (s *site) doctor(t *testing.T) string { return "Bearer " + s.token(t, "doc", "red", "doctor") }

func TestWhoTookPartAndMayRecordSeesARecording(t *testing.T) {
	narrow := func(s *site, t *testing.T) string {
		token, err := s.auth.Mint(auth.Claims{
			Subject: "doc", Room: "red", Role: auth.RoleDoctor, Grants: auth.PublishAudio | auth.Subscribe,
		}, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		return "Bearer " + token
	}
	bearer := func(identity, room, role string) func(*site, *testing.T) string {
		return func(s *site, t *testing.T) string { return "Bearer " + s.token(t, identity, room, role) }
	}
	for name, test := range map[string]struct {
		who      func(*site, *testing.T) string
		patients bool
		status   int
	}{
		"an API key":                       {func(*site, *testing.T) string { return basic() }, false, 200},
		"an admin":                         {bearer("root", "*", "admin"), false, 200},
		"a doctor who took part":           {bearer("doc", "red", "doctor"), false, 200},
		"a doctor of another room":         {bearer("doc", "blue", "doctor"), false, 403},
		"a doctor who did not take part":   {bearer("other", "red", "doctor"), false, 403},
		"a doctor without the grant":       {narrow, false, 403},
		"an interpreter":                   {bearer("ivan", "red", "interpreter"), true, 403},
		"an observer":                      {bearer("ivan", "red", "observer"), true, 403},
		"a patient":                        {bearer("anna", "red", "patient"), false, 403},
		"a patient where they may":         {bearer("anna", "red", "patient"), true, 200},
		"a companion where they may":       {bearer("ivan", "red", "companion"), true, 200},
		"a stranger where patients may":    {bearer("eve", "red", "patient"), true, 403},
		"a patient from another room, too": {bearer("anna", "blue", "patient"), true, 403},
		"nobody":                           {func(*site, *testing.T) string { return "" }, true, 401},
		"a forged token":                   {func(*site, *testing.T) string { return "Bearer a.b.c" }, true, 401},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := newWatchedSite(t, func(c *Config) { c.PatientPlayback = test.patients })
			who := test.who(s, t)
			for _, endpoint := range []string{
				"GET /v1/recordings/rec1", "GET /v1/recordings/rec1/files/p1-cam-1.webm", "POST /v1/recordings/rec1/playback",
			} {
				method, path, _ := strings.Cut(endpoint, " ")
				if a := s.send(t, method, path, "", "Authorization", who); a.status != test.status {
					t.Errorf("%s: %d %s, want %d", endpoint, a.status, a.text, test.status)
				}
			}
			// What is not there looks like what he may not see.
			want := test.status
			if admin := want == 200 && !strings.Contains(name, "where") && !strings.Contains(name, "took"); admin {
				want = 404
			} else if want == 200 {
				want = 403
			}
			if a := s.send(t, "GET", "/v1/recordings/guess", "", "Authorization", who); a.status != want {
				t.Errorf("a guessed id: %d %s, want %d", a.status, a.text, want)
			}
		})
	}
}

func TestTheCookieIsItsViewersAndIsAudited(t *testing.T) {
	s, log := newWatchedSite(t)
	a := s.send(t, "POST", "/v1/recordings/rec1/playback", "", "Authorization", s.doctor(t))
	if a.status != 200 {
		t.Fatalf("%d %s", a.status, a.text)
	}
	cookie := cookieOf(t, a)
	const file = "/v1/recordings/rec1/files/p1-cam-1.webm"
	for _, ask := range []string{"bytes=0-3", "bytes=2-4", "bytes=-1"} {
		if a := s.send(t, "GET", file, "", "Authorization", "", "Cookie", cookie, "Range", ask); a.status != 206 {
			t.Errorf("%s: %d %s", ask, a.status, a.text)
		}
	}
	if a := s.send(t, "GET", file+"?download", "", "Authorization", "", "Cookie", cookie); a.status != 200 ||
		a.header.Get("Content-Disposition") != "attachment; filename=rec1-p1-cam-1.webm" {
		t.Errorf("download: %d %v", a.status, a.header)
	}
	entries := log.entries(t)
	var got []string
	for _, e := range entries {
		got = append(got, string(e.Action))
		if e.Actor != "doc" || e.Role != "doctor" || e.Address != "127.0.0.1" || e.Recording != "rec1" || e.Outcome != audit.Done {
			t.Errorf("entry %+v", e)
		}
	}
	if !slices.Equal(got[:3], []string{"playback.allowed", "recording.opened", "recording.opened"}) || len(got) != 5 {
		t.Fatalf("rows %v", got)
	}
	for _, e := range entries[3:] {
		want := map[audit.Action]string{audit.Played: `[[0 4] [9 9]]`, audit.Downloaded: `[[0 9]]`}[e.Action]
		if rangesOf(e) != want || e.File != "p1-cam-1.webm" {
			t.Errorf("%s of %s says %v, want %s", e.Action, e.File, e.Data, want)
		}
	}
}

// cookieOf is the Cookie header that answers the second Set-Cookie: that of the
// files.
func cookieOf(t *testing.T, a answer) string {
	t.Helper()
	response := http.Response{Header: a.header}
	cookies := response.Cookies()
	if len(cookies) != 2 || cookies[0].Value != cookies[1].Value {
		t.Fatalf("cookies %v", cookies)
	}
	return playbackCookie + "=" + cookies[1].Value
}

func TestACookieIsRenewedWhileItIsUsed(t *testing.T) {
	s, _ := newWatchedSite(t)
	key := s.api.playback
	now := time.Now()
	for name, test := range map[string]struct {
		left, last time.Duration
		renewed    bool
	}{
		"fresh":              {9 * time.Minute, time.Hour, false},
		"used for a while":   {5 * time.Minute, time.Hour, true},
		"at the end":         {5 * time.Minute, 5 * time.Minute, false},
		"just before it":     {5 * time.Minute, 7 * time.Minute, true},
		"the token ends now": {9 * time.Minute, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			old := playbackGrant{
				Recording: "rec1", Viewer: "doc", Role: "doctor", Expires: now.Add(test.left).Unix(), Last: now.Add(test.last).Unix(),
			}
			a := s.send(t, "GET", "/v1/recordings/rec1", "", "Authorization", "", "Cookie", playbackCookie+"="+key.sign(old))
			if a.status != 200 || (a.header.Get("Set-Cookie") != "") != test.renewed {
				t.Fatalf("%d, %q", a.status, a.header.Get("Set-Cookie"))
			}
			if !test.renewed {
				return
			}
			r := &http.Request{Header: http.Header{"Cookie": {cookieOf(t, a)}}}
			g, ok := key.grant(r, "rec1")
			if !ok || g.Viewer != "doc" || g.Role != "doctor" || g.Last != old.Last || g.Expires > g.Last || g.Expires <= old.Expires {
				t.Errorf("renewed to %+v, %v", g, ok)
			}
		})
	}
}

func TestNothingIsPlayedThatCanNotBeNoted(t *testing.T) {
	s, log := newWatchedSite(t)
	cookie := cookieOf(t, s.send(t, "POST", "/v1/recordings/rec1/playback", ""))
	log.broken.Store(true)
	for _, endpoint := range []string{
		"GET /v1/recordings/rec1", "GET /v1/recordings/rec1/files/p1-cam-1.webm", "POST /v1/recordings/rec1/playback",
	} {
		method, path, _ := strings.Cut(endpoint, " ")
		authorization := ""
		if method == "POST" {
			authorization = basic()
		}
		a := s.send(t, method, path, "", "Authorization", authorization, "Cookie", cookie)
		if a.status != 503 || strings.Contains(string(a.text), "0123") || strings.Contains(string(a.text), "secret") ||
			a.header.Get("Set-Cookie") != "" || a.header.Get("Retry-After") == "" {
			t.Errorf("%s: %d %v %s", endpoint, a.status, a.header, a.text)
		}
	}
	if a := s.send(t, "GET", "/v1/recordings", ""); a.status != 200 {
		t.Errorf("the list: %d %s", a.status, a.text)
	}
	log.broken.Store(false)
	if a := s.send(t, "GET", "/v1/recordings/rec1", "", "Cookie", cookie); a.status != 200 {
		t.Errorf("after the log is well: %d %s", a.status, a.text)
	}
}

func TestRefusedAccessIsNoted(t *testing.T) {
	s, log := newWatchedSite(t)
	cookie := cookieOf(t, s.send(t, "POST", "/v1/recordings/rec1/playback", ""))
	for name, test := range map[string]struct {
		path, authorization, cookie string
		status                      int
		actor, recording, file      string
	}{
		"a guessed id":            {"/v1/recordings/guess", basic(), "", 404, "mis", "guess", ""},
		"a guessed file":          {"/v1/recordings/rec1/files/p9-cam-9.webm", basic(), "", 404, "mis", "rec1", "p9-cam-9.webm"},
		"up from the files":       {"/v1/recordings/rec1/files/..%2f..%2fsecret.key", basic(), "", 404, "mis", "rec1", `"../../secret.key"`},
		"up, twice encoded":       {"/v1/recordings/rec1/files/%252e%252e%252fsecret", basic(), "", 404, "mis", "rec1", `"%2e%2e%2fsecret"`},
		"up from the recordings":  {"/v1/recordings/..%2f..%2fetc%2fpasswd", basic(), "", 404, "mis", `"../../etc/passwd"`, ""},
		"a NUL":                   {"/v1/recordings/rec1%00", basic(), "", 404, "mis", `"rec1\x00"`, ""},
		"a hidden name":           {"/v1/recordings/rec1/files/.manifest.json.tmp", basic(), "", 404, "mis", "rec1", `".manifest.json.tmp"`},
		"another recording":       {"/v1/recordings/rec2/files/p1-cam-1.webm", "", cookie, 401, "", "rec2", "p1-cam-1.webm"},
		"a stranger":              {"/v1/recordings/rec1", "Bearer " + s.token(t, "eve", "red", "doctor"), "", 403, "eve", "rec1", ""},
		"a patient at the list":   {"/v1/recordings", "Bearer " + s.token(t, "anna", "red", "patient"), "", 403, "", "", ""},
		"a doctor at the log":     {"/v1/audit", s.doctor(t), "", 403, "", "", ""},
		"nobody":                  {"/v1/recordings/rec1/files/p1-mic-1.webm", "", "", 401, "", "rec1", "p1-mic-1.webm"},
		"a file no key opens":     {"/v1/recordings/rec1/files/p8-cam-1.webm", basic(), "", 409, "mis", "rec1", "p8-cam-1.webm"},
		"a damaged file":          {"/v1/recordings/rec1/files/p7-cam-1.webm", basic(), "", 500, "mis", "rec1", "p7-cam-1.webm"},
		"a very long id of a bot": {"/v1/recordings/" + strings.Repeat("x", 500), basic(), "", 404, "mis", `"` + strings.Repeat("x", 130) + `"`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			a := s.send(t, "GET", test.path, "", "Authorization", test.authorization, "Cookie", test.cookie)
			if a.status != test.status || strings.Contains(string(a.text), "secret/path") {
				t.Errorf("%d %s, want %d", a.status, a.text, test.status)
			}
			page, err := log.Entries(t.Context(), audit.Filter{Recording: test.recording, Limit: 100})
			for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline) && err == nil; {
				at := slices.IndexFunc(page, func(e audit.Entry) bool {
					return e.Action == audit.Refused && e.Recording == test.recording && e.File == test.file && e.Actor == test.actor
				})
				if at >= 0 {
					if e := page[at]; e.Outcome != audit.Denied || e.Address != "127.0.0.1" || e.Data["reason"] == nil {
						t.Errorf("entry %+v", e)
					}
					return
				}
				page, err = log.Entries(t.Context(), audit.Filter{Recording: test.recording, Limit: 100})
			}
			t.Errorf("no entry: %+v, %v", page, err)
		})
	}
}

// rangesOf is what an entry says of the bytes that were read.
func rangesOf(e audit.Entry) string {
	list, _ := e.Data["ranges"].([]any)
	var out []string
	for _, pair := range list {
		out = append(out, strings.Trim(fmt.Sprint(pair), "[]"))
	}
	return "[[" + strings.Join(out, "] [") + "]]"
}
