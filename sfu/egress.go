package sfu

import (
	"encoding/binary"
	"errors"
	"sync"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

// errNotReady says that the transport can't send yet.
var errNotReady = errors.New("transport is not ready")

// egress is the one way out to a subscriber: here the transport-wide sequence
// number is given, at the real send, and what was sent is remembered until the
// subscriber's feedback comes. Pacing and bandwidth estimation have their
// place here. Safe for concurrent use: the workers of several publishers send.
type egress struct {
	mu      sync.Mutex
	next    uint16
	history []sentPacket // by number; made at the first send, most sessions have none
	began   time.Time    // when history was made
	told    uint16       // highest number that feedback has spoken of
	hasTold bool
	starts  bucket // bytes sent out of caches
	figures egressStats
}

// sentPacket is one packet of the send history.
type sentPacket struct {
	sequence uint16
	size     uint16
	state    sentState
	at       int64 // Unix time in nanoseconds
}

type sentState uint8

const (
	sentUnused   sentState = iota
	sentInFlight           // no feedback yet
	sentLost               // feedback says that it has not arrived
	sentArrived            // feedback says that it has
)

// fate is what is known of a packet after it was sent.
type fate uint8

const (
	fatePending fate = iota // feedback has not come so far
	fateUntold              // feedback has passed it over, or it is too long ago
	fateLost
	fateArrived
)

// egressStats are figures of a subscriber's path.
type egressStats struct {
	Packets, Bytes           uint64 // sent, retransmissions included; payload bytes
	Acknowledged, NotArrived uint64 // by transport-wide feedback
	LastFeedback             time.Time
	// Loss is the smoothed share of packets that did not arrive, 0 to 1.
	Loss float64
}

// wayOut is a packet's path to the wire.
type wayOut struct {
	writer webrtc.TrackLocalWriter
	number []byte // where the transport-wide number goes, nil for none
}

// send gives the packet its transport-wide number, or keeps the one it has
// when it is resent unchanged, and writes it. It returns that number.
func (e *egress) send(out wayOut, h *rtp.Header, payload []byte, now time.Time, keep bool) (uint16, error) {
	e.mu.Lock()
	var number uint16
	if out.number != nil {
		if keep {
			number = binary.BigEndian.Uint16(out.number)
		} else {
			number = e.next
			e.next++
			binary.BigEndian.PutUint16(out.number, number)
		}
		e.remember(sentPacket{sequence: number, size: uint16(len(payload)), state: sentInFlight, at: now.UnixNano()}, now)
	}
	e.figures.Packets++
	e.figures.Bytes += uint64(len(payload))
	e.mu.Unlock()
	n, err := out.writer.WriteRTP(h, payload)
	if err == nil && n == 0 {
		err = errNotReady
	}
	return number, err
}

// admitStart reports whether so many bytes out of a cache may be sent at once,
// and takes it that they then are.
func (e *egress) admitStart(bytes int, now time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.starts.take(float64(bytes), startBurst, startRate, now)
}

// remember puts a packet into the history. A repeated one that is so old that
// another has its place is left out.
func (e *egress) remember(p sentPacket, now time.Time) {
	if e.history == nil {
		e.history, e.began = make([]sentPacket, sendHistory), now
	}
	place := &e.history[p.sequence%sendHistory]
	if place.state == sentUnused || int16(p.sequence-place.sequence) >= 0 {
		*place = p
	}
}

// feedback takes transport-wide feedback of the subscriber.
func (e *egress) feedback(fb transportFeedback, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.figures.LastFeedback = now
	if e.history == nil {
		return
	}
	var told, missing float64
	fb.each(func(sequence uint16, received bool) {
		p := &e.history[sequence%sendHistory]
		if p.sequence != sequence || p.state == sentUnused {
			return
		}
		if !e.hasTold || int16(sequence-e.told) > 0 {
			e.told, e.hasTold = sequence, true
		}
		switch {
		case p.state == sentInFlight && received:
			p.state = sentArrived
			told++
			e.figures.Acknowledged++
		case p.state == sentInFlight:
			p.state = sentLost
			told++
			missing++
			e.figures.NotArrived++
		case p.state == sentLost && received: // it was only late
			p.state = sentArrived
			e.figures.NotArrived--
			e.figures.Acknowledged++
		}
	})
	if told > 0 {
		e.figures.Loss += (missing/told - e.figures.Loss) / 8
	}
}

// fate says what became of the packet sent last under a number.
func (e *egress) fate(number uint16) fate {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.history == nil {
		return fateUntold
	}
	p := &e.history[number%sendHistory]
	switch {
	case p.sequence != number || p.state == sentUnused:
		return fateUntold
	case p.state == sentArrived:
		return fateArrived
	case p.state == sentLost:
		return fateLost
	case e.hasTold && int16(e.told-number) > 0:
		return fateUntold
	}
	return fatePending
}

// silent reports whether the subscriber gives no feedback: none at all, or
// none for a second since an instant, in Unix nanoseconds.
func (e *egress) silent(since int64, now time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.figures.LastFeedback.IsZero() {
		return now.Sub(e.began) >= feedbackSilence
	}
	return e.figures.LastFeedback.UnixNano() < since && now.UnixNano()-since >= int64(feedbackSilence)
}

func (e *egress) stats() egressStats {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.figures
}
