package sfu

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"

	"consilium/internal/codec"
	"consilium/internal/media"
)

// wire stands in for Pion's way out and keeps what was written.
type wire struct {
	packets []rtp.Packet
	fail    error
	count   int
	discard bool
}

func (w *wire) WriteRTP(h *rtp.Header, payload []byte) (int, error) {
	if w.fail != nil {
		return 0, w.fail
	}
	w.count++
	if !w.discard {
		w.packets = append(w.packets, rtp.Packet{Header: h.Clone(), Payload: slices.Clone(payload)})
	}
	return len(payload) + 12, nil
}

func (w *wire) Write([]byte) (int, error) { return 0, errors.New("not used") }

func (w *wire) sequences() (all []uint16) {
	for _, p := range w.packets {
		all = append(all, p.SequenceNumber)
	}
	return all
}

// bindContext is a negotiated m-line.
type bindContext struct {
	wire *wire
	rtx  webrtc.SSRC
	only string // the one video codec, all when empty
}

func (c bindContext) CodecParameters() []webrtc.RTPCodecParameters {
	var all []webrtc.RTPCodecParameters
	for _, p := range []webrtc.RTPCodecParameters{
		{RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: "video/VP9", ClockRate: 90000}, PayloadType: 98},
		{RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: "video/rtx", SDPFmtpLine: "apt=98"}, PayloadType: 99},
		{RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: "video/VP8", ClockRate: 90000}, PayloadType: 120},
		{RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: "video/rtx", SDPFmtpLine: "apt=120"}, PayloadType: 121},
		{RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: "audio/opus", ClockRate: 48000}, PayloadType: 111},
	} {
		if c.only == "" || p.MimeType == c.only {
			all = append(all, p)
		}
	}
	return all
}

func (c bindContext) HeaderExtensions() []webrtc.RTPHeaderExtensionParameter {
	return []webrtc.RTPHeaderExtensionParameter{{URI: sdp.SDESMidURI, ID: 4}, {URI: sdp.TransportCCURI, ID: 3}}
}
func (c bindContext) SSRC() webrtc.SSRC                       { return 7777 }
func (c bindContext) SSRCRetransmission() webrtc.SSRC         { return c.rtx }
func (c bindContext) SSRCForwardErrorCorrection() webrtc.SSRC { return 0 }
func (c bindContext) WriteStream() webrtc.TrackLocalWriter    { return c.wire }
func (c bindContext) ID() string                              { return "sender" }
func (c bindContext) RTCPReader() interceptor.RTCPReader      { return nil }

// fakeClock is a clock that a test moves.
type fakeClock struct{ at time.Time }

func (c *fakeClock) now() time.Time { return c.at }

// stage is a publisher and his subscribers without a network.
type stage struct {
	t     testing.TB
	clock *fakeClock
	up    *transport
	track *upTrack
	line  *upLine
	next  uint16
	rtxN  uint16
	ts    uint32
	ssrc  uint32
	big   int // bytes of a keyframe, in packets of 1 KiB; 0: one small packet
}

func newStage(t testing.TB, kind media.Kind) *stage {
	s := &stage{t: t, clock: &fakeClock{time.Unix(1_800_000_000, 0)}, ssrc: 1111}
	s.up = s.transport()
	s.publish(kind)
	return s
}

func (s *stage) transport() *transport {
	return newTransport(transportConfig{Pool: newPacketPool(), Drops: &dropCounters{}, Now: s.clock.now,
		WriteRTCP: func([]rtcp.Packet) error { return nil }})
}

func (s *stage) publish(kind media.Kind) {
	c, rate := media.VP8, uint32(90000)
	if kind == media.Audio {
		c, rate = media.Opus, 48000
	}
	s.line = &upLine{MID: "0", Kind: kind, SSRC: s.ssrc, RTXSSRC: s.ssrc + 1, NACK: true,
		Codecs: map[uint8]upCodec{96: {Name: c, ClockRate: rate}, 97: {Name: rtxName, APT: 96}}}
	s.up.setLines([]upLine{*s.line})
	s.track = s.up.publish("0", media.Track{Kind: kind, Codec: c, ClockRate: rate})
	s.up.router.update(s.up.routes.Load())
}

func (s *stage) subscriber(w *wire, rtx bool) *downTrack {
	d := newDownTrack(downConfig{ID: "v", StreamID: "seat-0", Kind: s.track.about.Kind, MID: "5", Transport: s.transport()})
	ctx := bindContext{wire: w}
	if rtx {
		ctx.rtx = 8888
	}
	if _, err := d.Bind(ctx); err != nil {
		s.t.Fatal(err)
	}
	return d
}

func vp8Payload(key bool, id uint16) []byte {
	d := codec.VP8{Start: true, HasPictureID: true, PictureID: id}
	if key {
		return append(d.AppendTo(nil), 0x00, 1, 2, 3)
	}
	return append(d.AppendTo(nil), 0x01, 1, 2, 3)
}

// raw gives the worker a whole RTP packet.
func (s *stage) raw(h rtp.Header, payload []byte) {
	h.Version = 2
	b, err := (&rtp.Packet{Header: h, Payload: payload}).Marshal()
	if err != nil {
		s.t.Fatal(err)
	}
	s.up.queue.put(b, h.SSRC, false)
	batch := s.up.queue.take(nil)
	for i := range batch {
		s.up.handle(&batch[i])
	}
}

// frame sends a one-packet frame; lost says that it does not arrive.
func (s *stage) frame(key, lost bool) uint16 {
	sequence := s.next
	s.next++
	s.ts += 3000
	s.clock.at = s.clock.at.Add(33 * time.Millisecond)
	for n := 1 << 10; key && n < s.big; n += 1 << 10 {
		payload := append(vp8Payload(key, sequence), make([]byte, 1<<10-8)...)
		if n > 1<<10 {
			payload[0] &^= 0x10 // not the frame's first packet
		}
		s.raw(rtp.Header{PayloadType: 96, SSRC: s.ssrc, SequenceNumber: s.next - 1, Timestamp: s.ts}, payload)
		s.next++
	}
	if !lost {
		s.raw(rtp.Header{PayloadType: 96, SSRC: s.ssrc, SequenceNumber: sequence, Timestamp: s.ts}, vp8Payload(key, sequence))
	}
	return sequence
}

// rtx sends a retransmission of a packet.
func (s *stage) rtx(sequence uint16, key bool) {
	s.raw(rtp.Header{PayloadType: 97, SSRC: s.ssrc + 1, SequenceNumber: s.rtxN, Timestamp: s.ts},
		appendRTX(nil, sequence, vp8Payload(key, sequence)))
	s.rtxN++
}

func marshalled(t *testing.T, p rtp.Packet) []byte {
	t.Helper()
	b, err := p.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return b
}
