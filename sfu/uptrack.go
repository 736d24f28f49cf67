package sfu

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"

	"consilium/internal/codec"
	"consilium/internal/media"
	"consilium/internal/seq"
)

// upTrack is the data side of a published track: what its publisher sends is
// put in order of meaning here (retransmissions unwrapped, duplicates and
// padding taken out), cached, and given to every sink.
//
// All methods are safe for concurrent use. mu is held while sinks are called,
// so that they are called one at a time and in order whoever calls: the
// transport's worker with packets, the call with mute and end. Locks are taken
// in the order upTrack, downTrack, ring.
type upTrack struct {
	t     *transport
	mid   string
	about media.Track
	cache *ring

	// keyframe is set by everybody who wants one and read by the worker.
	keyframe atomic.Bool

	mu       sync.Mutex
	sinks    []media.Sink
	muted    bool
	blocked  bool
	ended    bool
	ssrc     uint32 // 0 until the first packet
	unwrap   seq.Unwrapper16
	received receiveStats
	nack     nackGenerator
	askNACK  bool
	limiter  keyframeLimiter
	keyTime  uint32 // timestamp of the last keyframe
	clock    seq.Unwrapper32
	clockAt  int64 // the latest timestamp, unwrapped
	clockSet bool  // clockAt is of the current stream
	hasKey   bool
	report   media.SenderReport
	nackRTT  smoothedRTT
	numbers  upStats
	batch    []uint16
}

// upStats are the figures of a published track.
type upStats struct {
	FirstPacket, LastPacket, LastRTCP time.Time // zero: none yet
	// Media is the time from the first packet to the last on the sender's own
	// clock: how much there is to play. Arrival times say less, since a sender
	// or a network that was held up catches up in a burst.
	Media                       time.Duration
	Packets, Bytes              uint64 // given to sinks; payload bytes
	Lost                        uint64 // did not come at first
	Repaired                    uint64 // came as a retransmission
	Duplicates                  uint64 // RTX probes included
	NACKs                       uint64 // packets asked for, repeats included
	Keyframes, KeyframeRequests uint64
	// AudioLevel is the last level the publisher stated, in -dBov: 0 is the
	// loudest, 127 silence (RFC 6464). HasLevel says that there was one;
	// LastSound is when it was last below 127.
	AudioLevel uint8
	HasLevel   bool
	LastSound  time.Time
}

// forwarder is a sink that must know more: downTrack.
type forwarder interface {
	media.Sink
	// prime is called when it is attached, with the packets since the last
	// keyframe or none.
	prime(packets []*media.Packet)
	// renew says that the next packet begins a new stream.
	renew()
}

func newUpTrack(t *transport, mid string, about media.Track) *upTrack {
	size := videoRingSize
	if about.Kind == media.Audio {
		size = audioRingSize
	}
	return &upTrack{t: t, mid: mid, about: about, cache: newRing(size)}
}

// attach gives the track to a sink. Attached before the first packet it gets
// the first packet.
func (u *upTrack) attach(s media.Sink) {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := u.t.cfg.Now()
	if u.ended {
		s.End(media.EndUnpublished, now)
		return
	}
	u.sinks = append(u.sinks, s)
	if !u.report.Arrival.IsZero() {
		s.WriteSenderReport(u.report)
	}
	if u.muted {
		s.SetMuted(true, now)
	}
	u.primeLocked(s)
}

// prime serves a sink that is attached from the cache.
func (u *upTrack) prime(s media.Sink) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if slices.Contains(u.sinks, s) {
		u.primeLocked(s)
	}
}

func (u *upTrack) primeLocked(s media.Sink) {
	f, ok := s.(forwarder)
	if !ok || u.ssrc == 0 {
		return
	}
	if u.about.Kind == media.Audio {
		f.prime(nil)
		return
	}
	f.prime(u.cache.sinceKeyframe(u.t.cfg.Now()))
}

// detach takes the track from a sink: when it returns, no call to the sink is
// under way and none follows.
func (u *upTrack) detach(s media.Sink) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.sinks = slices.DeleteFunc(u.sinks, func(other media.Sink) bool { return other == s })
}

