package muxconn

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// peerQueue is how many datagrams may wait for a peer's reader: about half a
// second of a full grid of video. More are dropped and counted.
const peerQueue = 512

// Peer is a virtual peer: a net.PacketConn with an address that exists in this
// process only. Addresses in and out are *net.UDPAddr. Deadlines are not
// supported. One goroutine may read; any number may write.
type Peer struct {
	group *Group
	addr  netip.AddrPort
	local *net.UDPAddr

	// in is written by whoever sends through a Conn and read by the peer's
	// owner.
	in chan *packet
	// via holds, per Conn of the group, the address the peer last wrote to,
	// so that answers come from where the peer expects them.
	via []atomic.Pointer[route]

	closed    chan struct{}
	closeOnce sync.Once
}

func newPeer(g *Group, addr netip.AddrPort) *Peer {
	return &Peer{
		group:  g,
		addr:   addr,
		local:  net.UDPAddrFromAddrPort(addr),
		in:     make(chan *packet, peerQueue),
		via:    make([]atomic.Pointer[route], len(g.conns)),
		closed: make(chan struct{}),
	}
}

// WriteTo hands b to the SFU if to is one of its media addresses of the peer's
// family. Anything else is dropped and counted: it is not an error, for a
// sender to the real network would not learn of it either.
func (p *Peer) WriteTo(b []byte, to net.Addr) (int, error) {
	select {
	case <-p.closed:
		return 0, net.ErrClosed
	default:
	}
	udp, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, fmt.Errorf("write to %s: not a UDP address", to)
	}
	r := p.group.routes[unmap(udp.AddrPort())]
	if r == nil || r.addr.Addr().Is4() != p.addr.Addr().Is4() {
		p.group.stats.notSFU.Add(1)
		return len(b), nil
	}
	if len(b) > maxDatagram {
		p.group.stats.oversized.Add(1)
		return len(b), nil
	}
	if p.via[r.conn.index].Load() != r {
		p.via[r.conn.index].Store(r)
	}
	r.conn.fromPeer(b, p.addr)
	return len(b), nil
}

// deliver queues b, sent through c, for the peer's reader.
func (p *Peer) deliver(b []byte, c *Conn) {
	r := p.via[c.index].Load()
	if r == nil {
		c.stats.unknown.Add(1)
		return
	}
	if len(b) > maxDatagram {
		c.stats.oversized.Add(1)
		return
	}
	pkt := p.group.packets.copyOf(b)
	pkt.route = r
	select {
	case p.in <- pkt:
		c.stats.relayOut.Add(1)
	default:
		c.stats.outFull.Add(1)
		p.group.packets.put(pkt)
	}
}

// ReadFrom reads a datagram of the SFU. The address is shared and must not be
// changed.
func (p *Peer) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case <-p.closed:
		return 0, nil, net.ErrClosed
	default:
	}
	select {
	case <-p.closed:
		return 0, nil, net.ErrClosed
	case pkt := <-p.in:
		n, from := copy(b, pkt.bytes()), pkt.route.udp
		p.group.packets.put(pkt)
		return n, from, nil
	}
}

// LocalAddr returns the virtual address, a *net.UDPAddr.
func (p *Peer) LocalAddr() net.Addr { return p.local }

// Close ends the peer and a pending read. Its address no longer leads
// anywhere.
func (p *Peer) Close() error {
	p.closeOnce.Do(func() {
		p.group.remove(p)
		close(p.closed)
	})
	return nil
}

// SetDeadline implements net.PacketConn; it returns os.ErrNoDeadline.
func (p *Peer) SetDeadline(time.Time) error { return os.ErrNoDeadline }

// SetReadDeadline implements net.PacketConn; it returns os.ErrNoDeadline.
func (p *Peer) SetReadDeadline(time.Time) error { return os.ErrNoDeadline }

// SetWriteDeadline implements net.PacketConn; it returns os.ErrNoDeadline.
func (p *Peer) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }
