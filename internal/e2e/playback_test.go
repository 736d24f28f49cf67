package e2e

import (
	"fmt"
	"math"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"consilium/internal/auth"
	"consilium/internal/browser"
	"consilium/internal/config"
	"consilium/internal/event"
	"consilium/recorder"
)

// talkTime is how long the recorded call lasts.
const talkTime = 6 * time.Second

// seekTolerance is how far from where it was sent a player may land, seconds.
const seekTolerance = 0.3

func TestEveryFileOfARecordedCallSeeksInBothBrowsers(t *testing.T) {
	t.Parallel()
	l := start(t, nil)
	browsers := []*browser.Browser{
		browser.Start(t, browser.Options{}), browser.Start(t, browser.Options{Kind: browser.Firefox}),
	}
	doctor := l.enter(browsers[0], "room", "doctor", auth.RoleDoctor)
	patient := l.enter(browsers[1], "room", "patient", auth.RolePatient)
	doctor.sees("patient")
	patient.sees("doctor")
	timer := time.NewTimer(talkTime)
	defer timer.Stop()
	<-timer.C
	patient.leave()
	doctor.leave()
	call := l.waitEvent(event.RecordingReady, "", patience).Call

	var manifest recorder.Manifest
	l.get("/v1/recordings/"+call, &manifest)
	if len(manifest.Segments) != 4 {
		t.Fatalf("%d files, want microphone and camera of two", len(manifest.Segments))
	}
	l.lastAsTheJournalSays(call, manifest)
	for _, b := range browsers {
		t.Run(string(b.Kind), func(t *testing.T) {
			p := l.in(t).look(b, string(b.Kind), "/", browser.PageOptions{})
			p.allowPlayback(call)
			for _, segment := range manifest.Segments {
				name := path.Base(segment.File)
				p.Goto(l.url + "/v1/recordings/" + call + "/files/" + name)
				p.seeks(name, float64(segment.DurationMS)/1000)
			}
		})
	}
}

// lengthTolerance is by how much a file may be longer or shorter than the
// journal says that its track was, in seconds.
const lengthTolerance = 0.2

// lastAsTheJournalSays compares every file, as ffprobe sees it, with how much
// its track sent by the journal of the call.
func (l *lab) lastAsTheJournalSays(call string, manifest recorder.Manifest) {
	l.t.Helper()
	var journal struct {
		Events []event.Event `json:"events"`
	}
	l.get("/v1/calls/"+call+"/journal", &journal)
	sent := map[string]float64{}
	for _, e := range journal.Events {
		if ms, ok := e.Data["duration_ms"].(float64); ok && e.Type == event.NoteTrack {
			sent[e.Track] = ms / 1000
		}
	}
	for _, segment := range manifest.Segments {
		file := filepath.Join(l.cfg.Data, "recordings", call, segment.File)
		out, err := exec.CommandContext(l.t.Context(), "ffprobe", "-v", "error",
			"-show_entries", "format=duration", "-of", "csv=p=0", file).CombinedOutput()
		l.must(err)
		length, err := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
		l.must(err)
		l.t.Logf("%s %s: file %.3f s, journal %.3f s", segment.Participant, segment.Source, length, sent[segment.Track])
		if math.Abs(length-sent[segment.Track]) > lengthTolerance {
			l.t.Errorf("%s %s lasts %.3f s, the journal says %.3f s", segment.Participant, segment.Source, length, sent[segment.Track])
		}
	}
}

// allowPlayback gets the browser its cookie for a recording.
func (p *person) allowPlayback(call string) {
	p.l.t.Helper()
	var status int
	p.Eval(fmt.Sprintf(`fetch('/v1/recordings/%s/playback', {method: 'POST', headers: {Authorization: 'Basic ' + btoa('%s:%s')}}).then(r => r.status)`,
		call, config.DevKeyID, string(config.DevSecret)), &status)
	if status != 200 {
		p.l.t.Fatalf("playback: status %d", status)
	}
}

// seeks fails unless the file, opened as a document, has the duration of the
// manifest and plays on from its middle.
func (p *person) seeks(name string, duration float64) {
	p.l.t.Helper()
	p.WaitFor(name+" to be understood", `document.querySelector('video')?.readyState >= 1`)
	var got struct {
		Duration, Target, Landed, Later float64
		Error                           string
	}
	// What was decoded at the target counts, not what currentTime claims: the
	// time of the frame for a picture, the clock of what is played for sound.
	p.Eval(`(async () => {
		const v = document.querySelector('video');
		v.muted = true;
		v.pause();
		const target = v.duration / 2;
		const frame = v.videoWidth && v.requestVideoFrameCallback
			? new Promise(r => v.requestVideoFrameCallback((_, m) => r(m.mediaTime))) : null;
		await new Promise(r => { v.onseeked = r; v.currentTime = target; });
		const landed = await Promise.race([frame ?? v.currentTime, new Promise(r => setTimeout(() => r(-1), 5000))]);
		await v.play();
		await new Promise(r => { v.ontimeupdate = () => v.currentTime > target + 0.2 && r(); setTimeout(r, 10000); });
		v.pause();
		return {duration: v.duration, target, landed, later: v.currentTime, error: v.error?.message ?? ''};
	})()`, &got)
	switch {
	case got.Error != "":
		p.l.t.Errorf("%s: %s", name, got.Error)
	case math.Abs(got.Duration-duration) > seekTolerance:
		p.l.t.Errorf("%s: the player says %.3f s, the manifest %.3f s", name, got.Duration, duration)
	case math.Abs(got.Landed-got.Target) > seekTolerance:
		p.l.t.Errorf("%s: landed at %.3f s, want %.3f s", name, got.Landed, got.Target)
	case got.Later <= got.Target+0.2:
		p.l.t.Errorf("%s: does not play on from the middle: %.3f s", name, got.Later)
	}
}
