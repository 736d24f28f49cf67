package contract

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"consilium/internal/bot"
	"consilium/internal/database"
)

// recorded is a line of GET /v1/recordings.
type recorded struct {
	ID, Room, State string
	ExternalID      string `json:"external_id"`
	Participants    []struct{ Identity, Role string }
	Files           int
}

// list asks for recordings.
func (c *child) list(query string) (list []recorded, next string) {
	c.t.Helper()
	var page struct {
		Recordings []recorded
		Next       string
	}
	c.get("/v1/recordings?"+query, &page)
	return page.Recordings, page.Next
}

// audited is an entry of GET /v1/audit.
type audited struct {
	Sequence                                               int
	Action, Outcome, Actor, Role, Address, Recording, File string
	Hash                                                   string
	Data                                                   map[string]any
}

func (c *child) audit(query string) []audited {
	c.t.Helper()
	var page struct{ Entries []audited }
	c.get("/v1/audit?limit=1000&"+query, &page)
	return page.Entries
}

// record holds a call of a doctor and a patient in a room and returns its id
// when its recording is ready.
func (c *child) record(room string) string {
	c.t.Helper()
	p := c.pair(room)
	call := p.doctor.Snapshot().Welcome.Call
	if a := c.ask("DELETE", "/v1/calls/"+call, apiKey(), ""); a.status != http.StatusNoContent {
		c.t.Fatalf("DELETE: %d %s", a.status, a.body)
	}
	c.waitEvent(20*time.Second, "recording.ready", room, "")
	return call
}

func TestRecordingsAreFoundTheSameWithoutTheDatabase(t *testing.T) {
	t.Parallel()
	c := serve(t, nil)
	red, blue := c.record("red"), c.record("blue")
	eventually(t, 5*time.Second, "both recordings final in the list", func() bool {
		list, _ := c.list("state=final")
		return len(list) == 2
	})
	checkSearch(t, c, red, blue)
	before, entries := c.ask("GET", "/v1/recordings", apiKey(), "").body, c.audit("")
	c.stop()
	if files, err := filepath.Glob(filepath.Join(c.data, "consilium.db*")); err != nil || len(files) == 0 {
		t.Fatalf("database files %v, %v", files, err)
	} else {
		remove(t, files...)
	}
	again := serveIn(t, c.data, nil)
	if after := again.ask("GET", "/v1/recordings", apiKey(), "").body; after != before {
		t.Errorf("before %s\nafter  %s", before, after)
	}
	checkSearch(t, again, red, blue)
	if r := command(t, nil, "recordings", "reindex", "--data", c.data); r.stdout != "2 recordings\n" {
		t.Errorf("reindex: %+v", r)
	}
	// The audit log is no index: it is all there, and in one chain.
	after := again.audit("")
	if len(after) < len(entries) {
		t.Fatalf("%d entries of the audit log are left of %d", len(after), len(entries))
	}
	for i, e := range entries {
		if after[i].Hash != e.Hash || after[i].Sequence != i+1 {
			t.Errorf("entry %d was %+v, is %+v", i, e, after[i])
		}
	}
	for _, action := range []string{"recording.armed", "recording.ready"} {
		if !slices.ContainsFunc(after, func(e audited) bool { return e.Action == action && e.Recording == red }) {
			t.Errorf("no entry %s of %s in %+v", action, red, after)
		}
	}
	if r := command(t, nil, "audit", "--verify", "--data", c.data); r.code != 0 || !strings.HasPrefix(r.stdout, "ok: ") {
		t.Errorf("audit --verify: %+v", r)
	}
}

// checkSearch looks for the recordings of two rooms in every way there is.
func checkSearch(t *testing.T, c *child, red, blue string) {
	t.Helper()
	soon := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	for query, want := range map[string][]string{
		"":                            {blue, red},
		"room=red":                    {red},
		"participant=doctor":          {blue, red},
		"participant=nobody":          {},
		"participant=patient&limit=1": {blue},
		"state=live":                  {},
		"external_id=none":            {},
		"to=" + soon:                  {blue, red},
		"from=" + soon:                {},
	} {
		list, next := c.list(query)
		ids := []string{}
		for _, r := range list {
			ids = append(ids, r.ID)
			if len(r.Participants) != 2 || r.Files != 4 || r.State != "final" {
				t.Errorf("%q: %+v", query, r)
			}
		}
		if !slices.Equal(ids, want) || (next != "") != strings.Contains(query, "limit") {
			t.Errorf("%q: %v and next %q, want %v", query, ids, next, want)
		}
	}
	_, next := c.list("limit=1")
	if rest, last := c.list("limit=1&after=" + next); len(rest) != 1 || rest[0].ID != red || last != "" {
		t.Errorf("the second page: %+v, next %q", rest, last)
	}
}

