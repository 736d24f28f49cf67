package sfu

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"consilium/internal/media"
)

func TestDuplicatesReachNoSinkAndPaddingNoSubscriber(t *testing.T) {
	s, w := newStage(t, media.Video), &wire{}
	s.subscriber(w, true).assign(s.track)
	var seen sequences
	s.track.attach(&seen)
	a := s.frame(true, false)
	b := s.frame(false, false)
	s.rtx(a, true)
	s.rtx(b, false)
	s.raw(rtp.Header{PayloadType: 97, SSRC: s.ssrc + 1, SequenceNumber: 9}, nil)
	s.raw(rtp.Header{PayloadType: 96, SSRC: s.ssrc, SequenceNumber: s.next, Padding: true, PaddingSize: 20}, nil)
	s.next++
	s.frame(false, false)
	if want := []int{8, 8, 0, 8}; !slices.Equal(seen.sizes, want) || !seen.whole() {
		t.Fatalf("a sink got payloads of %v bytes, want %v without a hole in their numbers", seen.sizes, want)
	}
	newcomer := &wire{}
	s.subscriber(newcomer, true).assign(s.track)
	if got := newcomer.sequences(); len(got) != 3 || got[2] != got[0]+2 {
		t.Fatalf("a newcomer begins with %v, want three without a hole", got)
	}
	got := w.sequences()
	if len(got) != 3 || got[2] != got[0]+2 {
		t.Fatalf("sequence numbers %v, want three without a hole", got)
	}
	if st := s.track.stats(); st.Duplicates != 2 || st.Lost != 0 {
		t.Fatalf("%d duplicates and %d lost counted, want 2 and 0", st.Duplicates, st.Lost)
	}
}

// sequences is a sink that keeps numbers and sizes.
type sequences struct {
	numbers []int64
	sizes   []int
}

func (s *sequences) WritePacket(p *media.Packet) {
	s.numbers = append(s.numbers, p.Sequence)
	s.sizes = append(s.sizes, len(p.Payload))
}
func (s *sequences) WriteSenderReport(media.SenderReport) {}
func (s *sequences) SetMuted(bool, time.Time)             {}
func (s *sequences) End(media.EndReason, time.Time)       {}

// whole reports whether the numbers follow each other.
func (s *sequences) whole() bool {
	for i, n := range s.numbers {
		if n != s.numbers[0]+int64(i) {
			return false
		}
	}
	return true
}

func TestManyPaddingPacketsLeaveOldPacketsToBeAskedFor(t *testing.T) {
	s, w := newStage(t, media.Video), &wire{}
	d := s.subscriber(w, true)
	d.assign(s.track)
	s.frame(true, false)
	s.frame(false, false)
	for range 3 * segmentHistory {
		s.raw(rtp.Header{PayloadType: 96, SSRC: s.ssrc, SequenceNumber: s.next, Padding: true, PaddingSize: 20}, nil)
		s.next++
	}
	s.frame(false, false)
	got := w.sequences()
	d.resend([]rtcp.NackPair{{PacketID: got[1]}}, s.clock.at)
	if len(w.packets) != 4 || got[2] != got[1]+1 {
		t.Fatalf("sequence numbers %v, %d packets with the one asked for", got, len(w.packets))
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
	out, _ := s.track.poll(s.clock.at, 1, nil)
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
			if st.Resent != 1 || st.dropped()["resend_recent"]+st.dropped()["resend_waiting"] != 2 || st.dropped()["resend_unknown"] != 1 {
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
	if out, _ := s.track.poll(s.clock.at, 1, nil); len(w.packets) != 1 || len(out) != 1 {
		t.Fatalf("%d packets and %d requests, want 1 and 1", len(w.packets), len(out))
	}
	s.frame(true, false)
	s.frame(false, false)
	if len(w.packets) != 3 || len(healthy.packets) != 5 {
		t.Fatalf("slow got %d, healthy %d; want 3 and 5", len(w.packets), len(healthy.packets))
	}
	if st := d.stats(); st.dropped()["send_failed"] != 1 || st.dropped()["await_keyframe"] != 1 {
		t.Fatalf("drops %v", st.dropped())
	}
}

func TestSubscriberWhoNeverKeepsUpCostsFewKeyframes(t *testing.T) {
	s, w := newStage(t, media.Video), &wire{fail: errors.New("full")}
	s.subscriber(w, true).assign(s.track)
	asked, key := 0, true
	for range 300 { // ten seconds, a keyframe for every request
		s.frame(key, false)
		out, _ := s.track.poll(s.clock.at, 1, nil)
		key = len(out) > 0
		asked += len(out)
	}
	if asked < 2 || asked > 6 {
		t.Fatalf("%d keyframes were asked for in 10 s", asked)
	}
}
