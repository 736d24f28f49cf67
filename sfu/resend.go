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

// resend answers a NACK from the cache of the published track.
func (d *downTrack) resend(nacks []rtcp.NackPair, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.mayResend() {
		return
	}
	within := true
	for _, pair := range nacks {
		pair.Range(func(sequence uint16) bool {
			if within = d.resends.asked.take(1, nackBurst, nackRate, now); !within {
				return false
			}
			if why := d.resendAsked(sequence, now); why != dropReasons {
				d.drop(why)
			}
			return true
		})
		if !within {
			d.drop(dropNACKLimit) // the rest of the NACK
			return
		}
	}
}

func (d *downTrack) mayResend() bool {
	return d.up != nil && d.bound != nil && d.codec != nil && !d.paused
}

// plain says that packets are repeated on the media SSRC: the subscriber has
// no retransmission stream.
func (d *downTrack) plain() bool { return d.codec.rtxType == 0 || d.bound.rtx == 0 }

func (d *downTrack) request(sequence uint16, now time.Time) request {
	t := d.cfg.Transport
	q := request{sequence: sequence, now: now, rtt: t.rtt.orDefault(), plain: d.plain()}
	if d.bound.number != nil {
		q.feedback = &t.out
	}
	return q
}

func (d *downTrack) resendAsked(sequence uint16, now time.Time) dropReason {
	source, s := d.rewrite.source(sequence)
	if s == nil {
		return dropResendUnkn
	}
	p := d.up.cache.get(source)
	if p == nil {
		return dropResendUnkn
	}
	defer p.Release()
	if why := d.resends.judge(d.request(sequence, now)); why != dropReasons {
		return why
	}
	return d.sendOnceMore(s, p, now)
}

// settle resends what waited for feedback that has come now.
func (d *downTrack) settle(now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.resends.waiting) == 0 || !d.mayResend() || d.bound.number == nil {
		return
	}
	var room [32]uint16
	for _, sequence := range d.resends.settle(d.request(0, now), room[:0], d.drop) {
		if why := d.resendSettled(sequence, now); why != dropReasons {
			d.drop(why)
		}
	}
}

func (d *downTrack) resendSettled(sequence uint16, now time.Time) dropReason {
	source, s := d.rewrite.source(sequence)
	if s == nil {
		return dropResendUnkn
	}
	p := d.up.cache.get(source)
	if p == nil {
		return dropResendUnkn
	}
	defer p.Release()
	return d.sendOnceMore(s, p, now)
}

// sendOnceMore repeats a packet on the stream for that.
func (d *downTrack) sendOnceMore(s *segment, p *media.Packet, now time.Time) dropReason {
	payload := p.Payload
	if d.codec.name == media.VP8 {
		payload = d.rewrite.vp8(s, p, d.scratch)
	}
	again := d.sendRTX
	if d.plain() {
		again = d.sendAgain
	}
	number, err := again(s, p, payload, now)
	if err != nil {
		return dropSendFailed
	}
	d.resends.resent(uint16(p.Sequence+s.shift), number, now)
	d.numbers.Resent++
	return dropReasons
}

// sendRTX repeats a packet on the retransmission stream (RFC 4588). It returns
// the transport-wide number of the repetition.
func (d *downTrack) sendRTX(s *segment, p *media.Packet, payload []byte, now time.Time) (uint16, error) {
	s.apply(&d.repair, p)
	d.rtxScratch = appendRTX(d.rtxScratch[:0], d.repair.SequenceNumber, payload)
	d.repair.SequenceNumber = d.nextRTX
	d.nextRTX++
	d.repair.PayloadType = d.codec.rtxType
	return d.cfg.Transport.out.send(wayOut{d.bound.writer, d.bound.number}, &d.repair, d.rtxScratch, now, false)
}

// sendAgain repeats a packet as it was, for subscribers without RTX. It
// returns its transport-wide number.
func (d *downTrack) sendAgain(s *segment, p *media.Packet, payload []byte, now time.Time) (uint16, error) {
	d.header.PayloadType = d.codec.payloadType
	s.apply(&d.header, p)
	number, known := d.resends.number(d.header.SequenceNumber)
	if d.bound.number != nil {
		if age := uint16(d.rewrite.sequence) - d.header.SequenceNumber; !known && int(age) >= d.resends.size {
			return 0, errForgotten
		}
		binary.BigEndian.PutUint16(d.bound.number, number)
	}
	return d.cfg.Transport.out.send(wayOut{d.bound.writer, d.bound.number}, &d.header, payload, now, known)
}