// requestKeyframe asks the publisher for a keyframe. Requests are merged and
// rate-limited. It takes no lock: sinks may call it at any time.
func (u *upTrack) requestKeyframe() {
	if u.about.Kind == media.Video && !u.keyframe.Swap(true) {
		u.t.nudge()
	}
}

// setMuted tells the sinks that the publisher muted the track, or unmuted it.
func (u *upTrack) setMuted(muted bool, at time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ended || u.muted == muted {
		return
	}
	u.muted = muted
	for _, s := range u.sinks {
		s.SetMuted(muted, at)
	}
}

// setBlocked stops everything from being forwarded, or lets it through again:
// somebody with the right to muted the track, whatever its publisher sends.
func (u *upTrack) setBlocked(blocked bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ended || u.blocked == blocked {
		return
	}
	u.blocked = blocked
	if blocked {
		u.cache.clear()
		return
	}
	u.renew()
}

// renew makes every subscriber start anew.
func (u *upTrack) renew() {
	for _, s := range u.sinks {
		if f, ok := s.(forwarder); ok {
			f.renew()
			if !u.report.Arrival.IsZero() {
				f.WriteSenderReport(u.report)
			}
		}
	}
}

// end ends the track: it is the last call its sinks get.
func (u *upTrack) end(reason media.EndReason, at time.Time) {
	u.t.unpublish(u)
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ended {
		return
	}
	u.ended = true
	for _, s := range u.sinks {
		s.End(reason, at)
	}
	u.sinks = nil
	u.cache.clear()
}

// stats returns the figures so far.
func (u *upTrack) stats() upStats {
	u.mu.Lock()
	defer u.mu.Unlock()
	n := u.numbers
	n.Lost = uint64(u.received.lost())
	n.NACKs = u.nack.requests
	return n
}

// rtcpSeen notes that the publisher's end speaks of the track.
func (u *upTrack) rtcpSeen(at time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.numbers.LastRTCP = at
}

// senderReport takes a sender report of the publisher.
func (u *upTrack) senderReport(sr media.SenderReport) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ended {
		return
	}
	u.numbers.LastRTCP = sr.Arrival
	u.report, u.received.report = sr, sr
	for _, s := range u.sinks {
		s.WriteSenderReport(sr)
	}
}

// poll appends to out what is to be sent to the publisher now, and returns
// when to ask again.
func (u *upTrack) poll(now time.Time, sender uint32, out []rtcp.Packet) (_ []rtcp.Packet, next time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.keyframe.Swap(false) {
		u.limiter.request()
	}
	if u.ssrc == 0 || u.ended {
		return out, time.Time{}
	}
	if u.askNACK {
		var gaveUp bool
		rtt := u.roundTrip()
		if u.batch, gaveUp = u.nack.due(now, rtt, u.batch[:0]); len(u.batch) > 0 {
			out = append(out, &rtcp.TransportLayerNack{
				SenderSSRC: sender, MediaSSRC: u.ssrc, Nacks: rtcp.NackPairsFromSequenceNumbers(u.batch),
			})
		}
		if gaveUp && u.about.Kind == media.Video {
			u.limiter.request()
		}
		next, _ = u.nack.next(rtt)
	}
	if u.limiter.due(now) {
		u.numbers.KeyframeRequests++
		out = append(out, &rtcp.PictureLossIndication{SenderSSRC: sender, MediaSSRC: u.ssrc})
	}
	if at, ok := u.limiter.next(); ok && (next.IsZero() || at.Before(next)) {
		next = at
	}
	return out, next
}

// roundTrip is the best guess of the round trip to the publisher.
func (u *upTrack) roundTrip() time.Duration {
	if v, ok := u.t.rtt.value(); ok {
		return v
	}
	return u.nackRTT.orDefault()
}

// appendBlock adds the track's report block.
func (u *upTrack) appendBlock(blocks []rtcp.ReceptionReport, now time.Time) []rtcp.ReceptionReport {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.received.received == 0 {
		return blocks
	}
	return append(blocks, u.received.block(u.ssrc, now))
}

// codecStart says what begins with a packet of the track.
func (u *upTrack) codecStart(p *media.Packet) codec.Start {
	return codec.StartOf(u.about.Codec, p.Payload)
}
