package e2e

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"consilium/internal/auth"
	"consilium/internal/bot"
	"consilium/internal/browser"
	"consilium/internal/media"
	"consilium/internal/testmedia"
)

func TestThreePeopleAndAScreen(t *testing.T) {
	t.Parallel()
	l := start(t, nil)
	b := browser.Start(t, browser.Options{Args: []string{"--auto-accept-this-tab-capture"}})
	people := []*person{
		l.enter(b, "room", "doctor", auth.RoleDoctor),
		l.enter(b, "room", "patient", auth.RolePatient),
		l.enter(b, "room", "companion", auth.RoleCompanion),
	}
	people[0].Click("share-screen")
	for _, p := range people {
		for _, other := range people {
			if p != other {
				p.sees(other.identity)
			}
		}
		if p != people[0] {
			p.WaitFor("the screen", fmt.Sprintf("document.querySelector(%q)?.videoWidth > 0", picture("doctor", "screen")))
		}
		p.hears()
		p.Screenshot(screenshots(t, "three-"+p.identity))
	}
	people[0].Click("share-screen")
	people[1].WaitFor("the screen to go", fmt.Sprintf("!document.querySelector(%q)", picture("doctor", "screen")))
}

func TestAGridOfTwelve(t *testing.T) {
	l := start(t, nil)
	var bots []*bot.Bot
	for i := range 11 {
		bots = append(bots, l.bot("room", fmt.Sprintf("person-%02d", i), auth.RolePatient, func(c *bot.Config) { c.Persons = 11 }))
	}
	b := browser.Start(t, browser.Options{})
	doctor := l.enter(b, "room", "doctor", auth.RoleDoctor)
	defer func() { // not a cleanup: those run when the page can't be asked any more
		if !t.Failed() {
			return
		}
		for _, r := range doctor.Stats("inbound-rtp") {
			if r["kind"] == "video" && r["framesDecoded"] == 0.0 {
				t.Logf("nothing decoded: mid %v, ssrc %v, %v packets, %v bytes, %v PLI, %v NACK", r["mid"], r["ssrc"],
					r["packetsReceived"], r["bytesReceived"], r["pliCount"], r["nackCount"])
			}
		}
	}()
	for i := range bots {
		doctor.sees(fmt.Sprintf("person-%02d", i))
	}
	ctx := l.context(2 * patience)
	for _, b := range bots {
		l.must(b.WaitFrames(ctx, "doctor", media.Camera, 10))
		l.must(b.WaitFrames(ctx, "person-00", media.Microphone, 0))
	}
	if n := doctor.tiles(); n != 11 {
		t.Errorf("%d tiles, want 11", n)
	}
	doctor.Screenshot(screenshots(t, "twelve"))
}

func TestSoundAndPictureArriveTogetherInACallOfThree(t *testing.T) {
	flash, err := testmedia.Flash()
	if err != nil {
		t.Fatal(err)
	}
	l := start(t, nil)
	b := browser.Start(t, browser.Options{})
	listeners := []*person{
		l.enter(b, "room", "doctor", auth.RoleDoctor),
		l.enter(b, "room", "companion", auth.RoleCompanion),
	}
	for _, p := range listeners {
		p.Click("mute-mic") // the fake microphone beeps too
	}
	l.bot("room", "patient", auth.RolePatient, func(c *bot.Config) {
		c.Clips = map[media.Source]*testmedia.Clip{media.Camera: flash}
		c.KeepStep = true
	})
	for i, p := range listeners {
		p.sees("patient")
		if i == 0 {
			// Browsers slide sound and picture together over some seconds
			// after the first sender reports: what counts is where that ends.
			p.WaitFor("the browsers to align", `new Promise(r => setTimeout(() => r(true), 12000))`)
		}
		seat := fmt.Sprintf("%s[data-participant=%q]", sound, "patient")
		var named bool
		p.Eval(fmt.Sprintf("!!document.querySelector(%q)", seat), &named)
		if !named {
			seat = p.playing()
		}
		p.WaitSound(seat)
		offsets := p.LipSync(picture("patient", "cam"), seat, 8*time.Second)
		if len(offsets) < 4 {
			t.Fatalf("%s: only %d beeps with a flash", p.identity, len(offsets))
		}
		t.Logf("%s: beep before flash by %v", p.identity, offsets)
		slices.Sort(offsets)
		median := offsets[len(offsets)/2]
		if median.Abs() > 60*time.Millisecond {
			t.Errorf("%s: sound and picture are %v apart, want within 60ms", p.identity, median)
		}
	}
}

// playing selects the audio element in which something is heard.
func (p *person) playing() string {
	p.l.t.Helper()
	var seats []string
	p.Eval(`[...document.querySelectorAll('`+sound+`')].map(e => e.dataset.seat)`, &seats)
	for range 3 {
		for _, seat := range seats {
			selector := fmt.Sprintf("%s[data-seat=%q]", sound, seat)
			if p.Energy(selector, 1200*time.Millisecond) > 0.01 {
				return selector
			}
		}
	}
	p.l.t.Fatalf("%s hears nothing in any of %d seats", p.identity, len(seats))
	return ""
}
