package e2e

import (
	"strings"
	"testing"
	"time"

	"consilium/internal/auth"
	"consilium/internal/browser"
	"consilium/internal/config"
	"consilium/internal/event"
)

// phone is the window of a common telephone.
var phone = browser.PageOptions{Width: 390, Height: 844, Scale: 2, Mobile: true}

// look opens a page that is no join link.
func (l *lab) look(b *browser.Browser, name, path string, o browser.PageOptions) *person {
	l.t.Helper()
	p := &person{Page: b.NewPage(l.t, name, o), l: l, identity: name}
	p.Goto(l.url + path)
	return p
}

// shoot takes a picture of the page in the light and in the dark scheme, after
// a look at what no page may have: errors in the console, and more than one
// <main>.
func (p *person) shoot(name string) {
	p.l.t.Helper()
	for _, scheme := range []string{"light", "dark"} {
		p.Eval(`document.documentElement.style.colorScheme = '`+scheme+`'`, nil)
		p.Screenshot(screenshots(p.l.t, name+"-"+scheme))
	}
	p.Eval(`document.documentElement.style.colorScheme = ''`, nil)
	var mains int
	p.Eval(`document.querySelectorAll('main').length`, &mains)
	if mains != 1 {
		p.l.t.Errorf("%s: %d <main>, want 1", name, mains)
	}
	var wide bool
	p.Eval(`document.documentElement.scrollWidth > document.documentElement.clientWidth`, &wide)
	if wide {
		p.l.t.Errorf("%s: the page is wider than its window", name)
	}
	for line := range strings.Lines(p.Console()) {
		if p.refused && strings.Contains(line, "status of 401") {
			continue // the page was closed at first, as it should be
		}
		if strings.HasPrefix(line, "error:") || strings.HasPrefix(line, "log.error:") || strings.HasPrefix(line, "uncaught:") {
			p.l.t.Errorf("%s: console: %s", name, line)
		}
	}
}

// cameUpAtOnce fails unless the page's files were asked for by the page itself,
// each once: in two round trips, the first of which is the page.
func (p *person) cameUpAtOnce() {
	p.l.t.Helper()
	var late []string
	p.Eval(`(() => {
		const named = new Set([...document.querySelectorAll('link, script')].map(e => e.href || e.src));
		const loaded = performance.getEntriesByType('resource').map(e => e.name).filter(n => n.includes('/assets/'));
		return loaded.filter((n, i) => !named.has(n) || loaded.indexOf(n) !== i);
	})()`, &late)
	if len(late) > 0 {
		p.l.t.Errorf("loaded late or twice: %q", late)
	}
}

// hasAll fails unless every one of these can be seen.
func (p *person) hasAll(testids ...string) {
	p.l.t.Helper()
	for _, id := range testids {
		p.WaitVisible(id)
	}
}

func TestPagesBeforeACallLookRight(t *testing.T) {
	t.Parallel()
	l := start(t, nil)
	b := browser.Start(t, browser.Options{})

	landing := l.look(b, "landing", "/", browser.PageOptions{})
	landing.hasAll("page-landing", "lang-select")
	landing.shoot("landing")

	for name, o := range map[string]browser.PageOptions{"join": {}, "join-phone": phone} {
		p := l.visit(b, "room", name, auth.RolePatient, o)
		p.cameUpAtOnce()
		p.hasAll("preview", "level-meter", "consent-text", "consent-accept", "consent-refuse", "mute-mic", "mute-cam", "join")
		p.WaitPicture("[data-testid=preview]")
		p.shoot(name)
		p.Eval(`(s => { s.value = 'ru'; s.dispatchEvent(new Event('change')); })(document.querySelector('[data-testid=lang-select]'))`, nil)
		p.WaitFor("Russian", `document.documentElement.lang === 'ru'`)
		p.shoot(name + "-ru")
	}

	refuser := l.visit(b, "room", "refuser", auth.RolePatient, browser.PageOptions{})
	refuser.Click("consent-refuse")
	refuser.hasAll("failed", "failure", "rejoin")
	refuser.shoot("consent-refused")
}

