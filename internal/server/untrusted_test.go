package server

import (
	"crypto/x509"
	"log/slog"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"consilium/internal/event"
	"consilium/internal/portmux"
)

// distrusting is an untrusted whose events are collected.
func distrusting() (*untrusted, *[]event.Event) {
	var events []event.Event
	sink := event.Func(func(e event.Event) { events = append(events, e) })
	return newUntrusted(sink, func() *x509.Certificate { return nil }, slog.New(slog.DiscardHandler)), &events
}

func refusal(client string) portmux.Untrusted {
	return portmux.Untrusted{From: netip.MustParseAddr(client), Name: "video.example", Alert: "tls: unknown certificate authority"}
}

func TestARefusedCertificateIsToldOnceInAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u, events := distrusting()
		for range 5 { // a browser tries several times
			u.seen(refusal("203.0.113.7"))
		}
		u.seen(refusal("2001:db8:1:2::3"))
		if len(*events) != 2 {
			t.Fatalf("%d events of two clients, want 2", len(*events))
		}
		for i, network := range []string{"203.0.113.0/24", "2001:db8:1::/48"} {
			e := (*events)[i]
			if e.Type != event.ParticipantFailed || e.Code != event.CertUntrusted || e.Stage != event.StagePage || e.Evidence["network"] != network {
				t.Errorf("event %d is %s %s at %s, %v", i, e.Type, e.Code, e.Stage, e.Evidence)
			}
		}
		time.Sleep(untrustedQuiet)
		u.seen(refusal("203.0.113.7"))
		if len(*events) != 3 {
			t.Errorf("%d events, want a third after %v", len(*events), untrustedQuiet)
		}
	})
}

func TestStrangersCannotFloodTheJournalWithRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u, events := distrusting()
		a := netip.MustParseAddr("10.0.0.0")
		for range 10_000 {
			a = a.Next()
			u.seen(refusal(a.String()))
		}
		if len(*events) != untrustedBurst || len(u.clients) != untrustedClients {
			t.Errorf("%d events and %d clients kept of 10000, want %d and %d", len(*events), len(u.clients), untrustedBurst, untrustedClients)
		}
		if _, ok := u.recent(a); !ok {
			t.Error("the last one is not known")
		}
	})
}

func TestARefusalExplainsASocketForAShortWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u, _ := distrusting()
		u.seen(refusal("203.0.113.7"))
		evidence, ok := u.recent(netip.MustParseAddr("::ffff:203.0.113.7"))
		if !ok || evidence["alert"] != "tls: unknown certificate authority" {
			t.Errorf("%v, %v", evidence, ok)
		}
		if _, ok := u.recent(netip.MustParseAddr("203.0.113.8")); ok {
			t.Error("a neighbour is explained by it too")
		}
		time.Sleep(untrustedRecent + time.Second)
		if _, ok := u.recent(netip.MustParseAddr("203.0.113.7")); ok {
			t.Error("it explains what came much later")
		}
	})
}