func TestADoctorPlaysBackTheCallHeTookPartIn(t *testing.T) {
	t.Parallel()
	c := serve(t, nil)
	call := c.record("red")
	base := "/v1/recordings/" + call
	for name, test := range map[string]struct {
		token  string
		status int
	}{
		"who took part":              {joinToken(t, "red", "doctor", "doctor"), 200},
		"a doctor of another room":   {joinToken(t, "blue", "doctor", "doctor"), 403},
		"a doctor who was not there": {joinToken(t, "red", "other", "doctor"), 403},
		"the patient":                {joinToken(t, "red", "patient", "patient"), 403},
	} {
		for _, endpoint := range []string{"POST " + base + "/playback", "GET " + base} {
			method, path, _ := strings.Cut(endpoint, " ")
			if a := c.ask(method, path, bearer(test.token), ""); a.status != test.status {
				t.Errorf("%s: %s: %d %s, want %d", name, endpoint, a.status, a.body, test.status)
			}
		}
	}
	cookie := "Cookie: " + playbackCookie(t, c.ask("POST", base+"/playback", bearer(joinToken(t, "red", "doctor", "doctor")), ""))
	var m struct{ Segments []struct{ File string } }
	c.ask("GET", base, "", "", cookie).decode(t, &m)
	if len(m.Segments) != 4 {
		t.Fatalf("segments %+v", m.Segments)
	}
	file := m.Segments[0].File
	for _, ask := range []string{"bytes=0-99", "bytes=100-199", "bytes=-50"} {
		if a := c.ask("GET", base+"/files/"+file, "", "", cookie, "Range: "+ask); a.status != http.StatusPartialContent {
			t.Errorf("%s: %d %s", ask, a.status, a.body)
		}
	}
	checkRefusals(t, c, base, cookie)
	c.stop() // what was read is in the log at the latest then
	entries := serveIn(t, c.data, nil).audit("recording=" + call)
	checkPlayed(t, entries, file)
}

// playbackCookie is what the browser sends after POST .../playback.
func playbackCookie(t *testing.T, a answer) string {
	t.Helper()
	response := http.Response{Header: a.header}
	for _, cookie := range response.Cookies() {
		if strings.HasPrefix(cookie.Path, "/v1/recordings/") && cookie.HttpOnly && cookie.SameSite == http.SameSiteStrictMode {
			return cookie.Name + "=" + cookie.Value
		}
	}
	t.Fatalf("no cookie for the files: %d %v", a.status, a.header)
	return ""
}

// checkRefusals asks for what is not there, or not to be seen (case 33).
func checkRefusals(t *testing.T, c *child, base, cookie string) {
	t.Helper()
	doctor := bearer(joinToken(t, "red", "doctor", "doctor"))
	for name, test := range map[string]struct {
		path, authorization string
		status              int
	}{
		"guessed, with the cookie":      {"/v1/recordings/abcdefghijklmnop", "", 401},
		"guessed, by the doctor":        {"/v1/recordings/abcdefghijklmnop", doctor, 403},
		"guessed, by an admin":          {"/v1/recordings/abcdefghijklmnop", apiKey(), 404},
		"the list":                      {"/v1/recordings", doctor, 403},
		"the audit log":                 {"/v1/audit", doctor, 403},
		"a file that is not there":      {base + "/files/p9-cam-9.webm", "", 404},
		"up":                            {base + "/files/..%2f..%2f..%2fsession.key", "", 404},
		"up, and down again":            {base + "/files/..%2fmanifest.json", "", 404},
		"up, by an admin":               {"/v1/recordings/..%2f..%2f/files/session.key", apiKey(), 404},
		"the keys":                      {base + "/files/session.key", "", 404},
		"an absolute path":              {base + "/files/%2fetc%2fpasswd", "", 404},
		"a backslash":                   {base + "/files/..%5c..%5csession.key", "", 404},
		"a name that is cut by a NUL":   {base + "/files/p1-cam-1.webm%00.txt", "", 404},
		"the chain of manifests":        {"/v1/recordings/chain", apiKey(), 404},
		"a directory of the recordings": {"/v1/recordings/%2e", apiKey(), 404},
	} {
		a := c.ask("GET", test.path, test.authorization, "", cookie)
		if a.status >= 300 && a.status < 400 { // a path that a browser would clean first
			a = c.ask("GET", a.header.Get("Location"), test.authorization, "", cookie)
		}
		if a.status != test.status || strings.Contains(a.body, c.data) {
			t.Errorf("%s: %d %s, want %d", name, a.status, a.body, test.status)
		}
	}
}

