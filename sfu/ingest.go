package sfu

import (
	"io"
	"os"
	"sync"
	"time"

	"github.com/pion/transport/v5/packetio"
)

// inbound is one decrypted packet on its way from Pion to the worker.
type inbound struct {
	pooled *pooledPacket
	rtcp   bool
	ssrc   uint32 // the stream it was delivered to
	at     time.Time
}

// inboundQueue holds what came in until the transport's worker takes it. Pion's
// SRTP and SRTCP readers write; when it is full the newest packet is dropped
// and counted: what waits is older and others depend on it.
type inboundQueue struct {
	pool  *packetPool
	drops *dropCounters
	now   func() time.Time

	mu     sync.Mutex
	queue  []inbound
	closed bool

	// ready has a token when there is something to take.
	ready chan struct{}
}

func newInboundQueue(pool *packetPool, drops *dropCounters, now func() time.Time) *inboundQueue {
	return &inboundQueue{pool: pool, drops: drops, now: now, ready: make(chan struct{}, 1)}
}

// put copies a packet into the queue. It never blocks.
func (q *inboundQueue) put(b []byte, ssrc uint32, isRTCP bool) {
	if len(b) == 0 || len(b) > maxPacketSize {
		q.drops.add(dropMalformed)
		return
	}
	at := q.now()
	p := q.pool.get(len(b))
	copy(p.buf, b)
	q.mu.Lock()
	if q.closed || len(q.queue) >= inboundDepth {
		full := !q.closed
		q.mu.Unlock()
		p.packet.Release()
		if full {
			q.drops.add(dropInboundFull)
		}
		return
	}
	q.queue = append(q.queue, inbound{pooled: p, rtcp: isRTCP, ssrc: ssrc, at: at})
	q.mu.Unlock()
	q.wake()
}

// wake makes the worker look.
func (q *inboundQueue) wake() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// take returns everything queued. The caller gives the slice it got before as
// spare, emptied, so that two slices take turns.
func (q *inboundQueue) take(spare []inbound) []inbound {
	q.mu.Lock()
	defer q.mu.Unlock()
	batch := q.queue
	q.queue = spare[:0]
	return batch
}

// close drops what is queued and everything that comes later.
func (q *inboundQueue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	for _, in := range q.queue {
		in.pooled.packet.Release()
	}
	q.queue = nil
}

// tapBuffer is what Pion takes for the buffer of one SSRC. What Pion writes
// goes to the transport's queue; nothing waits here to be read.
//
// Pion reads from it too: the first packet of a stream, to learn its payload
// type, and for an SSRC the SDP does not declare that packet and ten more, to
// learn mid and rid. Both are in the first packet or nowhere, so Read returns
// the first packet again and again, peekReads times, and then blocks until
// Close. RTCP is never read.
type tapBuffer struct {
	queue *inboundQueue
	ssrc  uint32
	rtcp  bool

	mu       sync.Mutex
	changed  *sync.Cond
	first    []byte
	reads    int
	closed   bool
	deadline time.Time
	timer    *time.Timer
}

func newTapBuffer(q *inboundQueue, kind packetio.BufferPacketType, ssrc uint32) *tapBuffer {
	b := &tapBuffer{queue: q, ssrc: ssrc, rtcp: kind == packetio.RTCPBufferPacket}
	b.changed = sync.NewCond(&b.mu)
	return b
}

// Write takes a packet from Pion. It never blocks and never fails: an error
// would end Pion's reader for the whole connection.
func (b *tapBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	closed := b.closed
	if !closed && !b.rtcp && b.first == nil && len(p) <= maxPacketSize {
		b.first = append([]byte{}, p...)
		b.changed.Broadcast()
	}
	b.mu.Unlock()
	if !closed {
		b.queue.put(p, b.ssrc, b.rtcp)
	}
	return len(p), nil
}

// Read returns the first packet of the stream, see tapBuffer. The errors are
// io.EOF after Close, os.ErrDeadlineExceeded and io.ErrShortBuffer.
func (b *tapBuffer) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		switch {
		case b.closed:
			return 0, io.EOF
		case !b.deadline.IsZero() && !time.Now().Before(b.deadline):
			return 0, os.ErrDeadlineExceeded
		case b.first != nil && b.reads < peekReads:
			if len(p) < len(b.first) {
				return 0, io.ErrShortBuffer
			}
			b.reads++
			return copy(p, b.first), nil
		}
		b.changed.Wait()
	}
}

// SetReadDeadline makes Read fail from t on; a zero t means never.
func (b *tapBuffer) SetReadDeadline(t time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.deadline = t
	if b.timer != nil {
		b.timer.Stop()
		b.timer = nil
	}
	if !t.IsZero() && !b.closed {
		b.timer = time.AfterFunc(time.Until(t), func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.changed.Broadcast()
		})
	}
	b.changed.Broadcast()
	return nil
}

// Close unblocks Read. It may be called more than once.
func (b *tapBuffer) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.first = nil
	if b.timer != nil {
		b.timer.Stop()
	}
	b.changed.Broadcast()
	return nil
}
