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

func TestNothingIsForwardedBeforeAKeyframe(t *testing.T) {
	s, w := newStage(t, media.Video), &wire{}
	d := s.subscriber(w, true)
	d.assign(s.track)
	s.frame(false, false)
	s.frame(false, false)
	if len(w.packets) != 0 {
		t.Fatal("a delta frame was forwarded")
	}
	if out, _ := s.track.poll(s.clock.at, 1); len(out) != 1 {
		t.Fatalf("one keyframe request is due, got %d", len(out))
	}
	s.frame(true, false)
	s.frame(false, false)
	if got := len(w.packets); got != 2 {
		t.Fatalf("%d packets were forwarded, want 2", got)
	}
	h := w.packets[0].Header
	if h.PayloadType != 120 || h.SSRC != 7777 || string(h.GetExtension(4)) != "5" || len(h.GetExtension(3)) != 2 {
		t.Fatalf("header is %+v", h)
	}
	if n := d.stats().Drops["await_keyframe"]; n != 2 {
		t.Fatalf("%d drops counted, want 2", n)
	}
}

func TestFirstPacketReachesASinkAttachedBefore(t *testing.T) {
	s, w := newStage(t, media.Video), &wire{}
	s.subscriber(w, true).assign(s.track)
	s.frame(true, false)
	if len(w.packets) != 1 {
		t.Fatalf("%d packets, want the first", len(w.packets))
	}
	if out, _ := s.track.poll(s.clock.at, 1); len(out) != 0 {
		t.Fatalf("a keyframe is asked for although one came: %v", out)
	}
}

func TestNewcomerStartsFromTheCache(t *testing.T) {
	s, w := newStage(t, media.Video), &wire{}
	s.frame(true, false)
	s.frame(false, false)
	s.subscriber(w, true).assign(s.track)
	if len(w.packets) != 2 {
		t.Fatalf("%d packets from the cache, want 2", len(w.packets))
	}
	s.frame(false, false)
	got := w.sequences()
	if len(got) != 3 || got[1] != got[0]+1 || got[2] != got[0]+2 {
		t.Fatalf("sequence numbers %v", got)
	}
	s.clock.at = s.clock.at.Add(2 * time.Second)
	late := &wire{}
	s.subscriber(late, true).assign(s.track)
	if out, _ := s.track.poll(s.clock.at, 1); len(late.packets) != 0 || len(out) != 1 {
		t.Fatalf("newcomer after 2 s got %d packets and %d requests, want 0 and 1", len(late.packets), len(out))
	}
}

func TestKeyframeRequestsOfManyAreOne(t *testing.T) {
	s := newStage(t, media.Video)
	s.frame(false, false)
	for range 20 {
		s.subscriber(&wire{}, true).assign(s.track)
	}
	asked := 0
	for range 40 { // one second
		s.clock.at = s.clock.at.Add(25 * time.Millisecond)
		s.track.requestKeyframe()
		out, _ := s.track.poll(s.clock.at, 1)
		asked += len(out)
	}
	if asked < 1 || asked > 2 {
		t.Fatalf("%d requests in a second, want 1 or 2", asked)
	}
}

func TestSlotThatChangesHandsForgetsTheOldSource(t *testing.T) {
	s, w := newStage(t, media.Video), &wire{}
	d := s.subscriber(w, true)
	d.assign(s.track)
	s.frame(true, false)
	s.frame(false, false)
	old := w.packets[1].SequenceNumber
	first := s.track
	s.ssrc, s.up = 2222, s.transport()
	s.publish(media.Video)
	d.assign(s.track)
	s.frame(false, false)
	d.resend([]rtcp.NackPair{{PacketID: old}}, s.clock.at)
	if len(w.packets) != 2 {
		t.Fatalf("%d packets: something of the old source or before the keyframe was sent", len(w.packets))
	}
	s.frame(true, false)
	if got := w.packets[2]; got.SequenceNumber != old+1 || got.Timestamp-w.packets[1].Timestamp < 3000 {
		t.Fatalf("new source begins at %d, %d ticks later", got.SequenceNumber, got.Timestamp-w.packets[1].Timestamp)
	}
	if len(first.sinks) != 0 {
		t.Fatal("the old source still feeds the slot")
	}
}

