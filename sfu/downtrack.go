package sfu

import (
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"consilium/internal/media"
)

// downConfig describes a slot of a subscriber.
type downConfig struct {
	ID, StreamID string // of the local track
	Kind         media.Kind
	MID          string // of the subscriber's m-line
	Transport    *transport
}

// downTrack is one slot of a subscriber: a local track that lives as long as
// its m-line and carries now this published track, now that one, as one RTP
// stream without seams. It is a media.Sink to the published track and a
// webrtc.TrackLocal to Pion.
//
// When it changes hands nothing is forwarded before a keyframe, and what the
// last source sent can't be asked for any more.
//
// All methods are safe for concurrent use, but assign must be called from one
// goroutine.
type downTrack struct {
	cfg downConfig

	mu         sync.Mutex
	up         *upTrack
	bound      *binding // nil while the m-line is not negotiated
	codec      *outCodec
	paused     bool
	awaitKey   bool
	askAfter   time.Time // no keyframe is asked for before
	failedAt   time.Time // when it could not be sent to last
	keyAsked   time.Time // when the subscriber asked for a keyframe last
	rewrite    rewriter
	clock      reportClock
	sent       sentReports
	resends    resender
	nextRTX    uint16     // sequence number of the next retransmission
	header     rtp.Header // reused: Pion reads it and lets it go
	repair     rtp.Header
	scratch    []byte // rewritten payloads
	rtxScratch []byte
	numbers    downStats
	nextSR     time.Time
	octets     uint32 // as sender reports count
	packets    uint32
	haveSent   bool // something of the current source
}

// downStats are the figures of a slot.
type downStats struct {
	Packets, Bytes  uint64 // sent, retransmissions not included; payload bytes
	Resent          uint64 // retransmissions
	Paused          bool
	FirstSent       time.Time // of the current source; zero: nothing yet
	LastReport      time.Time // when the subscriber last reported on it
	HighestReported uint32    // extended highest sequence number it received
	ReportedAt      time.Time // when HighestReported last moved
	FractionLost    float64   // 0 to 1, by its last report
	RTT             time.Duration
	Keyframes       uint64 // keyframe requests of the subscriber

	drops [dropReasons]uint64
}

func newDownTrack(cfg downConfig) *downTrack {
	d := &downTrack{cfg: cfg, resends: resender{size: audioRingSize}}
	rate := uint32(48000)
	if cfg.Kind == media.Video {
		rate = 90000
		d.resends.size = videoRingSize
		d.scratch = make([]byte, 0, maxPacketSize+16)
	}
	d.rewrite = newRewriter(rate, uint16(rand.Uint32()), rand.Uint32())
	d.clock.clockRate = rate
	return d
}

// assign gives the slot to a published track; nil empties it.
func (d *downTrack) assign(up *upTrack) {
	d.mu.Lock()
	old := d.up
	d.mu.Unlock()
	if old == up {
		return
	}
	if old != nil {
		old.detach(d)
	}
	d.mu.Lock()
	d.up = up
	d.restartLocked()
	d.clock = reportClock{clockRate: d.rewrite.clockRate}
	d.codec = d.bound.codecOf(up)
	d.numbers.FirstSent = time.Time{}
	d.mu.Unlock()
	if up != nil {
		up.attach(d)
	}
}

// restartLocked makes the next packet the first of a new stretch: after a
// keyframe, with numbers never used before.
func (d *downTrack) restartLocked() {
	d.rewrite.switchSource()
	d.resends.forget()
	d.awaitKey = d.cfg.Kind == media.Video
	d.haveSent = false
}

// renew is for upTrack: the source begins a new stream, with another clock.
func (d *downTrack) renew() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.restartLocked()
	d.clock = reportClock{clockRate: d.rewrite.clockRate}
}

