package contract

import (
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"consilium/internal/bot"
	"consilium/internal/media"
)

// created is the answer to POST /v1/calls.
type created struct {
	ID, Room, Started string
	ExternalID        string            `json:"external_id"`
	Metadata          map[string]string `json:"metadata"`
	Participants      []struct{ Identity, Role, URL, Token, Expires string }
}

// makeCall asks for a call with a doctor and a patient.
func (c *child) makeCall(more string) created {
	c.t.Helper()
	a := c.ask("POST", "/v1/calls", apiKey(), `{`+more+`"participants":[
		{"identity":"doc-1","name":"Dr. Weiss","role":"doctor"},
		{"identity":"pat-1","name":"Pyotr Ivanov","role":"patient","lang":"ru","ttl":600}]}`)
	if a.status != http.StatusCreated {
		c.t.Fatalf("POST /v1/calls: %d %s", a.status, a.body)
	}
	var call created
	a.decode(c.t, &call)
	if got := a.header.Get("Location"); got != "/v1/calls/"+call.ID {
		c.t.Errorf("Location %q", got)
	}
	return call
}

// openLink joins as a browser does: with the token of the link's fragment.
func (c *child) openLink(link, room string) *bot.Bot {
	c.t.Helper()
	token, ok := strings.CutPrefix(link, c.URL+"/r/"+room+"#")
	if !ok {
		c.t.Fatalf("link %q", link)
	}
	if a := c.ask("GET", "/r/"+room, "", ""); a.status != http.StatusOK {
		c.t.Errorf("the page of the link: %d", a.status)
	}
	return c.join(token, nil)
}

func TestACallOfTheMISFromLinkToRecording(t *testing.T) {
	t.Parallel()
	hook := newReceiver(t)
	c := serve(t, hook.options())
	call := c.makeCall(`"external_id":"visit-4711","metadata":{"ward":"7","бюро":"да"},`)
	metadata := map[string]string{"ward": "7", "бюро": "да"}
	if call.ExternalID != "visit-4711" || !maps.Equal(call.Metadata, metadata) || len(call.Participants) != 2 {
		t.Errorf("got %+v", call)
	}
	p := pair{t: t, doctor: c.openLink(call.Participants[0].URL, call.Room), patient: c.openLink(call.Participants[1].URL, call.Room)}
	waitMedia(t, p.doctor, "pat-1")
	waitMedia(t, p.patient, "doc-1")
	if got := p.doctor.Snapshot().Welcome; got.Call != call.ID || !got.Recording {
		t.Errorf("welcome is of call %q, recording %v", got.Call, got.Recording)
	}
	var seen struct {
		State        string
		Recording    bool
		Participants []struct{ Identity, Name, Role, State string }
	}
	c.get("/v1/calls/"+call.ID, &seen)
	if seen.State != "live" || !seen.Recording || len(seen.Participants) != 2 {
		t.Errorf("the call is shown as %+v", seen)
	}
	p.leave()
	left := time.Now()
	ended := c.waitEvent(20*time.Second, "call.ended", call.Room, "")
	if after := ended.at().Sub(left); after < 4*time.Second || after > 6500*time.Millisecond {
		t.Errorf("the call ended %v after the last clean leave, want 5 s", after)
	}
	ready := c.waitEvent(15*time.Second, "recording.ready", call.Room, "")
	if after := ready.at().Sub(ended.at()); after > 10*time.Second {
		t.Errorf("the recording was ready %v after the end", after)
	}
	for _, e := range append(c.events(), hook.all()...) {
		if e.Call != call.ID || e.Room != call.Room || e.ExternalID != "visit-4711" || !maps.Equal(e.Metadata, metadata) {
			t.Errorf("%s of %q in %q has external_id %q and metadata %v", e.Type, e.Call, e.Room, e.ExternalID, e.Metadata)
		}
	}
	checkDeliveries(t, c, hook)
	checkRecording(t, c, call, metadata)
	c.get("/v1/calls/"+call.ID, &seen)
	if seen.State != "ended" || len(seen.Participants) != 2 {
		t.Errorf("after its end the call is shown as %+v", seen)
	}
	again := c.join(call.Participants[0].Token, nil)
	c.waitNewCall(again, call.ID)
}

