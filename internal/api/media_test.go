package api

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"consilium/internal/auth"
	"consilium/internal/event"
)

func TestRecordingsAreServedInRanges(t *testing.T) {
	s := newSite(t)
	const file = "/v1/recordings/rec1/files/p1-cam-1.webm"
	whole := s.send(t, "GET", file, "")
	if whole.status != 200 || string(whole.text) != "0123456789" || whole.header.Get("Content-Type") != "video/webm" ||
		whole.header.Get("Accept-Ranges") != "bytes" {
		t.Errorf("whole: %d %v %s", whole.status, whole.header, whole.text)
	}
	part := s.send(t, "GET", file, "", "Range", "bytes=2-4")
	if part.status != 206 || string(part.text) != "234" || part.header.Get("Content-Range") != "bytes 2-4/10" {
		t.Errorf("part: %d %v %s", part.status, part.header, part.text)
	}
	tail := s.send(t, "GET", file, "", "Range", "bytes=-3", "If-Range", whole.header.Get("Etag"))
	if tail.status != 206 || string(tail.text) != "789" {
		t.Errorf("tail: %d %s", tail.status, tail.text)
	}
	if beyond := s.send(t, "GET", file, "", "Range", "bytes=20-"); beyond.status != 416 {
		t.Errorf("beyond the end: %d", beyond.status)
	}
	head := s.send(t, "HEAD", file, "")
	if head.status != 200 || head.header.Get("Content-Length") != "10" || len(head.text) != 0 {
		t.Errorf("HEAD: %d %v", head.status, head.header)
	}
	if same := s.send(t, "GET", file, "", "If-None-Match", whole.header.Get("Etag")); same.status != 304 {
		t.Errorf("unchanged: %d", same.status)
	}
	if sound := s.send(t, "GET", "/v1/recordings/rec1/files/p1-mic-1.webm", ""); sound.header.Get("Content-Type") != "audio/webm" {
		t.Errorf("sound is %q", sound.header.Get("Content-Type"))
	}
	if one := s.send(t, "GET", "/v1/recordings/rec1", ""); one.json["call"] != "rec1" {
		t.Errorf("manifest: %s", one.text)
	}
}

func TestThePlaybackCookieOpensOneRecordingForTenMinutes(t *testing.T) {
	s := newSite(t)
	a := s.send(t, "POST", "/v1/recordings/rec1/playback", "")
	if a.status != 200 || a.json["url"] != "https://video.example/recordings/rec1" {
		t.Fatalf("%d %s", a.status, a.text)
	}
	response := http.Response{Header: a.header}
	var paths []string
	for _, c := range response.Cookies() {
		paths = append(paths, c.Path)
		if !c.HttpOnly || !c.Secure || c.SameSite != http.SameSiteStrictMode || c.MaxAge != 600 {
			t.Errorf("cookie = %v", c)
		}
	}
	if !slices.Equal(paths, []string{"/recordings/rec1", "/v1/recordings/rec1"}) {
		t.Fatalf("cookies for %v", paths)
	}
	cookie := playbackCookie + "=" + response.Cookies()[1].Value
	key, grant := newPlaybackKey(), playbackGrant{Recording: "rec1", Viewer: "mis", Expires: time.Now().Add(time.Hour).Unix()}
	tests := map[string]struct {
		method, path, cookie string
		status               int
	}{
		"its file":             {"GET", "/v1/recordings/rec1/files/p1-cam-1.webm", cookie, 200},
		"its manifest":         {"GET", "/v1/recordings/rec1", cookie, 200},
		"another recording":    {"GET", "/v1/recordings/rec2", cookie, 401},
		"the list":             {"GET", "/v1/recordings", cookie, 401},
		"longer":               {"POST", "/v1/recordings/rec1/playback", cookie, 401},
		"no cookie":            {"GET", "/v1/recordings/rec1", "", 401},
		"changed":              {"GET", "/v1/recordings/rec1", cookie + "x", 401},
		"of another server":    {"GET", "/v1/recordings/rec1", playbackCookie + "=" + key.sign(grant), 401},
		"garbage":              {"GET", "/v1/recordings/rec1", playbackCookie + "=x.y.z", 401},
		"garbage and the real": {"GET", "/v1/recordings/rec1", playbackCookie + "=x; " + cookie, 200},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			a := s.send(t, test.method, test.path, "", "Authorization", "", "Cookie", test.cookie)
			if a.status != test.status {
				t.Errorf("%d %s, want %d", a.status, a.text, test.status)
			}
		})
	}
	r, err := http.NewRequest("GET", "/", nil)
	if err != nil {
		t.Fatal(err)
	}
	grant.Expires = time.Now().Add(-time.Second).Unix()
	r.Header.Set("Cookie", playbackCookie+"="+key.sign(grant))
	if _, ok := key.grant(r, "rec1"); ok {
		t.Error("an expired cookie is taken")
	}
}

