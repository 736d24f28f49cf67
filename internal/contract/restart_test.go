package contract

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"consilium/internal/bot"
	"consilium/internal/testserver"
)

func TestSIGTERMDrainsAndARestartRemembers(t *testing.T) {
	t.Parallel()
	hook := newReceiver(t)
	c := serve(t, hook.options())
	call := c.makeCall(`"external_id":"visit-1",`)
	doctor := c.openLink(call.Participants[0].URL, call.Room)
	patient := c.openLink(call.Participants[1].URL, call.Room)
	waitMedia(t, doctor, "pat-1")
	waitMedia(t, patient, "doc-1")
	before := c.events()

	seen := make(chan answer, 1)
	began := time.Now()
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	go c.watchDrain(joinToken(t, "late", "late", "patient"), seen)
	<-c.ended
	if took := time.Since(began); took > testserver.StopTime {
		t.Errorf("the stop took %v", took)
	}
	if code := c.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	for name, b := range map[string]*bot.Bot{"doctor": doctor, "patient": patient} {
		ended := b.Snapshot().Ended
		if ended == nil || ended.Code != "SERVER_RESTART" || ended.Reason != "shutdown" || ended.Retry <= 0 {
			t.Errorf("the %s was told %+v, want SERVER_RESTART and when to come back", name, ended)
		}
	}
	if refused := <-seen; refused.status != 0 {
		refused.wantProblem(t, "a join while draining", 503, "SERVER_RESTART")
	}
	if !slices.ContainsFunc(hook.all(), func(e event) bool { return e.Type == "recording.ready" && e.Call == call.ID }) {
		t.Errorf("recording.ready did not reach the webhook before the end:%s", summary(hook.all()))
	}
	if left, err := filepath.Glob(filepath.Join(c.data, "spool", "*", "*")); err != nil || len(left) > 0 {
		t.Errorf("left in the spool: %v, %v", left, err)
	}
	checkAfterRestart(t, c, call, before)
}

// watchDrain posts WHIP offers until the server is gone, and reports the first
// answer that tells that it drains, if there was time for one.
func (c *child) watchDrain(token string, seen chan<- answer) {
	for {
		a, err := c.tryAsk("POST", "/whip/late", bearer(token), "v=0\r\ns=-\r\n", sdpType)
		if err != nil {
			seen <- answer{}
			return
		}
		if a.status == http.StatusServiceUnavailable {
			seen <- a
			return
		}
	}
}

// checkAfterRestart starts a server on the data of one that has stopped.
func checkAfterRestart(t *testing.T, c *child, call created, before []event) {
	t.Helper()
	again := serveIn(t, c.data, nil)
	after := again.events()
	if len(after) < len(before) {
		t.Fatalf("%d events after the restart, %d before", len(after), len(before))
	}
	for i, e := range before {
		if after[i].ID != e.ID || after[i].Type != e.Type {
			t.Errorf("event %d is %s %s, was %s %s", i, after[i].ID, after[i].Type, e.ID, e.Type)
		}
	}
	if last := after[len(after)-1]; last.Type != "recording.ready" && last.Type != "call.ended" {
		t.Errorf("the last event is %s", last.Type)
	}
	var shown struct {
		State      string
		ExternalID string `json:"external_id"`
	}
	again.get("/v1/calls/"+call.ID, &shown)
	if shown.State != "ended" || shown.ExternalID != "visit-1" {
		t.Errorf("the call is shown as %+v", shown)
	}
	var list struct {
		Recordings []struct{ ID, State string }
	}
	again.get("/v1/recordings", &list)
	if len(list.Recordings) != 1 || list.Recordings[0].ID != call.ID || list.Recordings[0].State != "final" {
		t.Errorf("recordings %+v", list.Recordings)
	}
	again.ask("POST", "/v1/calls", apiKey(), `{"room":"next"}`)
	started := again.waitEvent(5*time.Second, "call.started", "next", "")
	if last := after[len(after)-1].ID; started.ID <= last {
		t.Errorf("the id %s of a new event is not above %s", started.ID, last)
	}
	if started.Call == call.ID {
		t.Error("a new call has the id of an old one")
	}
	second := command(t, []string{"CONSILIUM_KEYS_MIS_SECRET=" + keySecret}, "serve", "--data", c.data,
		"--http.address=127.0.0.1:0", "--media.udp_port=0", "--turn.udp_port=0", "--media.loopback=true", "--media.interfaces.include=lo")
	wantOneLine(t, second, 1, "in use")
}

func TestAKilledServerLosesNoRecording(t *testing.T) {
	t.Parallel()
	c := serve(t, nil)
	p := c.pair("room")
	call := p.doctor.Snapshot().Welcome.Call
	eventually(t, 20*time.Second, "something of each track on the disk", func() bool {
		files, _ := filepath.Glob(filepath.Join(c.data, "spool", call, "*"))
		return len(slices.DeleteFunc(files, func(f string) bool {
			info, err := os.Stat(f)
			return err != nil || info.Size() < 1000
		})) >= 4
	})
	p.wantMedia()
	_ = c.cmd.Process.Kill()
	<-c.ended
	again := serveIn(t, c.data, nil)
	eventually(t, 20*time.Second, "the recording recovered", func() bool {
		var m struct{ Segments []struct{ State string } }
		a := again.ask("GET", "/v1/recordings/"+call, apiKey(), "")
		if a.status != http.StatusOK {
			return false
		}
		a.decode(t, &m)
		return len(m.Segments) == 4 && !slices.ContainsFunc(m.Segments, func(s struct{ State string }) bool { return s.State != "recovered" })
	})
	if ended := again.waitEvent(5*time.Second, "call.ended", "room", ""); ended.Data["reason"] != "crash" {
		t.Errorf("the call ended as %v, want crash", ended.Data)
	}
}