// waitNewCall checks that a room whose call has ended starts another one.
func (c *child) waitNewCall(b *bot.Bot, old string) {
	c.t.Helper()
	if err := b.WaitConnected(within(c.t, 20*time.Second)); err != nil {
		c.t.Fatal(err)
	}
	if now := b.Snapshot().Welcome.Call; now == old || now == "" {
		c.t.Errorf("the new call has the id %q, the old one had %q", now, old)
	}
}

// checkDeliveries checks that the webhook had what the feed has, in its order.
func checkDeliveries(t *testing.T, c *child, hook *receiver) {
	t.Helper()
	feed := c.events()
	eventually(t, 10*time.Second, "all events at the webhook", func() bool { return len(hook.all()) >= len(feed) })
	for i, e := range hook.all()[:len(feed)] {
		if e.ID != feed[i].ID || e.Type != feed[i].Type || e.Time != feed[i].Time {
			t.Errorf("delivery %d is %s %s, the feed has %s %s", i, e.ID, e.Type, feed[i].ID, feed[i].Type)
		}
		checkTime(t, e)
	}
	for _, typ := range []string{
		"call.started", "call.ended", "participant.invited", "participant.joined", "participant.left",
		"ice.connected", "media.flowing", "recording.armed", "recording.started", "recording.ready", "consent.given",
	} {
		if !slices.ContainsFunc(feed, func(e event) bool { return e.Type == typ }) {
			t.Errorf("there was no %s", typ)
		}
	}
}

// checkRecording checks what a finished call leaves: its manifest, its files,
// their names and modes.
func checkRecording(t *testing.T, c *child, call created, metadata map[string]string) {
	t.Helper()
	var m struct {
		Call, Room, State string
		ExternalID        string            `json:"external_id"`
		Metadata          map[string]string `json:"metadata"`
		Segments          []struct{ File, Participant, Source, State string }
	}
	c.get("/v1/recordings/"+call.ID, &m)
	if m.Call != call.ID || m.State != "final" || m.ExternalID != call.ExternalID || !maps.Equal(m.Metadata, metadata) {
		t.Errorf("manifest %+v", m)
	}
	if len(m.Segments) != 4 {
		t.Errorf("%d files, want 4", len(m.Segments))
	}
	for _, s := range m.Segments {
		checkFile(t, c, call, s.File, s.Source)
	}
	onDisk := filepath.Join(c.data, "recordings", call.ID, "manifest.json")
	text, err := os.ReadFile(onDisk)
	if err != nil || !json.Valid(text) {
		t.Errorf("%s: %v", onDisk, err)
	}
	checkTree(t, c.data, "doc-1", "pat-1", "weiss", "pyotr", "ivanov", "visit-4711", strings.ToLower(call.Room))
}

func checkFile(t *testing.T, c *child, call created, name, source string) {
	t.Helper()
	path := "/v1/recordings/" + call.ID + "/files/" + name
	contentType := map[string]string{"mic": "audio/webm", "cam": "video/webm"}[source]
	whole := c.ask("GET", path, apiKey(), "")
	if whole.status != http.StatusOK || whole.header.Get("Content-Type") != contentType || whole.header.Get("Accept-Ranges") != "bytes" {
		t.Errorf("%s: %d %v", name, whole.status, whole.header)
		return
	}
	if !strings.HasPrefix(whole.body, "\x1a\x45\xdf\xa3") || !strings.HasSuffix(name, ".webm") {
		t.Errorf("%s does not begin as WebM", name)
	}
	part := c.ask("GET", path, apiKey(), "", "Range: bytes=10-19")
	if part.status != http.StatusPartialContent || part.body != whole.body[10:20] {
		t.Errorf("%s: range answered %d with %d bytes", name, part.status, len(part.body))
	}
	if odd := c.ask("GET", path, apiKey(), "", "Range: bytes=99999999999-"); odd.status != http.StatusRequestedRangeNotSatisfiable {
		t.Errorf("%s: a range beyond the end answered %d", name, odd.status)
	}
}

