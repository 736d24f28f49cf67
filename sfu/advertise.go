package sfu

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// advertise writes what the outside sees of the server's addresses into an
// answer. It leaves out candidates of component 2, which Pion repeats for RTCP:
// that goes over component 1 (RFC 5761). Pion knows nothing of it: a check sent to the public address comes to
// the socket of the local one, which is its base (RFC 8445, section 5.1.1). If
// Pion had a candidate for each, it would read one socket in two goroutines,
// and packets would overtake each other.
func (n *Network) advertise(answer string) string {
	lines := slices.Collect(strings.Lines(answer))
	out := make([]string, 0, len(lines)+2*len(n.Public))
	var used []uint32 // priorities of the candidates of an m-line
	for i, l := range lines {
		if i == 0 || strings.HasPrefix(l, "m=") {
			used = priorities(lines[i:])
		}
		c, ok := parseCandidateLine(l)
		public, stands := n.public(c.address())
		switch {
		case ok && !c.rtp():
		case !ok || !stands:
			out = append(out, l)
		case n.HideLocal:
			out = append(out, c.at(public).String())
		default:
			next := c.at(public)
			next.setPriority(freePriority(c.priority(), used))
			next.distinguish()
			used = append(used, next.priority())
			out = append(out, l, next.String())
		}
	}
	return strings.Join(out, "")
}

// public returns what the outside sees of a local address, if it is another.
func (n *Network) public(local netip.Addr) (netip.Addr, bool) {
	at := slices.IndexFunc(n.Public, func(p PublicAddress) bool { return p.Local == local && p.Public != local })
	if at < 0 {
		return netip.Addr{}, false
	}
	return n.Public[at].Public, true
}

// freePriority returns the next priority below p that is not used. People in
// the server's network may have both ways, and take the one of higher priority:
// the short one. A step is one of local preference (RFC 8445, section 5.1.2.1).
func freePriority(p uint32, used []uint32) uint32 {
	const step = 1 << 8
	for p -= step; slices.Contains(used, p); p -= step {
	}
	return p
}

// priorities are those of the candidates of the m-line that lines begin with.
func priorities(lines []string) (all []uint32) {
	for i, l := range lines {
		if i > 0 && strings.HasPrefix(l, "m=") {
			break
		}
		if c, ok := parseCandidateLine(l); ok && c.rtp() {
			all = append(all, c.priority())
		}
	}
	return all
}

// candidateLine is the fields of a candidate attribute (RFC 8839, section 5.1):
// foundation, component, transport, priority, address, port, and what follows.
type candidateLine []string

const candidateFields = 6

func parseCandidateLine(l string) (candidateLine, bool) {
	rest, ok := strings.CutPrefix(strings.TrimSpace(l), "a=candidate:")
	if !ok {
		return nil, false
	}
	c := candidateLine(strings.Fields(rest))
	return c, len(c) >= candidateFields
}

func (c candidateLine) String() string { return "a=candidate:" + strings.Join(c, " ") + "\r\n" }

func (c candidateLine) rtp() bool { return c[1] == "1" }

func (c candidateLine) address() netip.Addr {
	if len(c) < candidateFields {
		return netip.Addr{}
	}
	a, err := netip.ParseAddr(c[4])
	if err != nil {
		return netip.Addr{} // a name
	}
	return a.Unmap()
}

func (c candidateLine) at(a netip.Addr) candidateLine {
	next := slices.Clone(c)
	next[4] = a.String()
	return next
}

func (c candidateLine) priority() uint32 {
	p, err := strconv.ParseUint(c[3], 10, 32)
	if err != nil {
		return 0
	}
	return uint32(p)
}

func (c candidateLine) setPriority(p uint32) { c[3] = strconv.FormatUint(uint64(p), 10) }

// distinguish gives the candidate a foundation of its own.
func (c candidateLine) distinguish() { c[0] += "p" }
