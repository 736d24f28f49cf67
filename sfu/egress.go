package sfu

import (
	"encoding/binary"
	"errors"
	"sync"
	"time"

	"github.com/pion/rtcp"
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
	sentReported           // feedback has spoken of it
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
		if e.history == nil {
			e.history = make([]sentPacket, sendHistory)
		}
		e.history[number%sendHistory] = sentPacket{sequence: number, size: uint16(len(payload)), state: sentInFlight, at: now.UnixNano()}
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

// feedback takes transport-wide feedback of the subscriber.
func (e *egress) feedback(fb *rtcp.TransportLayerCC, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.figures.LastFeedback = now
	if e.history == nil {
		return
	}
	var told, missing float64
	forEachStatus(fb, func(sequence uint16, received bool) bool {
		p := &e.history[sequence%sendHistory]
		if p.sequence != sequence || p.state != sentInFlight {
			return true
		}
		p.state = sentReported
		told++
		if received {
			e.figures.Acknowledged++
		} else {
			missing++
			e.figures.NotArrived++
		}
		return true
	})
	if told > 0 {
		e.figures.Loss += (missing/told - e.figures.Loss) / 8
	}
}

func (e *egress) stats() egressStats {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.figures
}
