package e2e

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"consilium/internal/browser"
	"consilium/internal/media"
	"consilium/internal/testmedia"
	"consilium/recorder"
)

// Most of a track that may be missing.
const (
	killLoss  = time.Second
	powerLoss = 5 * time.Second
)

// A server is killed at a random moment of a call of four, and started again
// on what it left. What is missing is read from the numbers in the pictures
// and in the sound, against what had been sent when the kill was.
func TestAServerThatIsKilledLosesAtMostASecondOfEveryTrack(t *testing.T) {
	binary, clips := buildProgram(t), numbered(t)
	browsers := []*browser.Browser{
		browser.Start(t, browser.Options{}), browser.Start(t, browser.Options{Kind: browser.Firefox}),
	}
	rounds, played := 3, 1
	if *soak {
		rounds, played = 20, 20
	}
	for round := range rounds {
		t.Run(fmt.Sprintf("round %d", round+1), func(t *testing.T) {
			t.Parallel()
			data := filepath.Join(t.TempDir(), "data")
			p := startProgram(t, binary, data, nil)
			call, notes := p.talk(clips)
			sent := notes.untilNow()
			p.kill()

			again := startProgram(t, binary, data, nil)
			m := again.manifest(call, recorder.Recovered)
			again.wantLoss(m, sent, killLoss)
			if round < played {
				again.playsIn(browsers, call, m)
			}
		})
	}
}

// talk holds a call of four for some seconds and returns its id and what is sent.
func (p *program) talk(clips map[media.Source]*testmedia.Clip) (call string, sent *sentMedia) {
	p.t.Helper()
	bots, sent := p.meet("room", clips, identities(4))
	rest(p.t, time.Second+rand.N(5*time.Second))
	return bots[0].Snapshot().Welcome.Call, sent
}

// wantLoss compares every track of a call of four with what was sent until the
// server was gone.
func (p *program) wantLoss(m recorder.Manifest, sent map[trackOf]sentTrack, most time.Duration) {
	p.t.Helper()
	if len(m.Segments) != 8 {
		p.t.Errorf("%d files, want sound and picture of four", len(m.Segments))
	}
	for _, s := range m.Segments {
		track := sent[trackOf{s.Participant, s.Source}]
		end := track.end(s.Source)
		if end > numberedTime {
			p.t.Fatalf("the call took %v, longer than there are numbers", end)
		}
		k := kept{from: track.begin, until: track.begin}
		switch {
		case s.State == recorder.Recovered && s.SHA256 != "":
			k = p.keptOf(m.Call, s)
		case s.State != recorder.Failed || s.SHA256 != "": // nothing of it was on the disk
			p.t.Errorf("%s is %s with checksum %q", s.File, s.State, s.SHA256)
		}
		lost := end - k.until
		p.t.Logf("sent until %6.3f s: %s %s kept %.3f to %.3f s, lost %.3f s, %d numbers missing between, %s",
			end.Seconds(), s.Participant, s.Source, k.from.Seconds(), k.until.Seconds(), lost.Seconds(), k.missing, s.State)
		if lost > most || lost < -2*pictureTime {
			p.t.Errorf("%s %s: %v of what was sent are missing, want at most %v", s.Participant, s.Source, lost, most)
		}
		if k.missing > 0 {
			p.t.Errorf("%s %s: %d numbers are missing between the first and the last", s.Participant, s.Source, k.missing)
		}
	}
}

// playsIn plays and seeks every file in real browsers.
func (p *program) playsIn(browsers []*browser.Browser, call string, m recorder.Manifest) {
	p.t.Helper()
	for _, b := range browsers {
		window := p.look(b, string(b.Kind), "/", browser.PageOptions{})
		window.allowPlayback(call)
		for _, s := range m.Segments {
			if s.State == recorder.Failed {
				continue
			}
			window.Goto(p.url + "/v1/recordings/" + call + "/files/" + s.File)
			window.seeks(s.File, float64(s.DurationMS)/1000)
		}
	}
}
