package netlab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/pion/stun/v4"
)

const (
	probeTries = 3
	probeWait  = 300 * time.Millisecond
)

// NATBehavior is what probing a router found (RFC 5780 in spirit: one socket
// asks several addresses as whom they see it, and strangers try to answer).
type NATBehavior struct {
	Mapped             []netip.AddrPort // as seen by three destinations
	Mapping, Filtering Behavior         // "" where nothing is translated
}

// ProbeNAT finds out how the lab's router treats UDP over IPv4.
func (l *Lab) ProbeNAT() (b NATBehavior, err error) {
	servers, err := l.probeServers()
	if err != nil {
		return b, err
	}
	defer func() {
		for _, s := range servers {
			err = errors.Join(err, s.Close())
		}
	}()
	client, err := l.Client.ListenPacket("udp4", "0.0.0.0:0")
	if err != nil {
		return b, err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	for i := range 3 {
		mapped, err := askMapped(client, servers[i])
		if err != nil {
			return b, fmt.Errorf("ask %s: %w", servers[i].LocalAddr(), err)
		}
		b.Mapped = append(b.Mapped, mapped)
	}
	if b.Mapped[0].Addr() == netip.MustParseAddr(ClientIPv4) {
		return b, nil
	}
	b.Mapping = mappingOf(b.Mapped)
	b.Filtering, err = l.probeFiltering(servers)
	return b, err
}

// probeServers opens sockets of the server: two ports of one address, one of
// another, and two that the client never contacts.
func (l *Lab) probeServers() ([]net.PacketConn, error) {
	var all []net.PacketConn
	for _, a := range []string{ServerIPv4, ServerIPv4, SecondIPv4, ServerIPv4, SecondIPv4} {
		conn, err := l.Server.ListenPacket("udp4", a+":0")
		if err != nil {
			for _, c := range all {
				_ = c.Close() // the first error is the one to report
			}
			return nil, err
		}
		all = append(all, conn)
	}
	return all, nil
}

// mappingOf judges by the addresses that (A, 1), (A, 2) and (B, 1) have seen.
func mappingOf(seen []netip.AddrPort) Behavior {
	switch {
	case seen[0] == seen[1] && seen[0] == seen[2]:
		return EndpointIndependent
	case seen[0] == seen[1]:
		return AddressDependent
	}
	return PortDependent
}

// probeFiltering contacts one server and lets others answer: another port of
// its address, and another address.
func (l *Lab) probeFiltering(servers []net.PacketConn) (b Behavior, err error) {
	client, err := l.Client.ListenPacket("udp4", "0.0.0.0:0")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	// The stranger comes first: an address that was contacted for other
	// reasons is no stranger.
	mapped, err := askMapped(client, servers[0])
	if err != nil {
		return "", err
	}
	samePort, err := reaches(servers[3], mapped, client)
	if err != nil {
		return "", err
	}
	if !samePort {
		return PortDependent, nil
	}
	fresh, err := l.Edge.ListenPacket("udp4", "198.51.100.2:0")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, fresh.Close()) }()
	stranger, err := reaches(fresh, mapped, client)
	if err != nil {
		return "", err
	}
	if stranger {
		return EndpointIndependent, nil
	}
	return AddressDependent, nil
}

// askMapped lets the client ask a server by STUN as whom it sees him.
func askMapped(client, server net.PacketConn) (netip.AddrPort, error) {
	request, err := stun.Build(stun.TransactionID, stun.BindingRequest)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("build request: %w", err)
	}
	buf := make([]byte, 1500)
	for range probeTries {
		if _, err := client.WriteTo(request.Raw, server.LocalAddr()); err != nil {
			return netip.AddrPort{}, fmt.Errorf("send request: %w", err)
		}
		if err := server.SetReadDeadline(time.Now().Add(probeWait)); err != nil {
			return netip.AddrPort{}, fmt.Errorf("set deadline: %w", err)
		}
		_, from, err := server.ReadFrom(buf)
		if err != nil {
			continue // lost
		}
		answer, err := stun.Build(stun.NewTransactionIDSetter(request.TransactionID), stun.BindingSuccess,
			&stun.XORMappedAddress{IP: from.(*net.UDPAddr).IP, Port: from.(*net.UDPAddr).Port})
		if err != nil {
			return netip.AddrPort{}, fmt.Errorf("build answer: %w", err)
		}
		if _, err := server.WriteTo(answer.Raw, from); err != nil {
			return netip.AddrPort{}, fmt.Errorf("answer: %w", err)
		}
		return readMapped(client, buf)
	}
	return netip.AddrPort{}, errors.New("no request arrives")
}

func readMapped(client net.PacketConn, buf []byte) (netip.AddrPort, error) {
	if err := client.SetReadDeadline(time.Now().Add(probeTries * probeWait)); err != nil {
		return netip.AddrPort{}, fmt.Errorf("set deadline: %w", err)
	}
	n, _, err := client.ReadFrom(buf)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("wait for the answer: %w", err)
	}
	m := &stun.Message{Raw: buf[:n]}
	var mapped stun.XORMappedAddress
	if err := m.Decode(); err != nil {
		return netip.AddrPort{}, fmt.Errorf("decode answer: %w", err)
	}
	if err := mapped.GetFrom(m); err != nil {
		return netip.AddrPort{}, fmt.Errorf("decode answer: %w", err)
	}
	a, _ := netip.AddrFromSlice(mapped.IP)
	return netip.AddrPortFrom(a.Unmap(), uint16(mapped.Port)), nil
}

// reaches reports whether what a socket sends to a mapped address arrives at
// the client.
func reaches(from net.PacketConn, mapped netip.AddrPort, client net.PacketConn) (bool, error) {
	buf := make([]byte, 1500)
	for range probeTries {
		if _, err := from.WriteTo([]byte("unsolicited"), net.UDPAddrFromAddrPort(mapped)); err != nil {
			return false, fmt.Errorf("send: %w", err)
		}
		if err := client.SetReadDeadline(time.Now().Add(probeWait)); err != nil {
			return false, fmt.Errorf("set deadline: %w", err)
		}
		if n, _, err := client.ReadFrom(buf); err == nil && string(buf[:n]) == "unsolicited" {
			return true, nil
		}
	}
	return false, nil
}