func TestDuplicatesAndPaddingReachNoSink(t *testing.T) {
	s, w := newStage(t, media.Video), &wire{}
	s.subscriber(w, true).assign(s.track)
	a := s.frame(true, false)
	b := s.frame(false, false)
	s.rtx(a, true)
	s.rtx(b, false)
	s.raw(rtp.Header{PayloadType: 97, SSRC: s.ssrc + 1, SequenceNumber: 9}, nil)
	s.raw(rtp.Header{PayloadType: 96, SSRC: s.ssrc, SequenceNumber: s.next, Padding: true, PaddingSize: 20}, nil)
	s.next++
	s.frame(false, false)
	got := w.sequences()
	if len(got) != 3 || got[2] != got[0]+2 {
		t.Fatalf("sequence numbers %v, want three without a hole", got)
	}
	if st := s.track.stats(); st.Duplicates != 2 || st.Lost != 0 {
		t.Fatalf("%d duplicates and %d lost counted, want 2 and 0", st.Duplicates, st.Lost)
	}
}

func TestRepairedPacketFillsItsHole(t *testing.T) {
	s, w := newStage(t, media.Video), &wire{}
	d := s.subscriber(w, true)
	d.assign(s.track)
	s.frame(true, false)
	lost := s.frame(false, true)
	s.frame(false, false)
	s.clock.at = s.clock.at.Add(nackTolerance)
	out, _ := s.track.poll(s.clock.at, 1)
	if len(out) != 1 || out[0].(*rtcp.TransportLayerNack).Nacks[0].PacketID != lost {
		t.Fatalf("asked for %v, want %d", out, lost)
	}
	s.rtx(lost, false)
	got := w.sequences()
	if len(got) != 3 || got[1] != got[0]+2 || got[2] != got[0]+1 {
		t.Fatalf("sequence numbers %v, want the repaired one in its hole", got)
	}
	d.resend([]rtcp.NackPair{{PacketID: got[2]}}, s.clock.at)
	if len(w.packets) != 3 {
		t.Fatal("a packet that was late is sent twice to who asked for it meanwhile")
	}
	if st := s.track.stats(); st.Repaired != 1 || st.NACKs != 1 {
		t.Fatalf("repaired %d, asked %d", st.Repaired, st.NACKs)
	}
}

func TestLatePacketAlreadyServedFromTheCacheIsNotSentAgain(t *testing.T) {
	s, w := newStage(t, media.Video), &wire{}
	d := s.subscriber(w, false)
	d.assign(s.track)
	s.frame(true, false)
	late := sourcePacket(s.track.cache.highest+1, 9, false, s.clock.at)
	s.frame(false, true)
	s.frame(false, false)
	// The worker has put the late packet into the cache and is about to give
	// it to the slot when the subscriber's request comes.
	s.track.cache.admit(late.Sequence)
	s.track.cache.store(late)
	d.resend([]rtcp.NackPair{{PacketID: w.packets[0].SequenceNumber + 1}}, s.clock.at)
	d.WritePacket(late)
	if got := w.sequences(); len(got) != 3 || got[2] != got[0]+1 {
		t.Fatalf("sequence numbers %v", got)
	}
}

func TestAudioStartsAtOnceAndStatesItsLevel(t *testing.T) {
	s, w := newStage(t, media.Audio), &wire{}
	s.line.AudioLevelExt = 2
	s.up.setLines([]upLine{*s.line})
	s.up.router.update(s.up.routes.Load())
	s.subscriber(w, true).assign(s.track)
	h := rtp.Header{PayloadType: 96, SSRC: s.ssrc, Timestamp: 960}
	if err := h.SetExtension(2, []byte{0x80 | 40}); err != nil {
		t.Fatal(err)
	}
	s.raw(h, []byte{0xFC, 1, 2})
	if len(w.packets) != 1 || w.packets[0].PayloadType != 111 {
		t.Fatalf("got %+v", w.packets)
	}
	if st := s.track.stats(); !st.HasLevel || st.AudioLevel != 40 || st.LastSound.IsZero() {
		t.Fatalf("level %+v", st)
	}
}

func TestEndEmptiesTheSlotAndIsTheLastCall(t *testing.T) {
	s, w := newStage(t, media.Video), &wire{}
	d := s.subscriber(w, true)
	d.assign(s.track)
	s.frame(true, false)
	s.track.end(media.EndLeft, s.clock.at)
	s.frame(false, false)
	d.requestKeyframe()
	d.resend([]rtcp.NackPair{{PacketID: w.packets[0].SequenceNumber}}, s.clock.at)
	if len(w.packets) != 1 || d.up != nil {
		t.Fatalf("%d packets after the end", len(w.packets))
	}
	if p := s.track.cache.get(s.track.cache.highest); p != nil {
		t.Fatal("the cache of an ended track holds packets")
	}
	c := newCollector()
	s.track.attach(c)
	d.assign(nil)
}

