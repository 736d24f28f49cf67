package e2e

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"consilium/internal/auth"
	"consilium/internal/bot"
	"consilium/internal/browser"
	"consilium/internal/config"
	"consilium/internal/event"
	"consilium/internal/media"
	"consilium/internal/testmedia"
	"consilium/recorder"
)

// What the player promises, in ms.
const (
	// stepTolerance is how far apart two files may be played.
	stepTolerance = 80
	// pageSeekTolerance is how far from where it was sent a picture may land:
	// two frames of the clip, and one of the screen.
	pageSeekTolerance = 100
)

// recordCall records two people who show the same pictures and beep at the same
// moments; one of them shows his screen, the other goes silent, turns his camera
// off, leaves and comes back. It returns the recording's id.
func (l *lab) recordCall(pictures func() (*testmedia.Clip, error)) string {
	l.t.Helper()
	picture, err := pictures()
	l.must(err)
	beep, err := testmedia.Beep()
	l.must(err)
	begin := time.Now()
	flashing := func(c *bot.Config) {
		c.Clips = map[media.Source]*testmedia.Clip{media.Camera: picture, media.Microphone: beep, media.Screen: picture}
		c.Start, c.KeepStep = begin, true
	}
	doctor := l.bot("room", "Dr.Weiss", auth.RoleDoctor, flashing)
	patient := l.bot("room", "Anna.Petrova", auth.RolePatient, flashing)
	l.waitEvent(event.MediaFlowing, "Dr.Weiss", patience)
	l.waitEvent(event.MediaFlowing, "Anna.Petrova", patience)
	ctx := l.context(patience)
	pause := func(d time.Duration) { <-time.After(d) }
	pause(6 * time.Second)
	l.must(patient.Mute(ctx, media.Microphone, true))
	l.must(doctor.ShareScreen(ctx))
	pause(2 * time.Second)
	l.must(patient.Mute(ctx, media.Microphone, false))
	l.must(patient.Mute(ctx, media.Camera, true))
	pause(2 * time.Second)
	l.must(doctor.StopScreen(ctx))
	l.must(patient.Mute(ctx, media.Camera, false))
	l.must(patient.Leave(ctx))
	pause(time.Second)
	again := l.bot("room", "Anna.Petrova", auth.RolePatient, flashing)
	pause(5 * time.Second)
	l.must(again.Leave(ctx))
	l.must(doctor.Leave(ctx))
	return l.waitEvent(event.RecordingReady, "", patience).Call
}

func TestThePlaybackPageKeepsEverybodyInStep(t *testing.T) {
	l := start(t, nil)
	call := l.recordCall(testmedia.Flash)
	var manifest recorder.Manifest
	l.get("/v1/recordings/"+call, &manifest)
	for _, s := range manifest.Segments {
		t.Logf("%s: from %.0f ms, %d ms, activity %v", s.File, s.T0MS, s.DurationMS, s.Activity != nil)
		if s.Source == media.Microphone && s.Activity == nil {
			t.Errorf("%s says nothing of who spoke", s.File)
		}
	}
	for _, kind := range []browser.Kind{browser.Chromium, browser.Firefox} {
		t.Run(string(kind), func(t *testing.T) {
			l := l.in(t)
			b := browser.Start(t, browser.Options{Kind: kind, Prefs: map[string]any{"media.autoplay.default": 0}})
			p := l.look(b, "player-"+string(kind), "/recordings/"+call, browser.PageOptions{Script: playbackProbe})
			p.refused = true
			p.entersPlayback()
			p.WaitFor("the first pictures", `document.querySelectorAll('.play-picture video.live').length > 0`)
			p.Click("play")
			p.inStep("1", 1000, 3*time.Second)
			p.inStep("1.5", 500, 2*time.Second)
			p.inStep("0.5", 1500, 2*time.Second)
			p.choose("speed", "1")
			p.Click("play")
			p.landsWhereSent(manifest)
			p.followsKeys()
			p.jumpsToMoments()
			p.hearsOnly("Dr.Weiss")
		})
	}
}

// playbackProbe looks at the media elements of the page: t0 and drift come from
// the manifest, so that the page's own arithmetic is not believed.
const playbackProbe = `window.probe = {
	async load(call) {
		const m = await (await fetch('/v1/recordings/' + call)).json();
		this.segments = new Map(m.segments.map(s => [s.file, s]));
	},
	at(e) {
		const s = this.segments.get(e.dataset.file);
		return s.t0_ms + e.currentTime * 1000 * (1 + (s.drift_ppm ?? 0) / 1e6);
	},
	elements() { return [...document.querySelectorAll('.play-tile video')].concat(window.sounds); },
	async spread(ms) {
		const found = [];
		for (const end = performance.now() + ms; performance.now() < end; await new Promise(r => setTimeout(r, 50))) {
			const at = this.elements().filter(e => !e.paused && !e.ended && !e.seeking && e.readyState >= 2).map(e => this.at(e));
			if (at.length > 2) found.push(Math.max(...at) - Math.min(...at));
		}
		return found;
	},
};
// Sounds are in no document: they are caught where they are made.
window.sounds = [];
const make = Document.prototype.createElement;
Document.prototype.createElement = function (tag, ...more) {
	const e = make.call(this, tag, ...more);
	if (tag === 'audio') window.sounds.push(e);
	return e;
};`

