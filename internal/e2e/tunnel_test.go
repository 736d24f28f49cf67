package e2e

import (
	"slices"
	"testing"
	"time"

	"consilium/internal/auth"
	"consilium/internal/bot"
	"consilium/internal/browser"
	"consilium/internal/event"
	"consilium/internal/media"
	"consilium/internal/testmedia"
	"consilium/recorder"
)

// onlyHTTP leaves a page no way but HTTP: its PeerConnections may use nothing
// but relays, and get none.
const onlyHTTP = "none"

func TestMediaGoesThroughTheWebSocketWhereOnlyHTTPPasses(t *testing.T) {
	t.Parallel()
	l := start(t, nil)
	b := browser.Start(t, browser.Options{})
	companion := l.enter(b, "room", "companion", auth.RoleCompanion)
	patient := l.visit(b, "room", "patient", auth.RolePatient, browser.PageOptions{Relay: onlyHTTP})
	clicked := time.Now()
	patient.join()
	patient.sees("companion")
	t.Logf("the patient sees the companion %v after the click", time.Since(clicked))
	patient.hears()
	companion.sees("patient")
	companion.hears()
	if e := l.waitEvent(event.ICEConnected, "patient", patience); e.Data["path"] != "websocket" || e.Data["protocol"] != "tcp" {
		t.Errorf("ice.connected says %v, want websocket over tcp", e.Data)
	}
	for _, e := range l.events() {
		if e.Participant == "patient" && e.Code != "" {
			t.Errorf("somebody is told of %s %s", e.Type, e.Code)
		}
	}
	patient.Screenshot(screenshots(t, "tunnelled"))
	patient.leave()
	companion.leave()
	l.waitEvent(event.CallEnded, "", patience)
	l.stop()
	l.recorded("patient")
}

func TestSoundAndPictureArriveTogetherThroughTheWebSocket(t *testing.T) {
	flash, err := testmedia.Flash()
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []browser.Kind{browser.Chromium, browser.Firefox} {
		t.Run(string(kind), func(t *testing.T) {
			l := start(t, nil)
			begin := time.Now()
			patient := l.bot("room", "patient", auth.RolePatient, func(c *bot.Config) {
				c.Clips = map[media.Source]*testmedia.Clip{media.Camera: flash}
				c.KeepStep, c.Start = true, begin
			})
			// Firefox complains in its console of ICE that has failed.
			doctor := l.visit(browser.Start(t, browser.Options{Kind: kind}), "room", "doctor", auth.RoleDoctor,
				browser.PageOptions{Relay: onlyHTTP, AllowErrors: kind == browser.Firefox})
			doctor.join()
			doctor.sees("patient")
			doctor.hears()
			l.inTime(begin, doctor)
			l.must(patient.WaitFrames(l.context(patience), "doctor", media.Camera, 20))
			l.must(patient.WaitFrames(l.context(patience), "doctor", media.Microphone, 50))
		})
	}
}

// inTime fails unless a page plays the patient's flashes and beeps soon and
// together.
func (l *lab) inTime(begin time.Time, p *person) {
	l.t.Helper()
	flashes, beeps := p.Onsets(picture("patient", "cam"), sound, 6*time.Second)
	seen, heard := sinceHalf(begin, flashes), sinceHalf(begin, beeps)
	if len(seen) < 3 || len(heard) < 3 {
		l.t.Fatalf("only %d flashes and %d beeps", len(seen), len(heard))
	}
	picture, sound := seen[len(seen)/2], heard[len(heard)/2]
	l.t.Logf("seen %v late: %v; heard %v late: %v", picture, seen, sound, heard)
	if apart := (picture - sound).Abs(); apart > 100*time.Millisecond {
		l.t.Errorf("sound and picture are %v apart, want within 100ms", apart)
	}
	if sound > 600*time.Millisecond {
		l.t.Errorf("sound is %v late", sound)
	}
}

// sinceHalf is how long after half past a second of the clip, when it flashes
// and beeps, each instant is; sorted.
func sinceHalf(begin time.Time, instants []time.Time) (late []time.Duration) {
	for _, at := range instants {
		late = append(late, (at.Sub(begin)+500*time.Millisecond)%time.Second)
	}
	slices.Sort(late)
	return late
}

// recorded fails unless the one recording has sound and pictures of somebody.
func (l *lab) recorded(identity string) {
	l.t.Helper()
	list := l.recordings()
	if len(list) != 1 {
		l.t.Fatalf("%d recordings, want 1", len(list))
	}
	manifest, err := recorder.Show(l.cfg.Data, list[0].ID)
	if err != nil {
		l.t.Fatal(err)
	}
	frames := map[media.Source]int64{}
	for _, track := range manifest.Tracks {
		if track.Participant == identity {
			frames[track.Source] += track.Frames
		}
	}
	if frames[media.Microphone] < 100 || frames[media.Camera] < 25 {
		l.t.Errorf("recorded of %s: %v frames", identity, frames)
	}
}