func TestConnectingServesWhatWaited(t *testing.T) {
	s, w := newStage(t, media.Video), &wire{fail: errNotReady}
	d := s.subscriber(w, true)
	d.assign(s.track)
	s.frame(true, false)
	s.frame(false, false)
	w.fail = nil
	d.cfg.Transport.connected()
	s.frame(false, false)
	if got := w.sequences(); len(got) != 3 || got[2] != got[0]+2 {
		t.Fatalf("sequence numbers %v, want keyframe and two frames", got)
	}
}

func TestSubscriberGetsWhatHeAsksForOncePerRoundTrip(t *testing.T) {
	for name, rtx := range map[string]bool{"by rtx": true, "on the media ssrc": false} {
		t.Run(name, func(t *testing.T) {
			s, w := newStage(t, media.Video), &wire{}
			d := s.subscriber(w, rtx)
			d.assign(s.track)
			s.frame(true, false)
			s.frame(false, false)
			s.frame(false, false)
			want := w.packets[1]
			for range 3 {
				d.resend([]rtcp.NackPair{{PacketID: want.SequenceNumber}}, s.clock.at)
			}
			d.resend([]rtcp.NackPair{{PacketID: want.SequenceNumber + 1000}}, s.clock.at)
			if len(w.packets) != 4 {
				t.Fatalf("%d packets, want one retransmission", len(w.packets)-3)
			}
			got := w.packets[3]
			if rtx {
				original, payload, ok := unwrapRTX(got.Payload)
				if !ok || got.SSRC != 8888 || got.PayloadType != 121 || original != want.SequenceNumber || !slices.Equal(payload, want.Payload) {
					t.Fatalf("retransmission is %+v", got)
				}
			}
			if a, b := marshalled(t, got), marshalled(t, want); !rtx && !slices.Equal(a, b) {
				t.Fatalf("repeated packet differs:\n% x\n% x", a, b)
			}
			st := d.stats()
			if st.Resent != 1 || st.Drops["resend_recent"] != 2 || st.Drops["resend_unknown"] != 1 {
				t.Fatalf("stats %+v", st)
			}
		})
	}
}

func TestStormOfNACKsIsBounded(t *testing.T) {
	s, w := newStage(t, media.Video), &wire{}
	d := s.subscriber(w, true)
	d.assign(s.track)
	s.frame(true, false)
	for range 60 {
		s.frame(false, false)
	}
	sent := len(w.packets)
	for range 1000 {
		for _, p := range w.packets[:sent] {
			d.resend([]rtcp.NackPair{{PacketID: p.SequenceNumber}}, s.clock.at)
		}
		s.clock.at = s.clock.at.Add(time.Millisecond)
	}
	if resent := len(w.packets) - sent; resent > resendBurst+resendRate {
		t.Fatalf("%d retransmissions in a second", resent)
	}
}

func TestSlowSubscriberLosesUpToTheNextKeyframe(t *testing.T) {
	s, w, healthy := newStage(t, media.Video), &wire{}, &wire{}
	d := s.subscriber(w, true)
	d.assign(s.track)
	s.subscriber(healthy, true).assign(s.track)
	s.frame(true, false)
	w.fail = errors.New("full")
	s.frame(false, false)
	w.fail = nil
	s.frame(false, false)
	if out, _ := s.track.poll(s.clock.at, 1); len(w.packets) != 1 || len(out) != 1 {
		t.Fatalf("%d packets and %d requests, want 1 and 1", len(w.packets), len(out))
	}
	s.frame(true, false)
	s.frame(false, false)
	if len(w.packets) != 3 || len(healthy.packets) != 5 {
		t.Fatalf("slow got %d, healthy %d; want 3 and 5", len(w.packets), len(healthy.packets))
	}
	if st := d.stats(); st.Drops["send_failed"] != 1 || st.Drops["await_keyframe"] != 1 {
		t.Fatalf("drops %v", st.Drops)
	}
}

func TestPausedSlotSendsNothingAndComesBackFromTheCache(t *testing.T) {
	s, w := newStage(t, media.Video), &wire{}
	d := s.subscriber(w, true)
	d.assign(s.track)
	s.frame(true, false)
	d.setPaused(true)
	s.frame(true, false)
	s.frame(false, false)
	if len(w.packets) != 1 {
		t.Fatal("a paused slot was sent to")
	}
	d.setPaused(false)
	s.frame(false, false)
	got := w.sequences()
	if len(got) != 4 || got[1] != got[0]+1 || got[3] != got[0]+3 {
		t.Fatalf("sequence numbers %v, want four without a hole", got)
	}
}

