package sfu

import (
	"sync"
	"time"

	"consilium/internal/media"
)

// ring is what one stream sent last: the cache from which every subscriber's
// retransmissions and every newcomer's keyframe are served, and the memory by
// which duplicates are known. It holds one reference to each packet in it.
//
// One goroutine writes; get is safe for concurrent use with it.
type ring struct {
	mu      sync.Mutex
	entries []ringEntry
	highest int64 // sequence of the newest entry, 0 when empty
	oldest  int64 // no packet is held below it
	key     int64 // sequence at which the last keyframe begins, 0 when none
	keyAt   time.Time
}

// ringEntry says that sequence was here; packet is nil when it was padding, is
// not to be forwarded, or has grown old.
type ringEntry struct {
	sequence int64
	packet   *media.Packet
}

func newRing(size int) *ring { return &ring{entries: make([]ringEntry, size)} }

func (r *ring) at(sequence int64) *ringEntry {
	return &r.entries[sequence%int64(len(r.entries))]
}

// ringVerdict says what became of a packet offered to a ring.
type ringVerdict uint8

const (
	ringNew ringVerdict = iota
	ringDuplicate
	ringTooOld
)

// admit notes that sequence has come, without a packet. The caller goes on
// only with ringNew.
func (r *ring) admit(sequence int64) ringVerdict {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.highest == 0 {
		r.highest, r.oldest = sequence, sequence
	}
	if sequence <= r.highest-int64(len(r.entries)) {
		return ringTooOld
	}
	e := r.at(sequence)
	if e.sequence == sequence {
		return ringDuplicate
	}
	if e.packet != nil {
		e.packet.Release()
	}
	*e = ringEntry{sequence: sequence}
	if sequence > r.highest {
		r.release(sequence - int64(len(r.entries)) + 1)
		r.highest = sequence
	}
	r.oldest = min(r.oldest, sequence)
	return ringNew
}

// store keeps p, whose sequence was admitted, and lets go of packets that
// arrived more than ringMaxAge before it.
func (r *ring) store(p *media.Packet) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.at(p.Sequence)
	if e.sequence != p.Sequence || e.packet != nil {
		return
	}
	p.Retain()
	e.packet = p
	if p.Keyframe && p.Sequence > r.key {
		r.key, r.keyAt = p.Sequence, p.Arrival
	}
	for r.oldest < p.Sequence {
		old := r.at(r.oldest)
		if old.sequence == r.oldest && old.packet != nil && p.Arrival.Sub(old.packet.Arrival) <= ringMaxAge {
			break
		}
		r.release(r.oldest + 1)
	}
}

// release lets go of the packets below sequence, but not of the memory that
// they were here.
func (r *ring) release(sequence int64) {
	if sequence-r.oldest > int64(len(r.entries)) {
		r.oldest = sequence - int64(len(r.entries))
	}
	for ; r.oldest < sequence; r.oldest++ {
		e := r.at(r.oldest)
		if e.sequence < sequence && e.packet != nil {
			e.packet.Release()
			e.packet = nil
		}
	}
}

// get returns the packet with the given sequence, which the caller must
// Release, or nil.
func (r *ring) get(sequence int64) *media.Packet {
	if sequence <= 0 {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.at(sequence)
	if e.sequence != sequence || e.packet == nil {
		return nil
	}
	e.packet.Retain()
	return e.packet
}

// sinceKeyframe returns the packets from the last keyframe to the newest, in
// order, for a newcomer to start with; nil when they are too old, too many, or
// not complete. The packets are valid as long as the writing goroutine waits.
func (r *ring) sinceKeyframe(now time.Time) []*media.Packet {
	r.mu.Lock()
	defer r.mu.Unlock()
	count := r.highest - r.key + 1
	if r.key == 0 || now.Sub(r.keyAt) > primeMaxAge || count > primeMaxCount {
		return nil
	}
	packets, bytes := make([]*media.Packet, 0, count), 0
	for s := r.key; s <= r.highest; s++ {
		e := r.at(s)
		if e.sequence != s {
			return nil // lost so far
		}
		if e.packet == nil {
			continue // padding
		}
		if bytes += len(e.packet.Payload); bytes > primeMaxBytes {
			return nil
		}
		packets = append(packets, e.packet)
	}
	return packets
}

// clear lets go of every packet and of the keyframe.
func (r *ring) clear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.release(r.highest + 1)
	r.key = 0
}

// restart forgets everything: the stream goes on with other numbers.
func (r *ring) restart() {
	r.clear()
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.entries)
	r.highest, r.oldest = 0, 0
}
