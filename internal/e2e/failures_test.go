package e2e

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"consilium/internal/browser"
	"consilium/internal/config"
	"consilium/internal/event"
)

// Each failure is forced in a real browser and must be named by exactly its
// code: to the person, on the page; to the MIS, in the feed. One server and one
// browser serve many of them, each with a room and a window of its own.

// in is the same server for a subtest.
func (l *lab) in(t *testing.T) *lab {
	same := *l
	same.t = t
	return &same
}

// open opens an address in a window of its own.
func (l *lab) open(b *browser.Browser, identity, address string) *person {
	l.t.Helper()
	return l.openWith(b, identity, address, browser.PageOptions{})
}

// openWith is open with options of the window.
func (l *lab) openWith(b *browser.Browser, identity, address string, o browser.PageOptions) *person {
	l.t.Helper()
	p := &person{Page: b.NewPage(l.t, identity, o), l: l, identity: identity}
	p.Goto(address)
	return p
}

// sign makes a token with any claims, also of a kind that nobody should make.
func (l *lab) sign(identity string, claims jwt.MapClaims) string {
	l.t.Helper()
	all := jwt.MapClaims{
		"iss": config.DevKeyID, "sub": identity, "room": "room-" + identity, "role": "patient",
		"exp": time.Now().Add(tokenTTL).Unix(),
	}
	maps.Copy(all, claims)
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, all).SignedString([]byte(config.DevSecret))
	l.must(err)
	return token
}

// invite is a link to a room of the person's own with such a token.
func (l *lab) invite(base, identity string, claims jwt.MapClaims) string {
	l.t.Helper()
	return base + "/r/room-" + identity + "#" + l.sign(identity, claims)
}

// expect opens the call that somebody fails to get into, so that there is a
// journal to look in. The room is that of invite.
func (l *lab) expect(identity string) {
	l.t.Helper()
	l.post("/v1/calls", map[string]any{"room": "room-" + identity}, nil)
}

// wantCodeOutside is wantCode for somebody who never gets into the call that
// waits for him.
func wantCodeOutside(t *testing.T, p *person, l *lab, hook *receiver, identity string, code event.Code, stage event.Stage) event.Event {
	t.Helper()
	e := wantCode(t, p, l, hook, identity, code)
	if e.Call == "" || e.Stage != stage {
		t.Errorf("%s is said of call %q at %s, want a call and %s", code, e.Call, e.Stage, stage)
	}
	return e
}

// agree joins from the join page, whatever comes of it.
func (p *person) agree() {
	p.l.t.Helper()
	p.Click("consent-accept")
	p.Click("join")
}

// isTold waits until the page names this failure, and no other.
func (p *person) isTold(code event.Code) {
	p.l.t.Helper()
	const codes = `[...document.querySelectorAll('[data-testid=failure]')].map(f => f.dataset.code).join()`
	p.WaitFor(string(code), codes+` === '`+string(code)+`'`)
	if words := p.Text("failure"); len(words) < 20 || strings.Contains(words, "code.") {
		p.l.t.Errorf("%s is said as %q", code, words)
	}
}

// busy answers as a browser does whose device another program holds. A device
// that can be held is what a machine without hardware lacks: this cause alone is
// said by a script, with the exception that browsers throw.
const busy = `navigator.mediaDevices.getUserMedia = async () => {
	throw new DOMException('Could not start source', 'NotReadableError');
};`

func TestADeviceThatCannotBeHadIsNamed(t *testing.T) {
	t.Parallel()
	l, hook := startHooked(t, nil)
	onlyCam := jwt.MapClaims{"grants": []string{"publish.video", "subscribe"}}
	onlyMic := jwt.MapClaims{"grants": []string{"publish.audio", "subscribe"}}
	for name, test := range map[string]struct {
		browser browser.Options
		script  string
		codes   map[event.Code]jwt.MapClaims
	}{
		"refused in chromium": {browser.Options{DenyPermissions: true}, "",
			map[event.Code]jwt.MapClaims{event.CamDenied: onlyCam, event.MicDenied: onlyMic}},
		"busy in chromium": {browser.Options{}, busy,
			map[event.Code]jwt.MapClaims{event.CamBusy: onlyCam, event.MicBusy: onlyMic}},
		// Its fake microphone can't be taken from Chromium.
		"missing in chromium": {browser.Options{NoDevices: true}, "",
			map[event.Code]jwt.MapClaims{event.CamNone: onlyCam}},
		"missing in firefox": {browser.Options{Kind: browser.Firefox, NoDevices: true, Prefs: map[string]any{"media.cubeb.force_mock_context": false}}, "",
			map[event.Code]jwt.MapClaims{event.CamNone: onlyCam, event.MicNone: onlyMic}},
		"refused in firefox": {browser.Options{Kind: browser.Firefox, DenyPermissions: true}, "",
			map[event.Code]jwt.MapClaims{event.CamDenied: onlyCam, event.MicDenied: onlyMic}},
	} {
		t.Run(name, func(t *testing.T) {
			b := browser.Start(t, test.browser)
			for code, claims := range test.codes {
				t.Run(string(code), func(t *testing.T) {
					l := l.in(t)
					identity := strings.ReplaceAll(name, " ", "-") + "-" + string(code)
					l.expect(identity)
					opened := time.Now()
					p := l.openWith(b, identity, l.invite(l.url, identity, claims), browser.PageOptions{Script: test.script})
					// The person has not joined and may never do so.
					e := wantCodeOutside(t, p, l, hook, identity, code, event.StageDevices)
					within(t, e.Time.Sub(opened))
				})
			}
		})
	}
}

