package sfu

import (
	"errors"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"consilium/internal/media"
)

func TestNothingIsForwardedBeforeAKeyframe(t *testing.T) {
	s, w := newStage(t, media.Video), &wire{}
	d := s.subscriber(w, true)
	d.assign(s.track)
	s.frame(false, false)
	s.frame(false, false)
	if len(w.packets) != 0 {
		t.Fatal("a delta frame was forwarded")
	}
	if out, _ := s.track.poll(s.clock.at, 1, nil); len(out) != 1 {
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
	st := d.stats()
	if n := st.dropped()["await_keyframe"]; n != 2 {
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
	if out, _ := s.track.poll(s.clock.at, 1, nil); len(out) != 0 {
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
	if out, _ := s.track.poll(s.clock.at, 1, nil); len(late.packets) != 0 || len(out) != 1 {
		t.Fatalf("newcomer after 2 s got %d packets and %d requests, want 0 and 1", len(late.packets), len(out))
	}
}

func TestManyTracksAtOnceDoNotStartInOneBurst(t *testing.T) {
	s := newStage(t, media.Video)
	s.big = 40 << 10
	s.frame(true, false)
	subscriber := s.transport()
	begin := func() (started int) {
		for range 11 {
			w := &wire{}
			d := newDownTrack(downConfig{Kind: media.Video, MID: "5", Transport: subscriber})
			if _, err := d.Bind(bindContext{wire: w}); err != nil {
				t.Fatal(err)
			}
			d.assign(s.track)
			if len(w.packets) > 0 {
				started++
			}
		}
		return started
	}
	if n := begin(); n != startBurst/s.big {
		t.Fatalf("%d tracks of 40 KiB start from the cache, want %d", n, startBurst/s.big)
	}
	if out, _ := s.track.poll(s.clock.at, 1, nil); len(out) != 1 {
		t.Fatalf("the others want a keyframe: %v", out)
	}
	s.clock.at = s.clock.at.Add(time.Second)
	s.frame(true, false)
	if n := begin(); n != startBurst/s.big {
		t.Fatalf("%d tracks start a second later, want %d", n, startBurst/s.big)
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
		out, _ := s.track.poll(s.clock.at, 1, nil)
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
	d.requestKeyframe(s.clock.at)
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
	st := d.stats()
	if n := st.dropped()["no_codec"]; n != 1 || len(w.packets) != 0 {
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