// entersPlayback signs in on a page that has no cookie.
func (p *person) entersPlayback() {
	p.l.t.Helper()
	p.WaitVisible("play-access")
	p.Eval(`document.querySelector('.play-access details').open = true`, nil)
	p.Eval(`document.querySelector('[data-testid=play-secret]').value = 'nobody:wrong'`, nil)
	p.Click("play-sign-in")
	p.WaitVisible("play-fault")
	p.Eval(`document.querySelector('[data-testid=play-secret]').value = `+strconv.Quote(config.DevKeyID+":"+string(config.DevSecret)), nil)
	p.Click("play-sign-in")
	p.hasAll("play-view", "play-stage", "transport", "axis", "moments", "play-files")
	p.Eval(`probe.load(location.pathname.split('/').at(-1)).then(() => true)`, nil)
}

// seekTo moves the slider, as a hand would, and waits until all are there.
func (p *person) seekTo(ms int) {
	p.l.t.Helper()
	p.Eval(fmt.Sprintf(`(s => { s.valueAsNumber = %d; s.dispatchEvent(new Event('input')); })(document.querySelector('[data-testid=seek]'))`, ms), nil)
	p.WaitFor("the files to be there", `probe.elements().every(e => !e.src || (!e.seeking && e.readyState >= 2))`)
}

// choose selects an option.
func (p *person) choose(testid, value string) {
	p.l.t.Helper()
	p.Eval(`(s => { s.value = `+strconv.Quote(value)+`; s.dispatchEvent(new Event('change')); })(document.querySelector('[data-testid=`+testid+`]'))`, nil)
}

// attempts that a measurement has: a machine that is busy with other things lets
// the sound stutter, which is not the player's doing.
const attempts = 3

// inStep fails unless the files of the page are played together at a speed, from
// a moment on; they get two seconds to settle.
func (p *person) inStep(speed string, from int, d time.Duration) {
	p.l.t.Helper()
	p.choose("speed", speed)
	var most float64
	for range attempts {
		p.seekTo(from)
		p.WaitFor("the page to play", `document.querySelector('[data-testid=play]').dataset.playing === 'true' && probe.elements().filter(e => !e.paused).length > 2`)
		p.Eval(`probe.spread(2000).then(() => true)`, nil) // it settles
		var spread []float64
		p.Eval(fmt.Sprintf(`probe.spread(%d)`, d.Milliseconds()), &spread)
		if len(spread) < 10 {
			p.l.t.Logf("at speed %s: seen playing %d times only", speed, len(spread))
			most = math.Inf(1)
			continue
		}
		slices.Sort(spread)
		most = spread[len(spread)*9/10]
		p.l.t.Logf("%s at speed %s: files are %.0f ms apart (median), %.0f ms (nine of ten), %.0f ms at most",
			p.identity, speed, spread[len(spread)/2], most, spread[len(spread)-1])
		if most <= stepTolerance {
			return
		}
	}
	p.l.t.Errorf("%s at speed %s: files are %.0f ms apart, want %d at most", p.identity, speed, most, stepTolerance)
}

// landsWhereSent seeks while nothing plays, and compares the time of the
// picture that is then shown.
func (p *person) landsWhereSent(m recorder.Manifest) {
	p.l.t.Helper()
	for _, target := range []int{9000, 3000, 6000, 4500} {
		var landed []float64
		p.Eval(fmt.Sprintf(`(async () => {
			const shown = [...document.querySelectorAll('.play-tile video')].filter(e => e.src);
			const times = shown.map(e => new Promise(r => {
				const next = (_, m) => { e.last = m.mediaTime; e.requestVideoFrameCallback(next); };
				e.last = null;
				e.requestVideoFrameCallback(next);
				setTimeout(r, 1500);
			}));
			(s => { s.valueAsNumber = %d; s.dispatchEvent(new Event('input')); })(document.querySelector('[data-testid=seek]'));
			await Promise.all(times);
			return shown.filter(e => e.classList.contains('live') && e.last !== null).map(e => probe.segments.get(e.dataset.file).t0_ms + e.last * 1000);
		})()`, target), &landed)
		if len(landed) == 0 {
			p.l.t.Errorf("seek to %d ms: no picture was shown", target)
		}
		for _, at := range landed {
			p.l.t.Logf("%s: sent to %d ms, the picture is of %.0f ms", p.identity, target, at)
			if math.Abs(at-float64(target)) > pageSeekTolerance {
				p.l.t.Errorf("%s: sent to %d ms, the picture is of %.0f ms", p.identity, target, at)
			}
		}
	}
}

// position is what the page says where it is, ms.
func (p *person) position() (ms float64) {
	p.l.t.Helper()
	p.Eval(`document.querySelector('[data-testid=seek]').valueAsNumber`, &ms)
	return ms
}

