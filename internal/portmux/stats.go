package portmux

import "sync/atomic"

// drop is why a connection was closed instead of handed over.
type drop uint8

const (
	dropSilent    drop = iota // nothing to decide by within the deadline, or gone before
	dropCap                   // too many undecided connections
	dropMediaCap              // too many TURN and ICE-TCP connections
	dropUnknown               // bytes of nothing we serve
	dropHTTP                  // HTTP where it is not served
	dropTLS                   // TLS, and there is no certificate
	dropHandshake             // the TLS handshake failed
	dropUntrusted             // the client ended it because of our certificate
	dropBusy                  // nobody accepted it in time
	drops
)

func (d drop) String() string {
	return [...]string{"silent", "cap", "media_cap", "unknown", "http_not_here", "no_tls", "handshake", "untrusted", "busy"}[d]
}

type counters struct {
	kinds   [ICE + 1]atomic.Uint64
	inTLS   [ICE + 1]atomic.Uint64
	dropped [drops]atomic.Uint64
}

// Stats counts connections since the start.
type Stats struct {
	// Sniffed is how many connections of each kind there were, by label
	// (http, tls, turn, ice, unknown), and InTLS what was inside TLS.
	Sniffed, InTLS map[string]uint64
	// Dropped is how many were closed, by reason.
	Dropped map[string]uint64
}

// Stats returns the totals so far.
func (m *Mux) Stats() Stats {
	s := Stats{Sniffed: map[string]uint64{}, InTLS: map[string]uint64{}, Dropped: map[string]uint64{}}
	for _, k := range []Kind{Unknown, HTTP, TLS, TURN, ICE} {
		s.Sniffed[k.String()] = m.stats.kinds[k].Load()
		s.InTLS[k.String()] = m.stats.inTLS[k].Load()
	}
	for d := range drops {
		s.Dropped[d.String()] = m.stats.dropped[d].Load()
	}
	return s
}
