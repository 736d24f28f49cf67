package tunnel

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"github.com/pion/webrtc/v4"
)

const (
	// payloadMTU is the most bytes of an RTP payload: what other clients get it
	// through has 1500, less headers and a tunnel of somebody's own.
	payloadMTU = 1160
	// clockStep is how far a page's clock may be off what it was before it is
	// taken to be another one.
	clockStep = 5 * time.Second
)

// pageClock maps the clock of a page onto ours. All its m-lines share one, so
// that lips and sound stay together. Safe for concurrent use.
type pageClock struct {
	mu     sync.Mutex
	epoch  time.Time // when the page's clock was 0
	synced bool
}

// observe takes the time of a frame that has come.
func (c *pageClock) observe(at time.Duration, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	off := now.Add(-at).Sub(c.epoch)
	if !c.synced || off < -clockStep || off > clockStep {
		c.epoch, c.synced = now.Add(-at), true
	}
}

// page is the page's clock at an instant of ours.
func (c *pageClock) page(now time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return now.Sub(c.epoch)
}

// upLine is an m-line on which the peer sends what the page encoded. Safe for
// concurrent use.
type upLine struct {
	source string
	codec  Codec
	rate   uint32 // of the RTP clock, Hz
	base   uint32 // RTP timestamp at 0 of the page's clock
	track  *webrtc.TrackLocalStaticRTP
	line   *webrtc.RTPTransceiver

	mu        sync.Mutex
	payloader rtp.Payloader
	number    uint16 // of the last packet
	packets   uint32
	octets    uint32
}

// newUpLine makes the track of a source.
func newUpLine(source string) (*upLine, error) {
	u := &upLine{source: source, codec: VP8, rate: 90000, base: rand.Uint32(), number: uint16(rand.Uint32())}
	capability := webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8, ClockRate: 90000}
	u.payloader = &codecs.VP8Payloader{EnablePictureID: true}
	if kindOf(source) == webrtc.RTPCodecTypeAudio {
		u.codec, u.rate, u.payloader = Opus, 48000, &codecs.OpusPayloader{}
		capability = webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2}
	}
	var err error
	if u.track, err = webrtc.NewTrackLocalStaticRTP(capability, source, "tunnel"); err != nil {
		return nil, fmt.Errorf("make track of %s: %w", source, err)
	}
	return u, nil
}

// kindOf is the kind of media of a source, 0 if there is no such source.
func kindOf(source string) webrtc.RTPCodecType {
	switch source {
	case "mic":
		return webrtc.RTPCodecTypeAudio
	case "cam", "screen":
		return webrtc.RTPCodecTypeVideo
	}
	return 0
}

// mid is the m-line's mid as a number; false before the first offer.
func (u *upLine) mid() (uint16, bool) {
	n, err := strconv.ParseUint(u.line.Mid(), 10, 16)
	return uint16(n), err == nil
}

// send packetises a frame of the page.
func (u *upLine) send(f Frame) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	timestamp := u.timestamp(f.Time)
	parts := u.payloader.Payload(payloadMTU, f.Payload)
	for i, part := range parts {
		u.number++
		p := &rtp.Packet{
			Header:  rtp.Header{Version: 2, SequenceNumber: u.number, Timestamp: timestamp, Marker: !f.Codec.Audio() && i == len(parts)-1},
			Payload: part,
		}
		u.packets++
		u.octets += uint32(len(part))
		if err := u.track.WriteRTP(p); err != nil {
			return fmt.Errorf("send frame of %s: %w", u.source, err)
		}
	}
	return nil
}

// timestamp is the RTP timestamp at an instant of the page's clock.
func (u *upLine) timestamp(at time.Duration) uint32 {
	micros := uint64(at.Microseconds())
	seconds, rest := micros/1e6, micros%1e6
	return u.base + uint32(seconds*uint64(u.rate)) + uint32((rest*uint64(u.rate)+500_000)/1e6)
}

// report is a sender report (RFC 3550, 6.4.1): it tells how the RTP clock of
// the m-line stands to the clock that all m-lines of the page share. False
// before the first packet.
func (u *upLine) report(clock *pageClock, now time.Time) (*rtcp.SenderReport, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	encodings := u.line.Sender().GetParameters().Encodings
	if u.packets == 0 || len(encodings) == 0 {
		return nil, false
	}
	return &rtcp.SenderReport{
		SSRC: uint32(encodings[0].SSRC), NTPTime: toNTP(now), RTPTime: u.timestamp(clock.page(now)),
		PacketCount: u.packets, OctetCount: u.octets,
	}, true
}

// ntpEpoch is the Unix time of the NTP epoch, in seconds: 1900-01-01.
const ntpEpoch = -2208988800

// toNTP turns a time into the 32.32 format of NTP.
func toNTP(t time.Time) uint64 {
	return uint64(t.Unix()-ntpEpoch)<<32 | uint64(t.Nanosecond())<<32/uint64(time.Second)
}

// fromNTP turns the 32.32 format of NTP into the time since 1970.
func fromNTP(v uint64) time.Duration {
	seconds := int64(v>>32) + ntpEpoch
	return time.Duration(seconds)*time.Second + time.Duration(v&(1<<32-1)*uint64(time.Second)>>32)
}
