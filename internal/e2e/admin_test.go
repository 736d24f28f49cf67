package e2e

import (
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
)

func TestTheAdministratorSeesBothSidesOfACall(t *testing.T) {
	t.Parallel()
	l := start(t, func(c *config.Config) { c.Media.Timeout = 3 * time.Second })
	b := browser.Start(t, browser.Options{})
	doctor := l.enter(b, "room", "Dr.Weiss", auth.RoleDoctor)
	l.bot("room", "mute-device", auth.RolePatient, func(c *bot.Config) { c.Silent = true })
	failed := l.waitEvent(event.MediaTimeout, "mute-device", patience)
	l.waitEvent(event.MediaFlowing, "Dr.Weiss", patience)
	if number := failed.Incident(); !strings.Contains(doctor.tileNote("mute-device"), number) {
		t.Errorf("the tile says %q, without %s", doctor.tileNote("mute-device"), number)
	}
	doctor.leave()

	p := l.look(b, "admin", "/admin", browser.PageOptions{AllowErrors: true})
	p.hasAll("page-admin", "admin-secret", "sign-in")
	p.shoot("admin-sign-in")
	p.signIn("nobody:wrong")
	p.WaitVisible("admin-fault")
	p.signIn(config.DevKeyID + ":" + string(config.DevSecret))
	p.hasAll("call-list", "open-call", "refresh", "sign-out", "incident-search", "filter-code")
	var stored int
	p.Eval(`sessionStorage.length + localStorage.length + document.cookie.length`, &stored)
	if stored != 0 {
		t.Error("the page keeps something")
	}
	p.find("nothing")
	p.WaitVisible("admin-notice")
	p.find("000000")
	p.WaitVisible("admin-notice")

	for name, o := range map[string]browser.PageOptions{"admin-call": {}, "admin-call-phone": phone} {
		p = l.look(b, name, "/admin", o)
		p.signIn(l.token("*", "root", auth.RoleAdmin))
		p.WaitVisible("open-call")
		p.shoot(name + "-list")
		p.filter("code", "CAM_DENIED")
		p.WaitFor("no call to be left", `!document.querySelector('[data-testid=open-call]')`)
		p.filter("code", "NO_MEDIA_OUT")
		p.WaitVisible("open-call")
		p.find(strings.ToLower(strings.ReplaceAll(failed.Incident(), "-", " ")))
		p.hasAll("call-view", "timeline", "stages", "summary", "download", "download-dump", "back")
		for what, selector := range map[string]string{
			"the failure in words":         "[data-testid=call-failures] .sought[data-code=NO_MEDIA_OUT] p",
			"the lane of who failed":       ".lane[data-participant='mute-device']",
			"the failure on its own side":  ".entry.sought[data-side=server][data-kind=failed]",
			"what the server saw of a way": ".entry[data-side=server][data-type='ice.connected']",
		} {
			p.WaitFor(what, `!!document.querySelector(`+strconv.Quote(selector)+`)`)
		}
		p.shoot(name + "-failed")
		p.Eval(`document.querySelector('[data-testid=lane-tab][data-participant="Dr.Weiss"]').click()`, nil)
		for what, selector := range map[string]string{
			"a line of the device's log": ".entry[data-side=client]",
			"what the server saw of it":  ".entry[data-side=server][data-type='media.flowing']",
			"a bar of either side":       "[data-stage=ice]:has(.bar[data-side=client]):has(.bar[data-side=server])",
		} {
			p.WaitFor(what, `!!document.querySelector(`+strconv.Quote(selector)+`)`)
		}
		p.Eval(`scrollTo(0, 0)`, nil)
		p.shoot(name)
		p.Eval(`document.querySelector('[data-testid=timeline]').scrollIntoView()`, nil)
		p.shoot(name + "-timeline")
		p.checkOrder()
	}
	p.checkDump()
	p.Click("back")
	p.WaitVisible("call-list")
}

// tileNote is what the tile of somebody says.
func (p *person) tileNote(identity string) (words string) {
	p.l.t.Helper()
	selector := `[data-testid=tile][data-participant="` + identity + `"][data-state=failed] .tile-note`
	p.WaitFor("the failure in the tile", `!!document.querySelector(`+strconv.Quote(selector)+`)`)
	p.Eval(`document.querySelector(`+strconv.Quote(selector)+`).textContent`, &words)
	return words
}

// checkOrder fails unless the entries of both sides come by their time, and
// the technical ones only when asked for.
func (p *person) checkOrder() {
	p.l.t.Helper()
	times := func() (list []float64) {
		p.Eval(`[...document.querySelectorAll('.entry .at')].map((e) => Number(e.lastChild.textContent.replace('−', '-').replace(' s', '')))`, &list)
		return list
	}
	few := times()
	p.Eval(`document.querySelector('[data-testid=with-notes]').click()`, nil)
	all := times()
	if !slices.IsSorted(all) || len(few) < 5 || len(all) <= len(few) {
		p.l.t.Errorf("entries at %v; with technical ones at %v", few, all)
	}
	p.Eval(`document.querySelector('[data-testid=with-notes]').click()`, nil)
}

// checkDump fails unless the page gives the browser a dump to keep.
func (p *person) checkDump() {
	p.l.t.Helper()
	p.Eval(`(() => {
		const make = URL.createObjectURL;
		URL.createObjectURL = (blob) => (blob.text().then((text) => { window.saved = text; }), make.call(URL, blob));
	})()`, nil)
	p.Click("download-dump")
	p.WaitFor("a dump", `window.saved?.startsWith('RTCStatsDump\n{') && window.saved.includes('"getStats"')`)
}

// find types an incident number into the search field.
func (p *person) find(number string) {
	p.l.t.Helper()
	p.Eval(`document.querySelector('[data-testid=incident-search]').value = `+strconv.Quote(number), nil)
	p.Click("incident-find")
}

// filter chooses what calls are listed.
func (p *person) filter(name, value string) {
	p.l.t.Helper()
	p.Eval(`(s => { s.value = `+strconv.Quote(value)+`; s.dispatchEvent(new Event('change')); })(document.querySelector('[data-testid=filter-`+name+`]'))`, nil)
}

// signIn types a secret into the page of the administration.
func (p *person) signIn(secret string) {
	p.l.t.Helper()
	p.WaitVisible("admin-secret")
	p.Eval(`document.querySelector('[data-testid=admin-secret]').value = `+strconv.Quote(secret), nil)
	p.Click("sign-in")
}
