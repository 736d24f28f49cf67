package probe

import (
	"slices"

	"consilium/internal/event"
)

// Status is how a check ended.
type Status string

const (
	OK      Status = "ok"
	Failed  Status = "failed"
	Skipped Status = "skipped" // there was nothing to try, or no way to try it
)

// Names of the checks, in the order in which they are shown. Those that the
// self-test of the web client has too are the same.
const (
	CheckDNS      = "dns"
	CheckPort     = "port"
	CheckProxy    = "proxy"
	CheckTLS      = "tls"
	CheckHTTP     = "http"
	CheckRedirect = "redirect"
	CheckToken    = "token"
	CheckSocket   = "socket"
	CheckClock    = "clock"
	CheckSTUN     = "stun"
	CheckUDP      = "udp"
	CheckTCP      = "tcp"
	CheckTURNUDP  = "turn_udp"
	CheckTURNTCP  = "turn_tcp"
	CheckTURNTLS  = "turn_tls"
	CheckTunnel   = "tunnel"
)

// names returns them all.
func names() []string {
	return append([]string{
		CheckDNS, CheckPort, CheckProxy, CheckTLS, CheckHTTP, CheckRedirect, CheckToken, CheckSocket, CheckClock, CheckSTUN,
	}, ways()...)
}

// ways are the paths for media; one is enough for a call.
func ways() []string {
	return []string{CheckUDP, CheckTCP, CheckTURNUDP, CheckTURNTCP, CheckTURNTLS, CheckTunnel}
}

// Check is the outcome of one step.
type Check struct {
	Name   string     `json:"name"`
	Status Status     `json:"status"`
	Code   event.Code `json:"code,omitempty"` // why it failed
	// Values are figures: ms (how long it took), days (until the certificate
	// ends), offset_ms (of this machine's clock), media_ms (from the offer to
	// the first sound and picture), packets (that came back).
	Values map[string]float64 `json:"values,omitempty"`
	// Words say what was found and, after a failure, what to do.
	Words string `json:"words"`
}

// Verdicts, as of the self-test.
const (
	Good    = "good"
	Limited = "limited" // a call works, not in the best way
	Bad     = "failed"
)

// Report is what was found.
type Report struct {
	URL     string     `json:"url"`
	Verdict string     `json:"verdict"`
	Code    event.Code `json:"code,omitempty"` // why it is not good
	Words   string     `json:"words"`
	Checks  []Check    `json:"checks"`
}

// Works reports whether a call would.
func (r Report) Works() bool { return r.Verdict != Bad }

func (r Report) check(name string) Check {
	i := slices.IndexFunc(r.Checks, func(c Check) bool { return c.Name == name })
	if i < 0 {
		return Check{Name: name, Status: Skipped}
	}
	return r.Checks[i]
}

// judge sets the verdict. The first cause on the way to the server wins.
func (r *Report) judge() {
	for _, name := range []string{CheckTLS, CheckHTTP, CheckToken, CheckSocket} {
		if c := r.check(name); c.Status == Failed {
			r.Verdict, r.Code, r.Words = Bad, c.Code, c.Words
			return
		}
	}
	working := r.working()
	switch {
	case len(working) == 0 && r.check(CheckHTTP).Status != OK: // TLS was not reached either
		c := r.check(CheckPort)
		if dns := r.check(CheckDNS); dns.Status == Failed {
			c = dns
		}
		r.Verdict, r.Code, r.Words = Bad, event.NoRoute, c.Words
	case len(working) == 0:
		r.Verdict, r.Code = Bad, r.causeOfNoWay()
		r.Words = "the page opens and no way for sound and picture works; let this machine reach the server's UDP or TCP port 443"
	case r.check(CheckUDP).Status == Failed:
		r.Verdict, r.Code = Limited, event.UDPBlocked
		r.Words = "a call works by " + inWords(working[0]) + ", with more delay: UDP to the server is blocked"
	default:
		r.Verdict, r.Words = Good, "a call works by "+inWords(working[0])
	}
}

// working returns the ways that do, the best one first.
func (r *Report) working() []string {
	return slices.DeleteFunc(ways(), func(name string) bool { return r.check(name).Status != OK })
}

// causeOfNoWay is the cause that says most: a way that came further than the
// others is nearer to being repaired.
func (r *Report) causeOfNoWay() event.Code {
	for _, code := range []event.Code{event.NoMediaIn, event.NoMediaOut, event.DTLSFailed, event.TURNAuth} {
		if slices.ContainsFunc(ways(), func(name string) bool { return r.check(name).Code == code }) {
			return code
		}
	}
	return event.NoRoute
}

func inWords(way string) string {
	switch way {
	case CheckUDP:
		return "UDP"
	case CheckTCP:
		return "TCP"
	case CheckTURNUDP:
		return "the relay over UDP"
	case CheckTURNTCP:
		return "the relay over TCP"
	case CheckTURNTLS:
		return "the relay over TLS"
	default:
		return "the WebSocket"
	}
}
