package e2e

import (
	"fmt"
	"testing"

	"consilium/internal/auth"
	"consilium/internal/browser"
)

// person is somebody in a browser.
type person struct {
	*browser.Page
	l        *lab
	identity string
	refused  bool // a 401 in its console is no fault
}

// visit opens a person's join link.
func (l *lab) visit(b *browser.Browser, room, identity string, role auth.Role, o browser.PageOptions) *person {
	l.t.Helper()
	o.Peers = true
	p := &person{Page: b.NewPage(l.t, identity, o), l: l, identity: identity}
	p.Goto(l.link(room, identity, role))
	p.WaitVisible("page-join")
	return p
}

// join accepts the recording and joins.
func (p *person) join() {
	p.l.t.Helper()
	p.WaitVisible("consent-accept")
	p.Click("consent-accept")
	p.Click("join")
	p.WaitVisible("call")
}

// enter is visit and join.
func (l *lab) enter(b *browser.Browser, room, identity string, role auth.Role) *person {
	l.t.Helper()
	p := l.visit(b, room, identity, role, browser.PageOptions{})
	p.join()
	return p
}

// picture selects the video of somebody's source.
func picture(identity, source string) string {
	return fmt.Sprintf("[data-testid=tile][data-participant=%q][data-source=%q] video", identity, source)
}

// sound selects the audio elements; in a call of two there is one that plays.
const sound = "audio[data-testid=tile-audio]"

// sees waits until the picture of somebody's camera changes.
func (p *person) sees(identity string) {
	p.l.t.Helper()
	p.WaitPicture(picture(identity, "cam"))
}

// hears waits until something is heard in the first seat that is taken.
func (p *person) hears() {
	p.l.t.Helper()
	p.WaitSound(sound)
}

// leave leaves; who may end the call is asked first.
func (p *person) leave() {
	p.l.t.Helper()
	p.Click("leave")
	p.WaitFor("the end or a question", `document.querySelector('dialog[open]') || !document.querySelector('[data-testid=call]')`)
	var asked bool
	p.Eval(`!!document.querySelector('dialog[open]')`, &asked)
	if asked {
		p.Click("confirm-yes")
	}
	p.WaitGone("call")
}

// tiles counts the tiles of others.
func (p *person) tiles() (n int) {
	p.l.t.Helper()
	p.Eval(`document.querySelectorAll('[data-testid=tile]').length`, &n)
	return n
}

// screenshots is where pictures of pages are kept when asked for.
func screenshots(t *testing.T, name string) string {
	t.Helper()
	return t.ArtifactDir() + "/" + name + ".png"
}
