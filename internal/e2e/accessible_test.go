package e2e

import (
	"os"
	"os/exec"
	"testing"

	"consilium/internal/auth"
	"consilium/internal/browser"
	"consilium/internal/testmedia"
)

// axe returns the source of axe-core, at the version that the lock file of the
// web client pins.
func axe(t *testing.T) string {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "../../.ci/web-modules").CombinedOutput(); err != nil {
		t.Fatalf("install axe-core: %v\n%s", err, out)
	}
	source, err := os.ReadFile("../../web/node_modules/axe-core/axe.min.js")
	if err != nil {
		t.Fatal(err)
	}
	return string(source)
}

// accessible fails for everything in which axe finds that the page, in the light
// or in the dark scheme, breaks WCAG 2.2 at level A or AA. The page's Script must be that of axe.
func (p *person) accessible(name string) {
	p.l.t.Helper()
	for _, scheme := range []string{"light", "dark"} {
		p.Eval(`document.documentElement.style.colorScheme = '`+scheme+`'`, nil)
		var found []struct{ Rule, Help, Where string }
		p.Eval(`axe.run(document, {
			runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'],
		}).then((r) => r.violations.flatMap((v) => v.nodes.map((n) => ({rule: v.id, help: v.help, where: n.html.slice(0, 200)}))))`, &found)
		for _, v := range found {
			p.l.t.Errorf("%s, %s: %s: %s\n%s", name, scheme, v.Rule, v.Help, v.Where)
		}
	}
	p.Eval(`document.documentElement.style.colorScheme = ''`, nil)
}

func TestNoPageBreaksWCAG(t *testing.T) {
	t.Parallel()
	source := axe(t)
	l := start(t, nil)
	b := browser.Start(t, browser.Options{})
	call := l.recordCall(testmedia.Camera)
	for name, o := range map[string]browser.PageOptions{"desk": {Width: 1440, Height: 1000}, "phone": phone} {
		o.Script = source + "\n;" + playbackProbe
		p := l.look(b, name, "/recordings/"+call, o)
		p.refused = true
		p.WaitVisible("play-access")
		p.accessible(name + ": a closed recording")
		p.entersPlayback()
		p.seekTo(7000)
		p.Eval(`document.querySelectorAll('details').forEach((d) => { d.open = true; })`, nil)
		p.accessible(name + ": a recording")
		for path, ready := range map[string]string{"/": "page-landing", "/selftest": "page-selftest", "/admin": "admin-secret"} {
			p := l.look(b, name+ready, path, o)
			p.WaitVisible(ready)
			p.accessible(name + ": " + path)
		}
		p = l.visit(b, "other", "patient-"+name, auth.RolePatient, o)
		p.accessible(name + ": joining")
		p.join()
		p.WaitVisible("call")
		p.accessible(name + ": in a call")
		p.leave()
	}
}