// followsKeys tries the keys of the page and a click on the axis.
func (p *person) followsKeys() {
	p.l.t.Helper()
	p.seekTo(3000)
	p.Eval(`document.activeElement?.blur()`, nil)
	p.Key("ArrowRight")
	p.WaitFor("5 s further", `document.querySelector('[data-testid=seek]').valueAsNumber === 8000`)
	p.Key("Home")
	p.WaitFor("the start", `document.querySelector('[data-testid=seek]').valueAsNumber === 0`)
	p.Key(" ")
	p.WaitFor("it to play", `document.querySelector('[data-testid=play]').dataset.playing === 'true'`)
	p.Key(" ")
	p.WaitFor("it to stand", `document.querySelector('[data-testid=play]').dataset.playing === 'false'`)
	p.Eval(`(pad => {
		const box = pad.getBoundingClientRect();
		for (const type of ['pointerdown', 'pointerup']) pad.dispatchEvent(new PointerEvent(type, {pointerId: 1, isPrimary: true, clientX: box.left + box.width / 2, clientY: box.top + 5, bubbles: true}));
	})(Object.assign(document.querySelector('[data-testid=axis-pad]'), {setPointerCapture() {}}))`, nil)
	var length float64
	p.Eval(`Number(document.querySelector('[data-testid=seek]').max)`, &length)
	if got := p.position(); math.Abs(got-length/2) > length/50 {
		p.l.t.Errorf("a click in the middle of the axis went to %.0f ms of %.0f", got, length)
	}
}

// jumpsToMoments goes through the list of moments.
func (p *person) jumpsToMoments() {
	p.l.t.Helper()
	var kinds []string
	p.Eval(`[...document.querySelectorAll('[data-testid=moment]')].map(e => e.dataset.what)`, &kinds)
	for _, want := range []string{"joined", "left", "mic_off", "mic_on", "cam_off", "screen_on", "screen_off"} {
		if !slices.Contains(kinds, want) {
			p.l.t.Errorf("no moment %q among %s", want, strings.Join(kinds, " "))
		}
	}
	before := p.position()
	p.Eval(`document.querySelector('[data-testid=moment][data-what=screen_on]').click()`, nil)
	after := p.position()
	var current string
	p.Eval(`document.querySelector('.moment[aria-current]')?.dataset.what ?? ''`, &current)
	if before == after {
		p.l.t.Error("a moment leads nowhere")
	}
	p.Click("filter-speech")
	p.WaitFor("turns of speech", `!!document.querySelector('[data-testid=moment][data-what=speaks]')`)
	p.Click("filter-speech")
}

// hearsOnly listens to one participant alone.
func (p *person) hearsOnly(identity string) {
	p.l.t.Helper()
	p.Eval(`document.querySelector('.play-tile[data-participant=`+strconv.Quote(identity)+`] [data-testid=solo]').click()`, nil)
	p.WaitFor("one voice alone", `sounds.filter(e => !e.muted).length > 0 && sounds.filter(e => !e.muted).every(e => probe.segments.get(e.dataset.file).participant === `+strconv.Quote(identity)+`)`)
	p.Eval(`document.querySelector('.play-tile[data-participant=`+strconv.Quote(identity)+`] [data-testid=solo]').click()`, nil)
}

func TestThePlaybackPageLooksRight(t *testing.T) {
	t.Parallel()
	l := start(t, nil)
	call := l.recordCall(testmedia.LargeCamera)
	b := browser.Start(t, browser.Options{})
	for name, o := range map[string]browser.PageOptions{"playback": {Width: 1440, Height: 1000}, "playback-phone": phone} {
		o.Script = playbackProbe
		p := l.look(b, name, "/recordings/"+call, o)
		p.refused = true
		p.WaitVisible("play-access")
		p.shoot(name + "-closed")
		p.entersPlayback()
		p.seekTo(7000)
		p.Eval(`document.querySelector('.play-files details').open = true`, nil)
		p.Click("verify")
		p.WaitFor("the signature to be right", `document.querySelector('[data-testid=verify-result]').dataset.verdict === 'good'`)
		p.Click("export-merged")
		p.WaitFor("a file to be made", `!!document.querySelector('[data-testid=export-job][data-state=done] a[href*=merged]')`)
		p.shoot(name)
		p.Click("export-remove")
		p.WaitFor("it to be gone", `!document.querySelector('[data-testid=export-job]')`)
		p.Eval(`document.querySelector('[data-testid=axis]').scrollIntoView({block: 'start'})`, nil)
		p.shoot(name + "-axis")
		p.Eval(`(s => { s.value = 'ru'; s.dispatchEvent(new Event('change')); })(document.querySelector('[data-testid=lang-select]'))`, nil)
		p.WaitFor("Russian", `document.documentElement.lang === 'ru'`)
		p.Eval(`scrollTo(0, 0)`, nil)
		p.seekTo(4000)
		p.shoot(name + "-ru")
	}
	p := l.look(b, "no-recording", "/recordings/nothing-here", browser.PageOptions{})
	p.WaitVisible("play-access")
}