func TestAServerWithoutRecordingsOrTURNSaysSo(t *testing.T) {
	s := newSite(t, func(c *Config) { c.Recordings, c.TURN = nil, nil })
	for path, want := range map[string]int{
		"/v1/recordings": 200, "/v1/recordings/rec1": 404, "/v1/recordings/rec1/files/a.webm": 404, "/v1/turn": 404,
	} {
		if a := s.send(t, "GET", path, ""); a.status != want {
			t.Errorf("%s: %d %s", path, a.status, a.text)
		}
	}
}

func TestTURNCredentialsAreForOnesOwnIdentity(t *testing.T) {
	s := newSite(t)
	join := "Bearer " + s.token(t, "anna", "red", "patient")
	for name, test := range map[string]struct{ path, authorization, username string }{
		"an admin for anybody":          {"/v1/turn?service=turn&username=dev-1", basic(), "1:dev-1"},
		"an admin for nobody":           {"/v1/turn", basic(), "1:mis"},
		"a participant":                 {"/v1/turn", join, "1:anna"},
		"a participant for another one": {"/v1/turn?username=boris", join, "1:anna"},
	} {
		t.Run(name, func(t *testing.T) {
			a := s.send(t, "GET", test.path, "", "Authorization", test.authorization)
			if a.status != 200 || a.json["username"] != test.username || a.json["ttl"] != 600.0 {
				t.Errorf("%d %s", a.status, a.text)
			}
			if uris, _ := a.json["uris"].([]any); len(uris) != 1 {
				t.Errorf("uris = %v", a.json["uris"])
			}
			if a.header.Get("Cache-Control") != "no-store" {
				t.Errorf("Cache-Control = %q", a.header.Get("Cache-Control"))
			}
		})
	}
}

func TestTheServerSaysWhyASocketDoesNotOpenIfItKnows(t *testing.T) {
	refused := true
	s := newSite(t, func(c *Config) {
		c.Untrusted = func(client netip.Addr) (map[string]any, bool) {
			return map[string]any{"alert": "tls: unknown certificate"}, refused && client.IsLoopback()
		}
	})
	bearer := "Bearer " + s.token(t, "anna", "red", "patient")
	log := func(code string) string {
		return `{"entries": [{"stage": "socket", "text": "lost", "code": "` + code + `"}]}`
	}
	ask := func(code string, status int, answer string) {
		t.Helper()
		if a := s.send(t, "POST", "/v1/diag", log(code), "Authorization", bearer); a.status != status || !strings.Contains(string(a.text), answer) {
			t.Errorf("%s: %d %s, want %d %s", code, a.status, a.text, status, answer)
		}
	}
	ask("SIGNAL_LOST", 200, `{"code":"CERT_UNTRUSTED"`)
	ask("CAM_DENIED", 200, `{"incidents":{"CAM_DENIED":"`)
	refused = false
	ask("SIGNAL_LOST", 200, `{"incidents":{"SIGNAL_LOST":"`)
	events, _, err := s.journal.Events(t.Context(), "", 100)
	if err != nil {
		t.Fatal(err)
	}
	var codes []event.Code
	for _, e := range events {
		codes = append(codes, e.Code)
	}
	if !slices.Equal(codes, []event.Code{event.CertUntrusted, event.CamDenied, event.SignalLost}) {
		t.Fatalf("the feed has %v", codes)
	}
	if e := events[0]; e.Evidence["alert"] != "tls: unknown certificate" || e.Evidence["client_log"] != "lost" {
		t.Errorf("evidence %v", e.Evidence)
	}
}

