package sfu

import (
	"errors"
	"time"

	"consilium/internal/media"
)

// WritePacket forwards a packet of the source.
func (d *downTrack) WritePacket(p *media.Packet) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(p.Payload) == 0 {
		d.rewrite.leaveOut(p.Sequence)
		return
	}
	if why := d.forward(p); why != dropReasons {
		d.drop(why)
	}
}

// prime starts the slot with the packets since the last keyframe, or asks for
// a keyframe where there are none.
func (d *downTrack) prime(packets []*media.Packet) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cfg.Kind == media.Audio || !d.awaitKey {
		return
	}
	d.askAfter = time.Time{}
	now := d.cfg.Transport.cfg.Now()
	if len(packets) == 0 || d.bound == nil || d.paused || !d.admitStart(packets, now) {
		d.wantKeyframe(now)
		return
	}
	d.restartLocked()
	for _, p := range packets {
		d.rewrite.leaveOutBefore(p.Sequence) // padding: the cache has all else
		if why := d.forward(p); why != dropReasons {
			d.drop(why)
		}
	}
}

func (d *downTrack) admitStart(packets []*media.Packet, now time.Time) bool {
	bytes := 0
	for _, p := range packets {
		bytes += len(p.Payload)
	}
	return d.cfg.Transport.out.admitStart(bytes, now)
}

// wantKeyframe asks for a keyframe, but not while the slot is known to be
// unable to take one: every keyframe costs all other subscribers bandwidth.
func (d *downTrack) wantKeyframe(now time.Time) {
	if d.up != nil && !d.paused && d.bound != nil && !now.Before(d.askAfter) {
		d.up.requestKeyframe()
	}
}

// sendFailed leaves the rest out until the next keyframe: the subscriber's
// picture is broken from here on.
func (d *downTrack) sendFailed(err error, now time.Time) {
	if d.cfg.Kind == media.Audio {
		return
	}
	d.awaitKey = true
	again := now.Sub(d.failedAt) < 2*keyframeSlowInterval
	d.failedAt = now
	switch {
	case errors.Is(err, errNotReady):
		d.askAfter = now.Add(keyframeMinInterval)
	case again:
		d.askAfter = now.Add(keyframeSlowInterval)
	default:
		d.wantKeyframe(now)
	}
}

// forward sends a packet, or says why not. What is left out on purpose leaves
// no hole in the sequence numbers.
func (d *downTrack) forward(p *media.Packet) dropReason {
	switch {
	case d.bound == nil:
		return dropNotBound
	case d.codec == nil:
		return dropNoCodec
	case d.paused:
		d.rewrite.skip(p.Sequence)
		return dropPaused
	}
	if d.cfg.Kind == media.Video {
		d.awaitKey = d.awaitKey || d.rewrite.breaks(p)
		if d.awaitKey && !p.Keyframe {
			d.rewrite.skip(p.Sequence)
			d.wantKeyframe(p.Arrival)
			return dropAwaitKey
		}
	}
	s := d.rewrite.forward(p)
	if s == nil {
		return dropLate
	}
	if p.Sequence == d.rewrite.highestIn {
		d.awaitKey = false
	} else if d.resends.within(uint16(p.Sequence+s.shift), p.Arrival, ringMaxAge) {
		// The subscriber asked for it between its arrival and now, and got it
		// from the cache: a number must not be sent twice.
		return dropDuplicate
	}
	if err := d.send(s, p); err != nil {
		d.sendFailed(err, p.Arrival)
		return dropSendFailed
	}
	return dropReasons
}

// send rewrites a packet and writes it.
func (d *downTrack) send(s *segment, p *media.Packet) error {
	payload := p.Payload
	if d.codec.name == media.VP8 {
		payload = d.rewrite.vp8(s, p, d.scratch)
		d.rewrite.notePicture(payload)
	}
	d.header.PayloadType = d.codec.payloadType
	s.apply(&d.header, p)
	t := d.cfg.Transport
	now := t.cfg.Now()
	number, err := t.out.send(wayOut{d.bound.writer, d.bound.number}, &d.header, payload, now, false)
	if err != nil {
		return err
	}
	d.resends.sent(d.header.SequenceNumber, number, p.Sequence != d.rewrite.highestIn, now)
	d.clock.arrived(p.Header.Timestamp, p.Arrival)
	d.packets++
	d.octets += uint32(len(payload))
	d.numbers.Packets++
	d.numbers.Bytes += uint64(len(payload))
	if !d.haveSent {
		d.haveSent = true
		d.numbers.FirstSent = now
		d.nextSR = time.Time{}
		t.nudge()
	}
	return nil
}

// WriteSenderReport takes the publisher's relation of RTP time to his clock.
func (d *downTrack) WriteSenderReport(sr media.SenderReport) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.up != nil {
		d.clock.reported(sr, &d.up.t.clock)
	}
}

// SetMuted has no effect: what comes is forwarded, and nothing comes.
func (d *downTrack) SetMuted(bool, time.Time) {}

// End empties the slot.
func (d *downTrack) End(media.EndReason, time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.up, d.codec = nil, nil
	d.restartLocked()
}