// checkTree checks modes, and that no name tells who was there.
func checkTree(t *testing.T, data string, personal ...string) {
	t.Helper()
	err := filepath.WalkDir(data, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		want := os.FileMode(0o600)
		if d.IsDir() {
			want = 0o700
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %o, want %o", path, info.Mode().Perm(), want)
		}
		name := strings.ToLower(strings.TrimPrefix(path, data))
		for _, text := range personal {
			if strings.Contains(name, text) {
				t.Errorf("%s holds personal data: %q", name, text)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestATrackIsFinalSecondsAfterItsEnd(t *testing.T) {
	t.Parallel()
	c := serve(t, nil)
	p := c.pair("room")
	call := p.doctor.Snapshot().Welcome.Call
	if err := p.patient.Leave(within(t, 10*time.Second)); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "the patient's files final while the call goes on", func() bool {
		var m struct {
			Segments []struct{ Participant, State string }
		}
		c.get("/v1/recordings/"+call, &m)
		final := 0
		for _, s := range m.Segments {
			if s.Participant == "patient" && s.State == "final" {
				final++
			}
		}
		return final == 2
	})
	if a := c.ask("DELETE", "/v1/calls/"+call, apiKey(), ""); a.status != http.StatusNoContent {
		t.Errorf("DELETE: %d %s", a.status, a.body)
	}
	ended := c.waitEvent(5*time.Second, "call.ended", "room", "")
	if by, _ := ended.Data["by"].(string); by == "" {
		t.Errorf("call.ended does not say who ended it: %v", ended.Data)
	}
	if err := p.doctor.Wait(within(t, 5*time.Second), "end", func(s *bot.Snapshot) bool {
		return s.Ended != nil && s.Ended.Reason == "call_ended"
	}); err != nil {
		t.Error(err)
	}
	c.ask("DELETE", "/v1/calls/"+call, apiKey(), "").wantProblem(t, "a call that has ended", 409, "conflict")
	c.waitEvent(10*time.Second, "recording.ready", "room", "")
}

func TestACallEndsThirtySecondsAfterALostLeave(t *testing.T) {
	t.Parallel()
	c := serve(t, nil)
	p := c.pair("room")
	call := p.doctor.Snapshot().Welcome.Call
	if err := p.doctor.Leave(within(t, 10*time.Second)); err != nil {
		t.Fatal(err)
	}
	p.patient.Vanish()
	vanished := time.Now()
	ended := c.waitEvent(50*time.Second, "call.ended", "room", "")
	if after := ended.at().Sub(vanished); after < 27*time.Second || after > 33*time.Second {
		t.Errorf("the call ended %v after the last person was lost, want 30 s", after)
	}
	var last event
	for _, e := range c.events() {
		if e.Type == "participant.left" && e.Participant == "patient" {
			last = e
		}
	}
	if last.Data["reason"] != "lost" {
		t.Errorf("the patient left as %v, want lost", last.Data)
	}
	c.waitNewCall(c.join(joinToken(t, "room", "doctor", "doctor"), nil), call)
}

func TestParticipantsAreSeenMutedAndRemoved(t *testing.T) {
	t.Parallel()
	c := serve(t, nil)
	p := c.pair("room")
	base := "/v1/calls/" + p.doctor.Snapshot().Welcome.Call + "/participants/"
	var who struct {
		Identity, Name, Role, State string
		Tracks                      []struct {
			Source string
			Muted  bool
		}
	}
	c.get(base+"patient", &who)
	if who.Identity != "patient" || who.Role != "patient" || who.State != "joined" || who.Name != "Name of patient" || len(who.Tracks) != 2 {
		t.Errorf("got %+v", who)
	}
	if a := c.ask("POST", base+"patient/mute", apiKey(), `{"source":"mic"}`); a.status != http.StatusNoContent {
		t.Errorf("mute: %d %s", a.status, a.body)
	}
	eventually(t, 5*time.Second, "the microphone muted", func() bool {
		c.get(base+"patient", &who)
		for _, track := range who.Tracks {
			if track.Source == string(media.Microphone) {
				return track.Muted
			}
		}
		return false
	})
	c.ask("POST", base+"patient/mute", apiKey(), `{"source":"nose"}`).wantProblem(t, "an odd source", 422)
	c.ask("POST", base+"patient/mute", apiKey(), `{}`).wantProblem(t, "no source", 422)
	c.ask("POST", base+"stranger/mute", apiKey(), `{"source":"mic"}`).wantProblem(t, "a stranger", 404, "not_found")
	c.ask("POST", base+"patient/admit", apiKey(), "").wantProblem(t, "admitting who is in", 409, "conflict")
	c.ask("GET", base+"stranger", apiKey(), "").wantProblem(t, "a stranger", 404, "not_found")
	if a := c.ask("DELETE", base+"patient", apiKey(), ""); a.status != http.StatusNoContent {
		t.Errorf("remove: %d %s", a.status, a.body)
	}
	if err := p.patient.Wait(within(t, 5*time.Second), "end", func(s *bot.Snapshot) bool {
		return s.Ended != nil && s.Ended.Reason == "removed"
	}); err != nil {
		t.Error(err)
	}
	c.waitEvent(5*time.Second, "participant.left", "room", "patient")
	c.ask("DELETE", base+"patient", apiKey(), "").wantProblem(t, "removing who is gone", 404)
}

func TestPatientsWaitUntilTheAPIAdmitsThem(t *testing.T) {
	t.Parallel()
	c := serve(t, nil)
	call := c.makeCall(`"hold":true,`)
	patient := c.openLink(call.Participants[1].URL, call.Room)
	c.waitEvent(10*time.Second, "participant.waiting", call.Room, "pat-1")
	base := "/v1/calls/" + call.ID + "/participants/"
	var who struct{ State string }
	c.get(base+"pat-1", &who)
	if who.State != "waiting" {
		t.Errorf("he is %q", who.State)
	}
	player := bot.HTTPConfig{Room: call.Room, Target: "doc-1", Config: bot.Config{URL: c.URL, Token: call.Participants[1].Token}}
	if s, err := bot.WHEP(within(t, 10*time.Second), player); err == nil {
		s.Close()
		t.Error("who waits can watch by WHEP")
	} else {
		wantStatus(t, "WHEP of who waits", err, http.StatusConflict)
	}
	if a := c.ask("POST", base+"pat-1/admit", apiKey(), ""); a.status != http.StatusNoContent {
		t.Fatalf("admit: %d %s", a.status, a.body)
	}
	c.waitEvent(10*time.Second, "participant.admitted", call.Room, "pat-1")
	doctor := c.openLink(call.Participants[0].URL, call.Room)
	waitMedia(t, doctor, "pat-1")
	waitMedia(t, patient, "doc-1")
}

func TestNobodyIsRecordedWithoutConsent(t *testing.T) {
	t.Parallel()
	c := serve(t, nil)
	token := joinToken(t, "room", "anna", "patient")
	s := c.socket()
	s.raw(`{"type":"hello","body":{"token":"` + token + `"}}`)
	if got := s.read(); got.code() != "consent_required" || !got.fatal() {
		t.Errorf("without consent: %s %s", got.Type, got.Body)
	}
	s = c.socket()
	s.raw(`{"type":"hello","body":{"token":"` + token + `","consent":{"recording":false,"text":"1","lang":"en"}}}`)
	if got := s.read(); got.code() != "CONSENT_REFUSED" || !got.fatal() {
		t.Errorf("consent refused: %s %s", got.Type, got.Body)
	}
	c.waitEvent(5*time.Second, "consent.refused", "room", "anna")
	for _, e := range c.events() {
		if e.Type == "participant.joined" || e.Type == "call.started" {
			t.Errorf("there was a %s", e.Type)
		}
	}
}
