package bot

import (
	"fmt"
	"net"
	"sync/atomic"

	"github.com/pion/transport/v5"
	"github.com/pion/transport/v5/stdnet"
)

// gate is the network a bot's media uses. Once shut, nothing leaves any more:
// closing a PeerConnection behind it sends no goodbye.
type gate struct {
	*stdnet.Net
	closed *atomic.Bool
}

func newGate() (*gate, error) {
	std, err := stdnet.NewNet()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	return &gate{Net: std, closed: &atomic.Bool{}}, nil
}

func (g *gate) shut() { g.closed.Store(true) }

// wrap puts a socket behind the gate.
func (g *gate) wrap(conn net.PacketConn) net.PacketConn {
	return gatedPacket{PacketConn: conn, shut: g.closed}
}

// ListenPacket opens a socket behind the gate.
func (g *gate) ListenPacket(network, address string) (net.PacketConn, error) {
	conn, err := g.Net.ListenPacket(network, address)
	if err != nil {
		return nil, err
	}
	return g.wrap(conn), nil
}

// ListenUDP opens a socket behind the gate.
func (g *gate) ListenUDP(network string, address *net.UDPAddr) (transport.UDPConn, error) {
	conn, err := g.Net.ListenUDP(network, address)
	if err != nil {
		return nil, err
	}
	return gatedUDP{UDPConn: conn, shut: g.closed}, nil
}

// DialTCP opens a connection behind the gate.
func (g *gate) DialTCP(network string, local, remote *net.TCPAddr) (transport.TCPConn, error) {
	conn, err := g.Net.DialTCP(network, local, remote)
	if err != nil {
		return nil, err
	}
	return gatedTCP{TCPConn: conn, shut: g.closed}, nil
}

type gatedPacket struct {
	net.PacketConn
	shut *atomic.Bool
}

func (c gatedPacket) WriteTo(p []byte, addr net.Addr) (int, error) {
	if c.shut.Load() {
		return len(p), nil
	}
	return c.PacketConn.WriteTo(p, addr)
}

type gatedUDP struct {
	transport.UDPConn
	shut *atomic.Bool
}

func (c gatedUDP) WriteTo(p []byte, addr net.Addr) (int, error) {
	if c.shut.Load() {
		return len(p), nil
	}
	return c.UDPConn.WriteTo(p, addr)
}

type gatedTCP struct {
	transport.TCPConn
	shut *atomic.Bool
}

func (c gatedTCP) Write(p []byte) (int, error) {
	if c.shut.Load() {
		return len(p), nil
	}
	return c.TCPConn.Write(p)
}
