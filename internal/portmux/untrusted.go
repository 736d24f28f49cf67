package portmux

import (
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
)

// Untrusted is a TLS handshake that the client ended because of the
// certificate it was shown.
type Untrusted struct {
	From  netip.Addr
	Name  string // the host it wanted (RFC 6066, section 3); "" for an address
	Alert string // what it said, in the words of crypto/tls
}

// distrust returns what a client said that ended its handshake because of our
// certificate, and "" for other failures. The alerts are those for a bad,
// unsupported, revoked, expired and unknown certificate and an unknown authority
// (RFC 8446, section 6.2); which of them is sent differs from browser to browser.
func distrust(err error) string {
	remote, ok := errors.AsType[*net.OpError](err)
	if !ok || remote.Op != "remote error" { // what crypto/tls calls an alert that it received
		return ""
	}
	for _, alert := range []tls.AlertError{42, 43, 44, 45, 46, 48} {
		// The type of the alert itself is private to crypto/tls.
		if remote.Err.Error() == alert.Error() {
			return alert.Error()
		}
	}
	return ""
}

// handshakeFailed drops a connection, and tells of a client that does not trust
// us. Counted comes before told: who is told may look.
func (m *Mux) handshakeFailed(conn net.Conn, name string, err error) {
	alert := distrust(err)
	if alert == "" {
		m.drop(conn, dropHandshake)
		return
	}
	m.drop(conn, dropUntrusted)
	if m.cfg.Untrusted != nil {
		m.cfg.Untrusted(Untrusted{From: addrOf(conn.RemoteAddr()), Name: name, Alert: alert})
	}
}
