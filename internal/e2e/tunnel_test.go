package e2e

import (
	"testing"
	"time"

	"consilium/internal/auth"
	"consilium/internal/browser"
	"consilium/internal/event"
)

// onlyHTTP leaves a page no way but HTTP: its PeerConnections may use nothing
// but relays, and get none.
const onlyHTTP = "none"

func TestMediaGoesThroughTheWebSocketWhereOnlyHTTPPasses(t *testing.T) {
	for _, kind := range []browser.Kind{browser.Chromium, browser.Firefox} {
		t.Run(string(kind), func(t *testing.T) {
			l := start(t, nil)
			doctor := l.enter(browser.Start(t, browser.Options{}), "room", "doctor", auth.RoleDoctor)
			patient := l.visit(browser.Start(t, browser.Options{Kind: kind}), "room", "patient", auth.RolePatient, browser.PageOptions{Relay: onlyHTTP, AllowErrors: kind == browser.Firefox})
			joined := time.Now()
			patient.join()
			patient.sees("doctor")
			patient.hears()
			doctor.sees("patient")
			doctor.hears()
			t.Logf("media both ways %v after the click", time.Since(joined))
			if e := l.waitEvent(event.ICEConnected, "patient", patience); e.Data["path"] != "websocket" || e.Data["protocol"] != "tcp" {
				t.Errorf("ice.connected says %v, want websocket over tcp", e.Data)
			}
			patient.Screenshot(screenshots(t, "tunnelled"))
		})
	}
}