func TestAClientsLogReachesTheJournal(t *testing.T) {
	s := newSite(t)
	id := s.open(t, `{"room": "red", "external_id": "x"}`)
	const log = `{"entries": [
		{"time": 1800000000000, "stage": "socket", "text": "closed 1006"},
		{"time": 1800000001000, "stage": "socket", "text": "gave up", "code": "SIGNAL_LOST", "data": {"tries": 3}},
		{"time": 1800000002000, "stage": "page", "text": "and more", "code": "UNKNOWN"}]}`
	bearer := "Bearer " + s.token(t, "anna", "red", "patient")
	told := s.send(t, "POST", "/v1/diag", log, "Authorization", bearer)
	if told.status != 200 {
		t.Fatalf("%d %s", told.status, told.text)
	}
	timeline, err := s.journal.Timeline(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	var notes, failures []event.Event
	for _, e := range timeline {
		switch e.Type {
		case event.NoteClient:
			notes = append(notes, e)
		case event.ParticipantFailed:
			failures = append(failures, e)
		}
	}
	if len(notes) != 3 || notes[1].Code != event.SignalLost || notes[1].Data["text"] != "gave up" || notes[1].Participant != "anna" {
		t.Errorf("notes = %+v", notes)
	}
	if len(failures) != 1 || failures[0].Code != event.SignalLost || failures[0].Stage != event.StageSocket || failures[0].ExternalID != "x" {
		t.Errorf("failures = %+v", failures)
	}
	numbers, _ := told.json["incidents"].(map[string]any)
	if number := numbers["SIGNAL_LOST"]; number == nil || number != failures[0].Incident() || number != notes[1].Incident() {
		t.Errorf("the page is told %v, the MIS %s, the journal %s", numbers, failures[0].Incident(), notes[1].Incident())
	}
	// Who is in the call is watched by the SFU, which says more.
	s.calls.join(id, "anna")
	s.send(t, "POST", "/v1/diag", log, "Authorization", bearer)
	failed := 0
	if timeline, err = s.journal.Timeline(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	for _, e := range timeline {
		if e.Type == event.ParticipantFailed {
			failed++
		}
	}
	if failed != 1 {
		t.Errorf("%d participant.failed, want 1", failed)
	}
}

func TestTheOutcomeOfASelfTestIsAnEventAndNoFailure(t *testing.T) {
	s := newSite(t)
	id := s.open(t, `{"room": "red", "external_id": "x"}`)
	const outcome = `{"precheck": {"verdict": "limited", "code": "UDP_BLOCKED", "checks": {
		"udp": {"status": "failed", "code": "UDP_BLOCKED"}, "turn_tcp": {"status": "ok", "values": {"ms": 120}}}}}`
	bearer := "Bearer " + s.token(t, "anna", "red", "patient")
	if a := s.send(t, "POST", "/v1/diag", outcome, "Authorization", bearer); a.status != 204 {
		t.Fatalf("%d %s", a.status, a.text)
	}
	timeline, err := s.journal.Timeline(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	var found []event.Event
	for _, e := range timeline {
		if e.Participant == "anna" {
			found = append(found, e)
		}
	}
	if len(found) != 1 || found[0].Type != event.PrecheckCompleted || found[0].ExternalID != "x" ||
		found[0].Data["verdict"] != "limited" || found[0].Data["code"] != "UDP_BLOCKED" {
		t.Errorf("events = %+v", found)
	}
}

func TestASelfTestGetsARoomThatLeavesNoTrace(t *testing.T) {
	s := newSite(t)
	a := s.send(t, "POST", "/v1/precheck", "{}", "Authorization", "Bearer "+s.token(t, "anna", "red", "patient"))
	token, _ := a.json["token"].(string)
	claims, err := s.auth.VerifyJoin(token)
	if a.status != 200 || err != nil {
		t.Fatalf("%d %s, %v", a.status, a.text, err)
	}
	if claims.Room != a.json["room"] || !event.InPrecheck(claims.Room) || claims.Subject != "anna" || claims.Grants.Has(auth.Admit) {
		t.Errorf("claims = %+v", claims)
	}
	s.journal.Emit(event.Event{Type: event.CallStarted, Room: claims.Room, Call: "c_test"})
	events, _, err := s.journal.Events(t.Context(), "", 100)
	if err != nil || len(events) != 0 {
		t.Errorf("events = %+v, %v", events, err)
	}
}

func TestBadClientLogsAreRefused(t *testing.T) {
	s := newSite(t)
	bearer := "Bearer " + s.token(t, "anna", "red", "patient")
	many := `{"entries": [` + strings.TrimSuffix(strings.Repeat(`{"text":"a"},`, 201), ",") + `]}`
	for name, test := range map[string]struct {
		body   string
		status int
	}{
		"no entries":      {`{}`, 422},
		"too many":        {many, 422},
		"unknown code":    {`{"entries": [{"code": "OOPS"}]}`, 422},
		"unknown stage":   {`{"entries": [{"stage": "lunch"}]}`, 422},
		"strange session": {`{"session": "a b", "entries": [{}]}`, 422},
		"unknown field":   {`{"entries": [{"x": 1}]}`, 422},
		"verdict":         {`{"precheck": {"verdict": "fine"}}`, 422},
		"code of a check": {`{"precheck": {"verdict": "good", "checks": {"udp": {"status": "ok", "code": "OOPS"}}}}`, 422},
		"status":          {`{"precheck": {"verdict": "good", "checks": {"udp": {"status": "so so"}}}}`, 422},
		"name of a check": {`{"precheck": {"verdict": "good", "checks": {"a b": {"status": "ok"}}}}`, 422},
		"name of a value": {`{"precheck": {"verdict": "good", "checks": {"udp": {"status": "ok", "values": {"a b": 1}}}}}`, 422},
		"not JSON":        {`entries`, 400},
		"too long":        {strings.Repeat(" ", 70<<10), 413},
	} {
		t.Run(name, func(t *testing.T) {
			if a := s.send(t, "POST", "/v1/diag", test.body, "Authorization", bearer); a.status != test.status {
				t.Errorf("%d %s, want %d", a.status, a.text, test.status)
			}
		})
	}
	limited := false
	for range 10 {
		full := `{"entries": [` + strings.TrimSuffix(strings.Repeat(`{"text":"a"},`, 200), ",") + `]}`
		a := s.send(t, "POST", "/v1/diag", full, "Authorization", bearer)
		limited = limited || a.status == 429 && a.header.Get("Retry-After") != ""
	}
	if !limited {
		t.Error("a flood of logs is not limited")
	}
}

// FuzzPlaybackCookie tries cookies nobody signed: none opens anything.
func FuzzPlaybackCookie(f *testing.F) {
	key, other := newPlaybackKey(), newPlaybackKey()
	strange := other.sign(playbackGrant{Recording: "rec1", Viewer: "mis", Expires: time.Now().Add(time.Hour).Unix()})
	for _, seed := range []string{"", ".", "9999999999.", "9999999999.AAAA", strange, "-1.x", "1;2"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		r := &http.Request{Header: http.Header{"Cookie": {playbackCookie + "=" + value}}}
		if _, ok := key.grant(r, "rec1"); ok {
			t.Errorf("%q opens a recording", value)
		}
	})
}
