package sfu

import (
	"slices"
	"testing"

	"github.com/pion/rtcp"

	"consilium/internal/media"
)

func TestControlPacketsAllocateNothing(t *testing.T) {
	for name := range newListener(t).controlMessages() {
		t.Run(name, func(t *testing.T) {
			l := newListener(t)
			to := l.down.cfg.Transport
			one := l.says(l.controlMessages()[name]...)
			for range 3 {
				one() // fills the pool and what is reused
			}
			if n := testing.AllocsPerRun(200, one); n != 0 {
				t.Errorf("%.2f allocations for a packet, want 0", n)
			}
			if drops := to.cfg.Drops.snapshot(); drops["malformed"]+drops["rtcp_limit"] > 0 {
				t.Errorf("it was not taken in: dropped %v", drops)
			}
		})
	}
}

func TestEveryPartOfACompoundPacketIsHeeded(t *testing.T) {
	s, w := newStage(t, media.Video), &wire{}
	d := s.subscriber(w, true)
	d.assign(s.track)
	s.frame(true, false)
	for range 9 {
		s.frame(false, false)
	}
	sent := w.packets
	nack := &rtcp.TransportLayerNack{MediaSSRC: 7777, Nacks: []rtcp.NackPair{
		{PacketID: sent[2].SequenceNumber, LostPackets: 0b101}, {PacketID: sent[8].SequenceNumber}}}
	control(t, d.cfg.Transport, 7777,
		&rtcp.ReceiverReport{Reports: []rtcp.ReceptionReport{{SSRC: 9, FractionLost: 1}, {SSRC: 7777, FractionLost: 64, LastSequenceNumber: 77}}},
		&rtcp.ReceiverEstimatedMaximumBitrate{Bitrate: 1e6, SSRCs: []uint32{7777}}, // not ours to heed
		nack,
		&rtcp.PictureLossIndication{MediaSSRC: 7777},
		&rtcp.FullIntraRequest{FIR: []rtcp.FIREntry{{SSRC: 9}, {SSRC: 7777}}},
		feedbackMessage())
	st := d.stats()
	if st.FractionLost != 0.25 || st.HighestReported != 77 {
		t.Errorf("the report block says %+v", st)
	}
	var again []uint16
	for _, p := range w.packets[len(sent):] {
		again = append(again, uint16(p.Payload[0])<<8|uint16(p.Payload[1]))
	}
	want := []uint16{sent[2].SequenceNumber, sent[3].SequenceNumber, sent[5].SequenceNumber, sent[8].SequenceNumber}
	if !slices.Equal(again, want) {
		t.Errorf("resent %v, want %v", again, want)
	}
	if st.Keyframes != 2 {
		t.Errorf("%d keyframe requests, want a PLI and a FIR", st.Keyframes)
	}
	if d.cfg.Transport.out.stats().LastFeedback.IsZero() {
		t.Error("feedback was not heeded")
	}
	if drops := d.cfg.Transport.cfg.Drops.snapshot(); drops["malformed"] > 0 {
		t.Errorf("dropped %v", drops)
	}
}

func TestControlAboutAnotherStreamIsNotHeeded(t *testing.T) {
	s, w := newStage(t, media.Video), &wire{}
	d := s.subscriber(w, true)
	d.assign(s.track)
	last := s.frame(true, false)
	control(t, d.cfg.Transport, 7777,
		&rtcp.ReceiverReport{Reports: []rtcp.ReceptionReport{{SSRC: 9, FractionLost: 64}}},
		&rtcp.TransportLayerNack{MediaSSRC: 9, Nacks: []rtcp.NackPair{{PacketID: last}}},
		&rtcp.PictureLossIndication{MediaSSRC: 9},
		&rtcp.FullIntraRequest{MediaSSRC: 7777, FIR: []rtcp.FIREntry{{SSRC: 9}}})
	if st := d.stats(); st.Keyframes != 0 || st.FractionLost != 0 || len(w.packets) != 1 {
		t.Errorf("%+v, %d packets", st, len(w.packets))
	}
}

func TestMalformedControlIsCountedAndLeft(t *testing.T) {
	pli := []byte{0x81, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0x1E, 0x61}
	for name, bad := range map[string][]byte{
		"another version":               {0x01, 201, 0, 1, 0, 0, 0, 1},
		"longer than it is":             {0x80, 201, 0, 9, 0, 0, 0, 1},
		"half a header":                 {0x80, 201},
		"more padding than packet":      {0xA0, 201, 0, 1, 0, 0, 0, 9},
		"padding of nothing":            {0xA0, 201, 0, 1, 0, 0, 0, 0},
		"sender report without numbers": {0x80, 200, 0, 1, 0, 0, 0, 1},
		"fewer report blocks than said": {0x82, 201, 0, 7, 0, 0, 0, 1, 0, 0, 0, 9, 28: 0, 31: 0},
		"NACK of nobody":                {0x81, 205, 0, 1, 0, 0, 0, 1},
		"PLI of nobody":                 {0x81, 206, 0, 1, 0, 0, 0, 1},
		"feedback without statuses":     {0x8F, 205, 0, 4, 0, 0, 0, 1, 0, 0, 0x1E, 0x61, 0, 0, 0, 9, 0, 0, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s, w := newStage(t, media.Video), &wire{}
			d := s.subscriber(w, true)
			d.assign(s.track)
			to := d.cfg.Transport
			to.queue.put(append(slices.Clone(bad), pli...), 7777, true)
			for _, in := range to.queue.take(nil) {
				to.handle(&in)
			}
			if n := to.cfg.Drops.snapshot()["malformed"]; n != 1 || d.stats().Keyframes != 0 {
				t.Errorf("%d counted, %d keyframe requests read behind it", n, d.stats().Keyframes)
			}
		})
	}
}
