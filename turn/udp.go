package turn

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"sync"

	"golang.org/x/time/rate"
)

// udpConn is a UDP socket that does not let itself be used as a reflector:
// answers to strangers are limited per network.
type udpConn struct {
	net.PacketConn
	srv     *Server
	answers *reflection
}

// ReadFrom reads one datagram. Pion gives up a socket at the first error, so
// only the end of the socket is one.
func (u *udpConn) ReadFrom(b []byte) (int, net.Addr, error) {
	const patience = 100 // errors in a row until the socket is given up
	for failures := 0; ; failures++ {
		n, from, err := u.PacketConn.ReadFrom(b)
		switch {
		case err == nil && !intact(b[:n]):
			u.srv.stats.dropped[dropMalformed].Add(1)
			failures = -1
		case err == nil:
			u.srv.secrets.look(b[:n], from)
			return n, from, nil
		case errors.Is(err, net.ErrClosed) || failures >= patience:
			u.srv.stoppedReading(u.LocalAddr(), err)
			return n, from, err
		}
	}
}

// WriteTo sends b unless it answers a stranger too often.
func (u *udpConn) WriteTo(b []byte, to net.Addr) (int, error) {
	if answersStranger(b) && !u.answers.allow(to) {
		u.srv.stats.dropped[dropReflect].Add(1)
		return len(b), nil
	}
	if _, err := u.PacketConn.WriteTo(u.srv.bindKeys.answer(b, to), to); err != nil {
		return 0, err
	}
	return len(b), nil
}

// answersStranger reports whether b is an answer that needs no credential to
// get: a Binding success response or any error response (RFC 8489 section 5).
func answersStranger(b []byte) bool {
	if len(b) < stunHeader {
		return false
	}
	const (
		notSTUN        = 0xC000
		classMask      = 0x0110
		errorResponse  = 0x0110
		bindingSuccess = 0x0101
	)
	t := binary.BigEndian.Uint16(b)
	return t&notSTUN == 0 && (t&classMask == errorResponse || t == bindingSuccess)
}

// Answers to one network: ten a second, and a branch office at once.
const (
	answersPerSecond = 10
	answersBurst     = 100
	answerNetworks   = 4096 // remembered at a time
)

// reflection limits answers per /24 of IPv4 or /48 of IPv6.
type reflection struct {
	mu sync.Mutex
	by map[netip.Prefix]*rate.Limiter
}

func newReflection() *reflection { return &reflection{by: make(map[netip.Prefix]*rate.Limiter)} }

func (r *reflection) allow(to net.Addr) bool {
	udp, ok := to.(*net.UDPAddr)
	if !ok {
		return false
	}
	ip := udp.AddrPort().Addr().Unmap().WithZone("")
	bits := 24
	if ip.Is6() {
		bits = 48
	}
	network, err := ip.Prefix(bits)
	if err != nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.by[network]
	if l == nil {
		if len(r.by) >= answerNetworks {
			r.forgetIdle()
		}
		l = rate.NewLimiter(answersPerSecond, answersBurst)
		r.by[network] = l
	}
	return l.Allow()
}

// forgetIdle drops the networks that have been quiet; if a flood of forged
// sources leaves none quiet, all are dropped.
func (r *reflection) forgetIdle() {
	for n, l := range r.by {
		if l.Tokens() >= answersBurst {
			delete(r.by, n)
		}
	}
	if len(r.by) >= answerNetworks {
		clear(r.by)
	}
}
