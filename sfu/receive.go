package sfu

import (
	"time"

	"consilium/internal/codec"
	"consilium/internal/media"
)

// receive takes a packet of the track's m-line from the worker: its header is
// parsed, its payload without padding.
func (u *upTrack) receive(p *media.Packet, s stream) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if why := u.take(p, s); why != dropReasons {
		if why == dropDuplicate {
			u.numbers.Duplicates++
		}
		u.t.cfg.Drops.add(why)
	}
}

// take handles a packet; the result is dropReasons when the sinks got media.
func (u *upTrack) take(p *media.Packet, s stream) dropReason {
	if u.ended {
		return dropUnpublished
	}
	if why := u.identify(p, s); why != dropReasons {
		return why
	}
	p.Sequence = u.unwrap.Unwrap(p.Header.SequenceNumber)
	switch u.cache.admit(p.Sequence) {
	case ringDuplicate:
		return dropDuplicate
	case ringTooOld:
		return dropTooOld
	}
	u.account(p, s.line)
	if u.blocked {
		return dropBlocked
	}
	padding := len(p.Payload) == 0
	if !padding {
		u.markKeyframe(p)
		u.cache.store(p)
		u.numbers.Packets++
		u.numbers.Bytes += uint64(len(p.Payload))
	}
	for _, sink := range u.sinks {
		sink.WritePacket(p)
	}
	if padding {
		return dropPadding
	}
	return dropReasons
}

// identify checks that a packet belongs to the track's stream, and turns a
// retransmission into the packet it repeats.
func (u *upTrack) identify(p *media.Packet, s stream) dropReason {
	c, ok := s.line.Codecs[p.Header.PayloadType]
	if !ok || s.repair != (c.Name == rtxName) {
		return dropPayloadType
	}
	p.Header.Padding, p.Header.PaddingSize = false, 0
	if s.repair {
		original, payload, ok := unwrapRTX(p.Payload)
		switch {
		case !ok:
			return dropPadding
		case u.ssrc == 0:
			return dropUnknownSSRC // repeats what never came
		}
		p.Header.SequenceNumber, p.Header.SSRC, p.Header.PayloadType = original, u.ssrc, c.APT
		p.Payload, p.Repaired = payload, true
		c = s.line.Codecs[c.APT]
	}
	if c.Name != u.about.Codec {
		return dropPayloadType
	}
	if p.Header.SSRC != u.ssrc && !u.adopt(p, s.line) {
		return dropUnknownSSRC
	}
	return dropReasons
}

// adopt makes a new SSRC the track's: its first, or one that takes the place
// of another, which the SDP declares or which has fallen silent.
func (u *upTrack) adopt(p *media.Packet, line *upLine) bool {
	if u.ssrc != 0 {
		if p.Header.SSRC != line.SSRC && p.Arrival.Sub(u.numbers.LastPacket) < stalledSSRC {
			return false
		}
		u.unwrap.Restart(p.Header.SequenceNumber)
		u.cache.restart()
		u.nack.forget()
		u.received, u.report = receiveStats{}, media.SenderReport{}
		u.clockSet = false
		u.hasKey = false
		u.renew()
	}
	u.ssrc = p.Header.SSRC
	return true
}

// clockJump is by how much the sender's clock may run ahead of arrival times
// between two packets before it is taken for a new clock.
const clockJump = 5 * time.Second

// countMedia adds the time since the latest packet on the sender's clock or,
// where that was set anew, on ours.
func (u *upTrack) countMedia(p *media.Packet) {
	at := u.clock.Unwrap(p.Header.Timestamp)
	if u.clockSet && at <= u.clockAt {
		return // of the same frame, or late
	}
	step := time.Duration(at-u.clockAt) * time.Second / time.Duration(max(u.about.ClockRate, 1))
	known := u.clockSet
	u.clockAt, u.clockSet = at, true
	if u.numbers.FirstPacket.IsZero() {
		return
	}
	arrived := p.Arrival.Sub(u.numbers.LastPacket)
	if !known || step > arrived+clockJump {
		step = arrived
	}
	u.numbers.Media += step
}

// account keeps the books about a packet that is here for the first time.
func (u *upTrack) account(p *media.Packet, line *upLine) {
	u.countMedia(p)
	if u.numbers.FirstPacket.IsZero() {
		u.numbers.FirstPacket = p.Arrival
		u.t.dirty.Store(true)
	}
	u.numbers.LastPacket = p.Arrival
	if p.Repaired {
		u.numbers.Repaired++
	} else {
		u.received.packet(p.Sequence, p.Header.Timestamp, u.about.ClockRate, p.Arrival)
	}
	u.askNACK = line.NACK
	missing := len(u.nack.missing)
	if !u.nack.received(p.Sequence, p.Arrival) {
		u.requestKeyframe()
	}
	if len(u.nack.missing) > missing && u.askNACK {
		u.t.dirty.Store(true)
	}
	if u.nack.sample > 0 {
		u.nackRTT.add(u.nack.sample)
		u.nack.sample = 0
	}
	if line.AudioLevelExt == 0 {
		return
	}
	if level := p.Header.GetExtension(line.AudioLevelExt); len(level) > 0 {
		p.Level, p.HasLevel = level[0]&0x7F, true
		u.numbers.AudioLevel, u.numbers.HasLevel = p.Level, true
		if u.numbers.AudioLevel < 127 {
			u.numbers.LastSound = p.Arrival
		}
	}
}

// markKeyframe finds out whether p begins a keyframe. Of several packets that
// look like it within one frame (H.264 parameter sets and slices) the first
// counts.
func (u *upTrack) markKeyframe(p *media.Packet) {
	if u.about.Kind != media.Video || u.codecStart(p) != codec.Key {
		return
	}
	if u.hasKey && u.keyTime == p.Header.Timestamp {
		return
	}
	u.hasKey, u.keyTime = true, p.Header.Timestamp
	p.Keyframe = true
	u.numbers.Keyframes++
	u.limiter.arrived()
	u.keyframe.Store(false)
}
