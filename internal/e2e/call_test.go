package e2e

import (
	"strings"
	"testing"
	"time"

	"consilium/internal/auth"
	"consilium/internal/browser"
	"consilium/internal/event"
)

func TestTwoPeopleSeeAndHearEachOther(t *testing.T) {
	t.Parallel()
	for name, kinds := range map[string][2]browser.Kind{
		"chromium and chromium": {browser.Chromium, browser.Chromium},
		"chromium and firefox":  {browser.Chromium, browser.Firefox},
	} {
		t.Run(name, func(t *testing.T) {
			l := start(t, nil)
			browsers := map[browser.Kind]*browser.Browser{}
			for _, kind := range kinds {
				if browsers[kind] == nil {
					browsers[kind] = browser.Start(t, browser.Options{Kind: kind})
				}
			}
			doctor := l.enter(browsers[kinds[0]], "room", "doctor", auth.RoleDoctor)
			patient := l.enter(browsers[kinds[1]], "room", "patient", auth.RolePatient)
			seeAndHear(t, doctor, patient)
			doctor.WaitVisible("recording-sign")
			doctor.Screenshot(screenshots(t, "call-doctor"))
			patient.Screenshot(screenshots(t, "call-patient"))

			patient.leave()
			l.waitEvent(event.ParticipantLeft, "patient", patience)
			doctor.leave()
			l.waitEvent(event.CallEnded, "", patience)
			if list := l.recordings(); len(list) != 1 {
				t.Errorf("%d recordings, want 1", len(list))
			}
		})
	}
}

// seeAndHear fails unless both see the other's picture change and hear him,
// over AES-GCM.
func seeAndHear(t *testing.T, a, b *person) {
	t.Helper()
	for _, pair := range [][2]*person{{a, b}, {b, a}} {
		p, other := pair[0], pair[1]
		p.sees(other.identity)
		p.hears()
		if change := p.Change(picture(other.identity, "cam"), 500*time.Millisecond); change <= 0 {
			t.Errorf("%s sees a still picture", p.identity)
		}
		before := p.audioEnergy()
		p.WaitFor("audio energy to rise", `new Promise(r => setTimeout(() => r(true), 1500))`)
		if after := p.audioEnergy(); after <= before {
			t.Errorf("%s: audio energy %v, then %v", p.identity, before, after)
		}
		for _, report := range p.Stats("transport") {
			if cipher, _ := report["srtpCipher"].(string); !strings.Contains(cipher, "AEAD_AES_") || !strings.HasSuffix(cipher, "_GCM") {
				t.Errorf("%s: SRTP cipher %q, want AES-GCM", p.identity, cipher)
			}
		}
		if n := p.tiles(); n != 1 {
			t.Errorf("%s has %d tiles, want 1", p.identity, n)
		}
	}
}

// audioEnergy is the sum of totalAudioEnergy of all received audio.
func (p *person) audioEnergy() (sum float64) {
	p.l.t.Helper()
	for _, report := range p.Stats("inbound-rtp") {
		if energy, ok := report["totalAudioEnergy"].(float64); ok {
			sum += energy
		}
	}
	return sum
}
