package e2e

import (
	"strings"
	"testing"

	"consilium/internal/auth"
	"consilium/internal/bot"
	"consilium/internal/browser"
	"consilium/internal/event"
	"consilium/internal/media"
)

func TestRelayOnlyCallsWorkOverUDPAndTCP(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"udp", "tcp"} {
		t.Run(protocol, func(t *testing.T) {
			l := start(t, nil)
			relayed := func(c *bot.Config) { c.Relay, c.RelayProtocol = true, protocol }
			doctor := l.bot("room", "doctor", auth.RoleDoctor, relayed)
			patient := l.bot("room", "patient", auth.RolePatient, relayed)
			ctx := l.context(2 * patience)
			l.must(doctor.WaitFrames(ctx, "patient", media.Camera, 20))
			l.must(patient.WaitFrames(ctx, "doctor", media.Camera, 20))
			if path := doctor.Snapshot().Path; !strings.HasPrefix(path, "relay") {
				t.Errorf("the doctor's path is %q, want relay", path)
			}
			e := l.waitEvent(event.ICEConnected, "doctor", patience)
			if e.Data["path"] != "relay" || e.Data["protocol"] != protocol {
				t.Errorf("ice.connected says %v, want relay over %s", e.Data, protocol)
			}
		})
	}
}

func TestBrowsersCallThroughTheRelayAlone(t *testing.T) {
	t.Parallel()
	for _, kind := range []browser.Kind{browser.Chromium, browser.Firefox} {
		for _, protocol := range []string{"udp", "tcp"} {
			t.Run(string(kind)+" "+protocol, func(t *testing.T) {
				l := start(t, nil)
				other := l.bot("room", "patient", auth.RolePatient, nil)
				p := l.visit(browser.Start(t, browser.Options{Kind: kind}), "room", "doctor", auth.RoleDoctor, browser.PageOptions{Relay: protocol})
				p.join()
				p.sees("patient")
				p.hears()
				l.must(other.WaitFrames(l.context(patience), "doctor", media.Camera, 10))
				if e := l.waitEvent(event.ICEConnected, "doctor", patience); e.Data["path"] != "relay" || e.Data["protocol"] != protocol {
					t.Errorf("ice.connected says %v, want relay over %s", e.Data, protocol)
				}
			})
		}
	}
}
