package sfu

import (
	"sync"

	"consilium/internal/media"
)

// packetPool hands out packets with a buffer each and takes them back when
// their last reference is released. One serves the whole server. All methods
// are safe for concurrent use.
type packetPool struct {
	small, large freeList
}

// pooledPacket is a packet with its buffer. The packet's header and payload alias buf
// while the packet is in use.
type pooledPacket struct {
	packet *media.Packet
	buf    []byte
}

// freeList keeps free packets of one size, at most poolDepth of them.
type freeList struct {
	mu   sync.Mutex
	free []*pooledPacket
}

func newPacketPool() *packetPool { return &packetPool{} }

// get returns a packet whose buffer holds n bytes, 0 <= n <= maxPacketSize. Its
// media.Packet has one reference.
func (p *packetPool) get(n int) *pooledPacket {
	if n <= smallPacketSize {
		return p.small.get(smallPacketSize, n)
	}
	return p.large.get(maxPacketSize, n)
}

func (l *freeList) get(size, n int) *pooledPacket {
	l.mu.Lock()
	if last := len(l.free) - 1; last >= 0 {
		s := l.free[last]
		l.free[last] = nil
		l.free = l.free[:last]
		l.mu.Unlock()
		s.buf = s.buf[:n]
		return s
	}
	l.mu.Unlock()
	s := &pooledPacket{buf: make([]byte, n, size)}
	s.packet = media.NewPacket(func(*media.Packet) { l.put(s) })
	return s
}

func (l *freeList) put(s *pooledPacket) {
	s.packet.Payload = nil
	s.packet.Keyframe, s.packet.Repaired, s.packet.HasLevel = false, false, false
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.free) < poolDepth {
		l.free = append(l.free, s)
	}
}