func TestBlockedTrackIsForwardedToNobody(t *testing.T) {
	s, w := newStage(t, media.Video), &wire{}
	s.subscriber(w, true).assign(s.track)
	s.frame(true, false)
	s.track.setBlocked(true)
	s.frame(true, false)
	s.frame(false, false)
	newcomer := &wire{}
	s.subscriber(newcomer, true).assign(s.track)
	if len(w.packets) != 1 || len(newcomer.packets) != 0 {
		t.Fatal("a blocked track was forwarded")
	}
	s.track.setBlocked(false)
	s.frame(false, false)
	s.frame(true, false)
	got := w.sequences()
	if len(got) != 2 || got[1] != got[0]+1 || len(newcomer.packets) != 1 {
		t.Fatalf("after unblocking %v and %d packets", got, len(newcomer.packets))
	}
}

func TestSubscriberWithoutTheCodecGetsNothing(t *testing.T) {
	s, w := newStage(t, media.Video), &wire{}
	d := newDownTrack(downConfig{Kind: media.Video, MID: "5", Transport: s.transport()})
	if _, err := d.Bind(bindContext{wire: w, only: "video/VP9"}); err != nil {
		t.Fatal(err)
	}
	d.assign(s.track)
	s.frame(true, false)
	if n := d.stats().Drops["no_codec"]; n != 1 || len(w.packets) != 0 {
		t.Fatalf("%d packets sent, %d counted", len(w.packets), n)
	}
	if _, err := d.Bind(bindContext{wire: w, only: "video/rtx"}); !errors.Is(err, webrtc.ErrUnsupportedCodec) {
		t.Fatalf("bound without a codec: %v", err)
	}
}

func TestSenderReportsFollowThePublishersClock(t *testing.T) {
	s, w := newStage(t, media.Video), &wire{}
	d := s.subscriber(w, true)
	d.assign(s.track)
	s.frame(true, false)
	sr := media.SenderReport{Arrival: s.clock.at, NTP: 0xAAAA_0000_0000_0000, RTP: s.ts - 900}
	s.up.clock.observe(sr)
	s.track.senderReport(sr)
	s.clock.at = s.clock.at.Add(time.Second)
	p, _ := d.pollReport(s.clock.at)
	got, ok := p.(*rtcp.SenderReport)
	if !ok {
		t.Fatalf("got %v", p)
	}
	// The frame was 900 ticks after the publisher's report, and a second has
	// passed: now is 89100 ticks after the frame.
	if passed := got.RTPTime - w.packets[0].Timestamp; passed != 89_100 {
		t.Fatalf("report is %d ticks after the frame, want 89100", passed)
	}
	if want := toNTP(s.clock.at); max(got.NTPTime, want)-min(got.NTPTime, want) > 1<<20 {
		t.Fatalf("report says %x, server's clock %x", got.NTPTime, want)
	}
	d.reported(rtcp.ReceptionReport{LastSenderReport: uint32(got.NTPTime >> 16), Delay: 65536 / 10, LastSequenceNumber: 5},
		s.clock.at.Add(150*time.Millisecond))
	if st := d.stats(); st.RTT.Round(time.Millisecond) != 50*time.Millisecond || st.ReportedAt.IsZero() {
		t.Fatalf("round trip %v", st.RTT)
	}
}

func TestNewSSRCTakesThePlaceOfASilentOne(t *testing.T) {
	s, w := newStage(t, media.Video), &wire{}
	s.subscriber(w, true).assign(s.track)
	s.line.MIDExt = 1
	s.up.setLines([]upLine{*s.line})
	s.up.router.update(s.up.routes.Load())
	s.frame(true, false)
	h := rtp.Header{PayloadType: 96, SSRC: 3333, SequenceNumber: 9, Timestamp: 77}
	if err := h.SetExtension(1, []byte("0")); err != nil {
		t.Fatal(err)
	}
	s.raw(h, vp8Payload(true, 1))
	if len(w.packets) != 1 {
		t.Fatal("a second SSRC was taken while the first was alive")
	}
	s.clock.at = s.clock.at.Add(2 * time.Second)
	s.raw(h, vp8Payload(true, 1))
	if got := w.sequences(); len(got) != 2 || got[1] != got[0]+1 {
		t.Fatalf("sequence numbers %v", got)
	}
}

func marshalled(t *testing.T, p rtp.Packet) []byte {
	t.Helper()
	b, err := p.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return b
}
