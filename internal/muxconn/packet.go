package muxconn

import (
	"net/netip"
	"sync"
)

// maxDatagram is the largest datagram that passes through a virtual peer, in
// bytes. Media keeps below the path MTU of 1500; Pion's TURN server and ICE
// mux read into buffers of 1600 and 8192.
const maxDatagram = 1600

// packet is one datagram on its way between a peer and a Conn.
type packet struct {
	from  netip.AddrPort // the peer's virtual address, on the way to a Conn
	route *route         // the SFU's address it comes from, on the way to a peer
	n     int
	buf   [maxDatagram]byte
}

func (p *packet) bytes() []byte { return p.buf[:p.n] }

// packetPool recycles packets within one Group.
type packetPool struct{ pool sync.Pool }

func newPacketPool() *packetPool {
	return &packetPool{pool: sync.Pool{New: func() any { return new(packet) }}}
}

// copyOf returns a packet that holds a copy of b, which must fit.
func (pp *packetPool) copyOf(b []byte) *packet {
	p := pp.pool.Get().(*packet)
	p.n = copy(p.buf[:], b)
	return p
}

func (pp *packetPool) put(p *packet) {
	p.from, p.route, p.n = netip.AddrPort{}, nil, 0
	pp.pool.Put(p)
}