func TestAPageWithoutHTTPSIsNamed(t *testing.T) {
	t.Parallel()
	l, hook := startHooked(t, nil)
	b := browser.Start(t, browser.Options{Args: []string{"--host-resolver-rules=MAP clinic.test 127.0.0.1"}})
	base := strings.Replace(l.url, "127.0.0.1", "clinic.test", 1)
	l.expect("patient")
	p := l.open(b, "patient", l.invite(base, "patient", nil))
	p.WaitVisible("failed")
	wantCodeOutside(t, p, l, hook, "patient", event.InsecurePage, event.StagePage)
}

func TestABrowserThatCannotCallIsNamed(t *testing.T) {
	t.Parallel()
	l, hook := startHooked(t, nil)
	b := browser.Start(t, browser.Options{})
	const old = `delete window.RTCPeerConnection;`
	for code, script := range map[event.Code]string{
		event.BrowserOld:   old,
		event.InAppBrowser: old + `Object.defineProperty(navigator, 'userAgent', {value: navigator.userAgent + ' Instagram 300.0'});`,
	} {
		t.Run(string(code), func(t *testing.T) {
			l := l.in(t)
			l.expect(string(code))
			p := l.openWith(b, string(code), l.invite(l.url, string(code), nil), browser.PageOptions{Script: script})
			p.WaitVisible("failed")
			wantCodeOutside(t, p, l, hook, string(code), code, event.StagePage)
		})
	}
}

// proxy is a web server of a site in front of ours: it serves page at "/" and
// passes the rest on, changed.
func (l *lab) proxy(page string, refuse string, change func(*http.Response) error) string {
	target, err := url.Parse(l.url)
	l.must(err)
	pass := &httputil.ReverseProxy{
		Rewrite:        func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ModifyResponse: change,
	}
	mux := http.NewServeMux()
	mux.Handle("/", pass)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte(page)) // the browser went away: the test will say so
	})
	if refuse != "" {
		mux.HandleFunc(refuse, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	}
	server := httptest.NewServer(mux)
	l.t.Cleanup(server.Close)
	return server.URL
}

// framable lets other sites put our pages in a frame.
func framable(r *http.Response) error {
	policy := r.Header.Get("Content-Security-Policy")
	r.Header.Set("Content-Security-Policy", strings.Replace(policy, "frame-ancestors 'none'; ", "", 1))
	r.Header.Del("Permissions-Policy")
	return nil
}

func TestAFrameThatKeepsTheCameraBackIsNamed(t *testing.T) {
	t.Parallel()
	l, hook := startHooked(t, nil)
	b := browser.Start(t, browser.Options{})
	for name, frame := range map[string]string{
		// To the browser localhost is another site than 127.0.0.1.
		"of another site":  `<iframe width=900 height=900 src="HOST/r/ROOM"></iframe>`,
		"of the same site": `<iframe width=900 height=900 allow="camera 'none'; microphone 'none'" src="/r/ROOM"></iframe>`,
	} {
		t.Run(name, func(t *testing.T) {
			l := l.in(t)
			identity := strings.ReplaceAll(name, " ", "-")
			inner := l.proxy("", "", framable)
			room := "room-" + identity + "#" + l.sign(identity, nil)
			host := strings.Replace(inner, "127.0.0.1", "localhost", 1)
			outer := l.proxy(strings.NewReplacer("HOST", host, "ROOM", room).Replace(frame), "", framable)
			l.expect(identity)
			p := l.open(b, identity, outer)
			wantCodeOutside(t, nil, l, hook, identity, event.FramePolicy, event.StageDevices)
			if name == "of the same site" { // into the other one nobody can look
				p.WaitFor("the words", `document.querySelector('iframe').contentDocument.querySelector('[data-testid=failure]')?.dataset.code === 'FRAME_POLICY'`)
			}
		})
	}
}