// checkPlayed checks what the log says of a recording that was played.
func checkPlayed(t *testing.T, entries []audited, file string) {
	t.Helper()
	count := map[string]int{}
	for _, e := range entries {
		count[e.Action]++
		switch e.Action {
		case "recording.opened", "playback.allowed":
			if e.Actor != "doctor" || e.Role != "doctor" || e.Address != "127.0.0.1" {
				t.Errorf("entry %+v", e)
			}
		case "access.refused":
			if e.Outcome != "refused" || e.Data["reason"] == nil && e.Data["again"] == nil {
				t.Errorf("entry %+v", e)
			}
		}
		if e.Action == "recording.played" && e.File == file && fmt.Sprint(e.Data["requests"], e.Data["bytes"]) != "3 250" {
			t.Errorf("played %+v", e)
		}
	}
	for action, least := range map[string]int{
		"recording.armed": 1, "recording.ready": 1, "playback.allowed": 2, "recording.opened": 3, "recording.played": 2, "access.refused": 6,
	} {
		if count[action] < least {
			t.Errorf("%d entries %s, want at least %d: %+v", count[action], action, least, entries)
		}
	}
}

func TestACallGoesOnButNothingIsShownWhenTheAuditLogFails(t *testing.T) {
	t.Parallel()
	c := serve(t, nil)
	call := c.record("red")
	db, err := database.OpenWriter(filepath.Join(c.data, "audit.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("CREATE TRIGGER broken BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'disk I/O error'); END"); err != nil {
		t.Fatal(err)
	}
	for _, endpoint := range []string{"GET /v1/recordings/", "POST /v1/recordings/"} {
		method, path, _ := strings.Cut(endpoint, " ")
		path += call
		if method == "POST" {
			path += "/playback"
		}
		c.ask(method, path, apiKey(), "").wantProblem(t, endpoint, http.StatusServiceUnavailable, "unavailable")
	}
	next := c.record("blue")
	if list, _ := c.list("room=blue"); len(list) != 1 || list[0].ID != next || list[0].Files != 4 {
		t.Errorf("recorded meanwhile: %+v", list)
	}
	if _, err := db.Exec("DROP TRIGGER broken"); err != nil {
		t.Fatal(err)
	}
	if a := c.ask("GET", "/v1/recordings/"+next, apiKey(), ""); a.status != http.StatusOK {
		t.Errorf("after the log is well: %d %s", a.status, a.body)
	}
	eventually(t, 15*time.Second, "what the recorder said meanwhile", func() bool {
		return slices.ContainsFunc(c.audit("recording="+next), func(e audited) bool { return e.Action == "recording.ready" })
	})
}

func TestAnAdoptedCallIsRecordedUnderItsExternalID(t *testing.T) {
	t.Parallel()
	c := serve(t, nil)
	player, err := bot.WHEP(within(t, 10*time.Second), bot.HTTPConfig{
		Room: "red", Target: "doc-1", Config: bot.Config{URL: c.URL, Token: joinToken(t, "red", "wall", "observer")},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(player.Close)
	call := c.makeCall(`"room":"red","external_id":"visit-9","metadata":{"ward":"7"},`)
	doctor := c.openLink(call.Participants[0].URL, call.Room)
	if err := doctor.WaitConnected(within(t, 20*time.Second)); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, "the recording under its external id", func() bool {
		list, _ := c.list("external_id=visit-9")
		return len(list) == 1 && list[0].ID == call.ID
	})
	var m struct {
		ExternalID string `json:"external_id"`
		Metadata   map[string]string
	}
	c.get("/v1/recordings/"+call.ID, &m)
	if m.ExternalID != "visit-9" || m.Metadata["ward"] != "7" {
		t.Errorf("the manifest says %+v", m)
	}
}

// remove deletes files.
func remove(t *testing.T, paths ...string) {
	t.Helper()
	for _, path := range paths {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}
