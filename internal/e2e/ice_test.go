package e2e

import (
	"testing"
	"time"

	"consilium/internal/auth"
	"consilium/internal/browser"
	"consilium/internal/config"
	"consilium/internal/event"
	"consilium/internal/media"
)

// TestBrowsersCallAnICELiteServer has the server answer checks only. The other
// side of a call is a Pion client. The network lab tries every path.
func TestBrowsersCallAnICELiteServer(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind        browser.Kind
		path, relay string
	}{
		{browser.Chromium, "direct", ""},
		{browser.Firefox, "relay", "tcp"},
	} {
		t.Run(string(c.kind)+" "+c.path, func(t *testing.T) {
			l := start(t, func(cfg *config.Config) { cfg.Media.ICE = config.ICELite })
			other := l.bot("room", "patient", auth.RolePatient, nil)
			p := l.visit(browser.Start(t, browser.Options{Kind: c.kind}), "room", "doctor", auth.RoleDoctor, browser.PageOptions{Relay: c.relay})
			p.join()
			p.sees("patient")
			p.hears()
			l.must(other.WaitFrames(l.context(patience), "doctor", media.Camera, 10))
			if e := l.waitEvent(event.ICEConnected, "doctor", patience); e.Data["path"] != c.path {
				t.Errorf("ice.connected says %v, want %s", e.Data, c.path)
			}
			var lite bool
			p.Eval(`window.__peers[0].remoteDescription.sdp.includes('a=ice-lite')`, &lite)
			if !lite {
				t.Error("the server's answer does not say that it is lite")
			}
		})
	}
}

// TestAMutedPageKeepsItsPath is alone in a call and sends neither picture nor
// sound. What little the server reports is enough for the page not to take the
// path for dead.
func TestAMutedPageKeepsItsPath(t *testing.T) {
	t.Parallel()
	for _, kind := range []browser.Kind{browser.Chromium, browser.Firefox} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			l := start(t, nil)
			p := l.enter(browser.Start(t, browser.Options{Kind: kind}), "room", "doctor", auth.RoleDoctor)
			l.waitEvent(event.MediaFlowing, "doctor", patience)
			p.Click("mute-mic")
			p.Click("mute-cam")
			const ufrag = `window.__peers[0].localDescription.sdp.match(/a=ice-ufrag:(\S+)/)[1]`
			var before, after string
			p.Eval(ufrag, &before)
			timer := time.NewTimer(8 * time.Second)
			defer timer.Stop()
			<-timer.C
			if p.Eval(ufrag, &after); after != before || before == "" {
				t.Errorf("ICE was restarted: fragment %q, then %q", before, after)
			}
		})
	}
}
