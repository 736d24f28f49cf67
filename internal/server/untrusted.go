package server

import (
	"crypto/x509"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"consilium/internal/event"
	"consilium/internal/portmux"
)

// Clients that do not trust our certificate. Anybody on the network can play
// one, so what they can write is bounded: an event a network in untrustedQuiet,
// untrustedBurst at once and then one in untrustedEvery for all together.
const (
	untrustedQuiet   = 10 * time.Minute
	untrustedEvery   = 10 * time.Second
	untrustedBurst   = 20
	untrustedClients = 1024 // remembered; of more the one seen longest ago is forgotten
	// untrustedRecent is how long a refusal explains that a client's socket
	// does not open.
	untrustedRecent = 30 * time.Second
)

// untrusted takes note of TLS handshakes that a client ended because of our
// certificate. The person sees his browser's own warning or, where the browser
// lets him pass it for the page and not for the socket, a page that never
// connects: only the server can tell why. It is safe for concurrent use.
type untrusted struct {
	events event.Sink
	leaf   func() *x509.Certificate
	log    *slog.Logger
	limit  *rate.Limiter

	mu      sync.Mutex
	clients map[netip.Addr]sighting
}

// sighting is the last refusal of a client.
type sighting struct {
	at       time.Time
	told     time.Time // when an event was last emitted
	evidence map[string]any
}

func newUntrusted(events event.Sink, leaf func() *x509.Certificate, log *slog.Logger) *untrusted {
	return &untrusted{
		events: events, leaf: leaf, log: log,
		limit: rate.NewLimiter(rate.Every(untrustedEvery), untrustedBurst), clients: map[netip.Addr]sighting{},
	}
}

// seen takes a refusal. Nobody knows who it was: the event has no participant
// and no room.
func (u *untrusted) seen(r portmux.Untrusted) {
	now := time.Now()
	client := r.From.Unmap().WithZone("")
	evidence := map[string]any{
		"alert": r.Alert, "host": r.Name, "network": networkOf(client), "certificate": describe(u.leaf()),
	}
	if !u.remember(client, now, evidence) {
		return
	}
	u.log.Warn("a client does not trust the certificate: is its chain whole, its authority installed there?",
		"alert", r.Alert, "host", r.Name, "client", client)
	u.events.Emit(event.Event{
		Type:    event.ParticipantFailed,
		Failure: event.Failure{Code: event.CertUntrusted, Stage: event.StagePage, Evidence: evidence},
		Data:    map[string]any{"via": "tls"},
	})
}

// remember notes a refusal and reports whether it is to be told.
func (u *untrusted) remember(client netip.Addr, now time.Time, evidence map[string]any) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	s, known := u.clients[client]
	if !known && len(u.clients) >= untrustedClients {
		u.forgetOldest()
	}
	tell := now.Sub(s.told) >= untrustedQuiet && u.limit.AllowN(now, 1)
	if tell {
		s.told = now
	}
	s.at, s.evidence = now, evidence
	u.clients[client] = s
	return tell
}

func (u *untrusted) forgetOldest() {
	var oldest netip.Addr
	for a, s := range u.clients {
		if !oldest.IsValid() || s.at.Before(u.clients[oldest].at) {
			oldest = a
		}
	}
	delete(u.clients, oldest)
}

// recent says how a client has refused the certificate just now; false if it
// has not.
func (u *untrusted) recent(client netip.Addr) (evidence map[string]any, ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	s, ok := u.clients[client.Unmap().WithZone("")]
	if !ok || time.Since(s.at) > untrustedRecent {
		return nil, false
	}
	return s.evidence, true
}

// networkOf is as much of an address as the journal keeps of somebody unknown.
func networkOf(a netip.Addr) string {
	bits := 24
	if a.Is6() {
		bits = 48
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return ""
	}
	return p.String()
}

// describe names the certificate that was shown.
func describe(leaf *x509.Certificate) map[string]any {
	if leaf == nil {
		return nil
	}
	return map[string]any{
		"subject": leaf.Subject.String(), "names": leaf.DNSNames, "issuer": leaf.Issuer.String(),
		"not_after": leaf.NotAfter.UTC().Format(time.RFC3339),
	}
}