// setPaused stops forwarding while the subscriber does not show the track.
func (d *downTrack) setPaused(paused bool) {
	d.mu.Lock()
	changed := d.paused != paused
	d.paused = paused
	d.awaitKey = d.awaitKey || changed && d.cfg.Kind == media.Video
	d.mu.Unlock()
	if changed && !paused {
		d.restart()
	}
}

// restart serves the slot from the cache, or asks for a keyframe.
func (d *downTrack) restart() {
	d.mu.Lock()
	up, wanted := d.up, d.awaitKey
	d.mu.Unlock()
	if up != nil && wanted {
		up.prime(d)
	}
}

// stats returns the figures so far.
func (d *downTrack) stats() downStats {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.numbers
	n.Paused = d.paused
	n.RTT, _ = d.cfg.Transport.rtt.value()
	return n
}

// dropped counts the packets that went no further, by reason.
func (n *downStats) dropped() map[string]uint64 {
	out := make(map[string]uint64)
	for r, count := range n.drops {
		if count > 0 {
			out[dropReason(r).String()] = count
		}
	}
	return out
}

func (d *downTrack) drop(r dropReason) {
	d.numbers.drops[r]++
	d.cfg.Transport.cfg.Drops.add(r)
}

// requestKeyframe passes the subscriber's wish on, but not each of many.
func (d *downTrack) requestKeyframe(now time.Time) {
	d.mu.Lock()
	d.numbers.Keyframes++
	if now.Sub(d.keyAsked) < keyframeAskInterval {
		d.drop(dropKeyframeLimit)
		d.mu.Unlock()
		return
	}
	d.keyAsked = now
	up, paused := d.up, d.paused
	d.mu.Unlock()
	if up != nil && !paused {
		up.requestKeyframe()
	}
}

// reported takes a report block of the subscriber about the slot.
func (d *downTrack) reported(b rtcp.ReceptionReport, at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := &d.numbers
	n.LastReport = at
	n.FractionLost = float64(b.FractionLost) / 256
	if b.LastSequenceNumber != n.HighestReported {
		n.HighestReported, n.ReportedAt = b.LastSequenceNumber, at
	}
	if rtt, ok := d.sent.roundTrip(b, at); ok {
		d.cfg.Transport.rtt.add(rtt)
	}
}

// pollReport returns a sender report when one is due soon, and when to ask
// again.
func (d *downTrack) pollReport(now time.Time) (rtcp.Packet, time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.haveSent || d.bound == nil {
		return nil, time.Time{}
	}
	if now.Add(reportSlack).Before(d.nextSR) {
		return nil, d.nextSR
	}
	d.nextSR = now.Add(senderReportInterval)
	ntp, source, ok := d.clock.now(now)
	if !ok {
		return nil, d.nextSR
	}
	timestamp, ok := d.rewrite.timestamp(source)
	if !ok {
		return nil, d.nextSR
	}
	d.sent.add(ntp, now)
	return &rtcp.SenderReport{
		SSRC: d.header.SSRC, NTPTime: ntp, RTPTime: timestamp, PacketCount: d.packets, OctetCount: d.octets,
	}, d.nextSR
}

// codecName is the part of a MIME type after the slash, lower case.
func codecName(mime string) string {
	_, name, _ := strings.Cut(mime, "/")
	return strings.ToLower(name)
}

// ID, StreamID, RID and Kind are for Pion (webrtc.TrackLocal).

// ID names the track.
func (d *downTrack) ID() string { return d.cfg.ID }

// StreamID names the stream by which browsers keep sound and picture together.
func (d *downTrack) StreamID() string { return d.cfg.StreamID }

// RID is empty: the slot is not simulcast.
func (d *downTrack) RID() string { return "" }

// Kind is audio or video.
func (d *downTrack) Kind() webrtc.RTPCodecType {
	if d.cfg.Kind == media.Audio {
		return webrtc.RTPCodecTypeAudio
	}
	return webrtc.RTPCodecTypeVideo
}
