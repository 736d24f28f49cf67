package sfu

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/pion/rtcp"

	"consilium/internal/media"
)

// errForgotten says that a packet can't be repeated to the last bit.
var errForgotten = errors.New("its transport-wide number is not remembered")

// resender decides which of the packets a subscriber asks for are sent again.
// It has no clock of its own and is not safe for concurrent use. The zero
// value is ready.
type resender struct {
	done   []resentPacket // by sequence number; made at the first one
	tokens float64        // packets that may be resent at once
	filled time.Time

	// numbers are the transport-wide numbers under which packets were sent.
	// They are kept only where packets are repeated on the media SSRC: there a
	// repetition must be the same to the last bit, since SRTP would encrypt
	// two different packets with one nonce.
	numbers []sentNumber
	nextRTX uint16
}

type resentPacket struct {
	sequence uint16
	at       time.Time // zero: never
}

type sentNumber struct {
	sequence, number uint16
	valid            bool
}

// sent notes a packet sent for the first time.
func (r *resender) sent(sequence, number uint16, plain bool) {
	if !plain {
		return
	}
	if r.numbers == nil {
		r.numbers = make([]sentNumber, resendHistory)
	}
	r.numbers[sequence%resendHistory] = sentNumber{sequence, number, true}
}

// number is the transport-wide number under which a packet was sent.
func (r *resender) number(sequence uint16) (uint16, bool) {
	if r.numbers == nil {
		return 0, false
	}
	n := r.numbers[sequence%resendHistory]
	return n.number, n.valid && n.sequence == sequence
}

// allow says whether a packet may be resent now, dropReasons if so, and takes
// it that it then is.
func (r *resender) allow(sequence uint16, now time.Time, rtt time.Duration) dropReason {
	if r.within(sequence, now, max(rtt, resendMinInterval)) {
		return dropResendRecent
	}
	if r.filled.IsZero() {
		r.tokens = resendBurst
	} else {
		r.tokens = min(resendBurst, r.tokens+now.Sub(r.filled).Seconds()*resendRate)
	}
	r.filled = now
	if r.tokens < 1 {
		return dropResendLimit
	}
	r.tokens--
	r.answered(sequence, now)
	return dropReasons
}

// answered notes that a packet is on its way: resent, or late and so no more to
// be resent to whoever asked for it meanwhile.
func (r *resender) answered(sequence uint16, now time.Time) {
	if r.done == nil {
		r.done = make([]resentPacket, resendHistory)
	}
	r.done[sequence%resendHistory] = resentPacket{sequence: sequence, at: now}
}

// within reports whether a packet was answered less than d ago.
func (r *resender) within(sequence uint16, now time.Time, d time.Duration) bool {
	if r.done == nil {
		return false
	}
	e := r.done[sequence%resendHistory]
	return e.sequence == sequence && !e.at.IsZero() && now.Sub(e.at) < d
}

// forget drops what is known of the packets sent so far, not the budget.
func (r *resender) forget() {
	clear(r.done)
	clear(r.numbers)
}

// resend answers a NACK from the cache of the published track.
func (d *downTrack) resend(nacks []rtcp.NackPair, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.up == nil || d.bound == nil || d.codec == nil || d.paused {
		return
	}
	for _, pair := range nacks {
		pair.Range(func(sequence uint16) bool {
			if why := d.resendOne(sequence, now); why != dropReasons {
				d.drop(why)
			}
			return true
		})
	}
}

func (d *downTrack) resendOne(sequence uint16, now time.Time) dropReason {
	source, s := d.rewrite.source(sequence)
	if s == nil {
		return dropResendUnkn
	}
	p := d.up.cache.get(source)
	if p == nil {
		return dropResendUnkn
	}
	defer p.Release()
	t := d.cfg.Transport
	if why := d.resends.allow(sequence, now, t.rtt.orDefault()*3/4); why != dropReasons {
		return why
	}
	payload := p.Payload
	if d.codec.name == media.VP8 {
		payload = d.rewrite.vp8(s, p, d.scratch)
	}
	var err error
	if d.bound.rtx != 0 && d.codec.rtxType != 0 {
		err = d.sendRTX(s, p, payload, now)
	} else {
		err = d.sendAgain(s, p, payload, now)
	}
	if err != nil {
		return dropSendFailed
	}
	d.numbers.Resent++
	return dropReasons
}

// sendRTX repeats a packet on the retransmission stream (RFC 4588).
func (d *downTrack) sendRTX(s *segment, p *media.Packet, payload []byte, now time.Time) error {
	s.apply(&d.repair, p)
	d.rtxScratch = appendRTX(d.rtxScratch[:0], d.repair.SequenceNumber, payload)
	d.repair.SequenceNumber = d.resends.nextRTX
	d.resends.nextRTX++
	d.repair.PayloadType = d.codec.rtxType
	_, err := d.cfg.Transport.out.send(wayOut{d.bound.writer, d.bound.number}, &d.repair, d.rtxScratch, now, false)
	return err
}

// sendAgain repeats a packet as it was, for subscribers without RTX.
func (d *downTrack) sendAgain(s *segment, p *media.Packet, payload []byte, now time.Time) error {
	d.header.PayloadType = d.codec.payloadType
	s.apply(&d.header, p)
	number, known := d.resends.number(d.header.SequenceNumber)
	if d.bound.number != nil {
		if age := uint16(d.rewrite.sequence) - d.header.SequenceNumber; !known && age >= resendHistory {
			return errForgotten
		}
		binary.BigEndian.PutUint16(d.bound.number, number)
	}
	number, err := d.cfg.Transport.out.send(wayOut{d.bound.writer, d.bound.number}, &d.header, payload, now, known)
	d.resends.sent(d.header.SequenceNumber, number, true)
	return err
}
