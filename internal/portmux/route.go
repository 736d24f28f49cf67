package portmux

import (
	"crypto/tls"
	"net"
	"net/netip"
	"time"
)

// route finds out what conn carries and hands it over, or closes it. It takes
// no longer than the deadline.
func (m *Mux) route(conn net.Conn) {
	until := time.Now().Add(m.cfg.Deadline)
	if err := conn.SetDeadline(until); err != nil {
		_ = conn.Close()
		return
	}
	local := addrOf(conn.LocalAddr())
	outer, kind, err := peek(conn)
	if err != nil {
		m.drop(conn, dropSilent)
		return
	}
	m.stats.kinds[kind].Add(1)
	switch kind {
	case TLS:
		m.routeTLS(outer, local, until)
	case HTTP:
		if !m.cfg.HTTPAllowed(local) {
			m.drop(conn, dropHTTP)
			return
		}
		m.hand(m.http, outer, conn, until)
	case TURN, ICE:
		m.handMedia(m.mediaListener(kind), outer, conn, until)
	default:
		m.drop(conn, dropUnknown)
	}
}

// routeTLS completes the handshake and routes what is inside. There is no TLS
// within TLS, and no ICE-TCP: browsers have none.
func (m *Mux) routeTLS(outer *peeked, local netip.Addr, until time.Time) {
	conn := outer.Conn
	if m.cfg.TLS == nil {
		m.drop(conn, dropTLS)
		return
	}
	inside := tls.Server(outer, m.cfg.TLS)
	if err := inside.Handshake(); err != nil { // bounded by the deadline of conn
		m.log.Debug("TLS handshake failed", "remote", conn.RemoteAddr(), "err", err)
		m.handshakeFailed(conn, inside.ConnectionState().ServerName, err)
		return
	}
	c, kind, err := peek(inside)
	if err != nil {
		m.drop(conn, dropSilent)
		return
	}
	m.stats.inTLS[kind].Add(1)
	switch kind {
	case HTTP:
		if !m.cfg.HTTPAllowed(local) {
			m.drop(conn, dropHTTP)
			return
		}
		m.hand(m.https, &secure{peeked: c, tls: inside}, conn, until)
	case TURN:
		m.handMedia(m.turn, c, conn, until)
	default:
		m.drop(conn, dropUnknown)
	}
}

func (m *Mux) mediaListener(kind Kind) *listener {
	if kind == TURN {
		return m.turn
	}
	return m.ice
}

// handMedia hands over a TURN or ICE-TCP connection, unless its client has too
// many already.
func (m *Mux) handMedia(l *listener, c, conn net.Conn, until time.Time) {
	from := addrOf(conn.RemoteAddr())
	if !m.carried.enter(from) {
		m.stats.dropped[dropMediaCap].Add(1)
		reset(conn)
		return
	}
	prepareMedia(conn)
	timed := &timedConn{Conn: c, limit: m.cfg.WriteLimit, leave: func() { m.carried.leave(from) }}
	if !m.hand(l, timed, conn, until) {
		timed.left()
	}
}

// hand gives c, which reads and writes through conn, to whoever accepts on l.
// From then on it is no longer the Mux's to close. It reports whether c was
// handed over; else it is closed.
func (m *Mux) hand(l *listener, c, conn net.Conn, until time.Time) bool {
	m.forget(conn)
	if err := conn.SetDeadline(time.Time{}); err != nil {
		_ = conn.Close()
		return false
	}
	if !l.offer(c, until) {
		m.drop(conn, dropBusy)
		return false
	}
	return true
}

func (m *Mux) drop(conn net.Conn, why drop) {
	m.stats.dropped[why].Add(1)
	m.log.Debug("connection dropped", "remote", conn.RemoteAddr(), "reason", why)
	_ = conn.Close()
}