func TestACallLooksRightOnADeskAndOnAPhone(t *testing.T) {
	t.Parallel()
	l := start(t, func(c *config.Config) { c.Calls.WaitingRoom = "patients" })
	b := browser.Start(t, browser.Options{})
	doctor := l.visit(b, "room", "Dr.Weiss", auth.RoleDoctor, browser.PageOptions{})
	doctor.join()
	doctor.hasAll("alone", "self-tile", "recording-sign", "connection-state", "share-screen", "leave")
	doctor.shoot("call-alone")

	patient := l.visit(b, "room", "Anna.Petrova", auth.RolePatient, phone)
	patient.Click("consent-accept")
	patient.Click("join")
	patient.hasAll("waiting", "self-video")
	patient.shoot("waiting-phone")
	doctor.hasAll("waiting-list", "admit", "reject")
	doctor.shoot("lobby")

	doctor.Click("admit")
	patient.WaitVisible("call")
	doctor.sees("Anna.Petrova")
	patient.sees("Dr.Weiss")
	doctor.hasAll("tile", "self-tile")
	doctor.shoot("call-two")
	patient.hasAll("tile", "mute-mic", "mute-cam", "leave")
	patient.shoot("call-phone")

	doctor.Click("open-people")
	doctor.hasAll("panel-people", "people-list", "mute-other", "remove", "end-call")
	doctor.shoot("people")
	doctor.Click("leave")
	doctor.hasAll("confirm", "confirm-yes", "confirm-no")
	doctor.shoot("leave-question")
	doctor.Click("confirm-no")

	patient.leave()
	patient.hasAll("ended", "rejoin")
	patient.shoot("ended-phone")
	doctor.WaitGone("tile")
	doctor.leave()
	doctor.hasAll("ended")
	doctor.shoot("ended")
}

func TestAFailureIsSaidInWordsOnThePage(t *testing.T) {
	t.Parallel()
	l := start(t, nil)
	b := browser.Start(t, browser.Options{DenyPermissions: true})
	p := l.visit(b, "room", "patient", auth.RolePatient, browser.PageOptions{})
	p.hasAll("failure", "failure-action", "consent-accept")
	p.shoot("join-denied")
	p.join()
	p.hasAll("failure", "failure-dismiss")
	p.shoot("call-failure")
}

func TestTheSelfTestTriesEveryWayAndTheClinicHearsOfIt(t *testing.T) {
	l := start(t, nil)
	for _, kind := range []browser.Kind{browser.Chromium, browser.Firefox} {
		t.Run(string(kind), func(t *testing.T) {
			l := l.in(t)
			b := browser.Start(t, browser.Options{Kind: kind})
			identity := "patient-" + string(kind)
			p := l.look(b, identity, "/selftest#"+l.token("room", identity, auth.RolePatient), browser.PageOptions{})
			p.Click("selftest-start")
			p.WaitForWithin("the verdict", `document.querySelector('[data-testid=selftest-verdict]')?.checkVisibility()`, time.Minute)
			p.shoot("selftest")
			for _, check := range []string{"page", "camera", "microphone", "socket", "udp", "tcp", "turn_udp", "turn_tcp", "websocket", "media"} {
				var status string
				p.Eval(`document.querySelector('[data-testid=check-`+check+`]').dataset.status`, &status)
				if status != "ok" {
					t.Errorf("%s: %s", check, status)
				}
			}
			e := l.waitEvent(event.PrecheckCompleted, identity, patience)
			if e.Room != "room" || e.Data["verdict"] != "good" {
				t.Errorf("the event says %v in %s", e.Data, e.Room)
			}
		})
	}
	for _, e := range l.events() {
		if e.Type != event.PrecheckCompleted {
			t.Errorf("the test left a trace: %s in %s", e.Type, e.Room)
		}
	}
	if list := l.recordings(); len(list) != 0 {
		t.Errorf("%d recordings, want none", len(list))
	}
}

func TestTheSelfTestWithoutALinkSaysWhatItCannotTry(t *testing.T) {
	t.Parallel()
	l := start(t, nil)
	p := l.look(browser.Start(t, browser.Options{NoDevices: true}), "selftest", "/selftest", phone)
	p.hasAll("page-selftest", "selftest-no-link", "check-udp")
	p.Click("selftest-start")
	p.WaitFor("the verdict", `document.querySelector('[data-testid=selftest-verdict]').dataset.verdict === 'incomplete'`)
	p.shoot("selftest-phone")
}
