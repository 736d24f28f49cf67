package sfu

import (
	"slices"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/transport/v5/packetio"

	"consilium/internal/media"
)

// control gives a transport an RTCP packet, as Pion does, once for an SSRC.
func control(t testing.TB, to *transport, ssrc uint32, packets ...rtcp.Packet) {
	t.Helper()
	raw, err := rtcp.Marshal(packets)
	if err != nil {
		t.Fatal(err)
	}
	to.queue.put(raw, ssrc, true)
	for _, in := range to.queue.take(nil) {
		to.handle(&in)
	}
}

// flood sends n packets within a second and returns the time that took.
func flood(t testing.TB, s *stage, n int, one func(i int)) time.Duration {
	t.Helper()
	began := time.Now()
	for i := range n {
		s.clock.at = s.clock.at.Add(time.Second / time.Duration(n))
		one(i)
	}
	return time.Since(began)
}

func TestFloodOfNACKsIsCutShort(t *testing.T) {
	s, w := newStage(t, media.Video), &wire{}
	d := s.subscriber(w, true)
	d.assign(s.track)
	s.frame(true, false)
	for range 60 {
		s.frame(false, false)
	}
	sent := len(w.packets)
	nack := &rtcp.TransportLayerNack{MediaSSRC: 7777}
	for i := range 250 {
		nack.Nacks = append(nack.Nacks, rtcp.NackPair{PacketID: w.packets[i%sent].SequenceNumber, LostPackets: 0xFFFF})
	}
	took := flood(t, s, 10_000, func(int) { control(t, d.cfg.Transport, 7777, nack) })
	st := d.stats()
	drops, looked := st.dropped(), st.Resent
	for reason, n := range drops {
		if reason != "nack_limit" {
			looked += n
		}
	}
	all := d.cfg.Transport.cfg.Drops.snapshot()
	t.Logf("42 million requests in 10 000 packets: %v, %d resent, dropped %v", took, st.Resent, all)
	if looked > nackBurst+nackRate || st.Resent > resendBurst+resendRate || drops["nack_limit"] == 0 || all["rtcp_limit"] < 9000 {
		t.Fatalf("%d packets were looked up, %d resent, dropped %v", looked, st.Resent, all)
	}
	// When it is over he is served as before.
	s.clock.at = s.clock.at.Add(2 * time.Second)
	last := s.frame(false, false)
	before := len(w.packets)
	control(t, d.cfg.Transport, 7777, &rtcp.TransportLayerNack{MediaSSRC: 7777, Nacks: []rtcp.NackPair{{PacketID: w.packets[before-1].SequenceNumber}}})
	if len(w.packets) != before+1 {
		t.Fatalf("packet %d is not resent after the flood", last)
	}
}

func TestFloodOfKeyframeRequestsBecomesFew(t *testing.T) {
	s, w := newStage(t, media.Video), &wire{}
	d := s.subscriber(w, true)
	d.assign(s.track)
	s.frame(true, false)
	pli := slices.Repeat([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: 7777}}, 100)
	passed, asked := 0, 0
	took := flood(t, s, 10_000, func(int) {
		control(t, d.cfg.Transport, 7777, pli...)
		if s.track.keyframe.Load() {
			passed++
		}
		out, _ := s.track.poll(s.clock.at, 1, nil)
		asked += len(out)
	})
	t.Logf("a million requests in 10 000 packets: %v, the publisher was woken %d times and asked %d times", took, passed, asked)
	if st := d.stats(); passed > 11 || asked < 1 || asked > 2 || st.dropped()["keyframe_limit"] == 0 {
		t.Fatalf("passed on %d, asked %d, dropped %v", passed, asked, st.dropped())
	}
}

func TestFloodOfSenderReportsReachesSubscribersBounded(t *testing.T) {
	s := newStage(t, media.Video)
	c := newCollector()
	s.track.attach(c)
	s.frame(true, false)
	took := flood(t, s, 10_000, func(i int) {
		control(t, s.up, s.ssrc, &rtcp.SenderReport{SSRC: s.ssrc, NTPTime: toNTP(s.clock.at), RTPTime: uint32(i)})
	})
	drops := s.up.cfg.Drops.snapshot()
	t.Logf("10 000 reports: %v, %d passed on", took, c.report)
	if most := (controlBurst + controlRate) / controlPacketCost; c.report > most || drops["rtcp_limit"] != uint64(10_000-c.report) {
		t.Fatalf("%d reports were passed on, dropped %v", c.report, drops)
	}
}

func TestFeedbackThatClaimsTooMuchIsRefused(t *testing.T) {
	claim := func(statuses uint16, received uint16) []byte {
		fb := &rtcp.TransportLayerCC{MediaSSRC: 7777, PacketStatusCount: statuses}
		for left := int(statuses); left > 0; left -= 8191 {
			fb.PacketChunks = append(fb.PacketChunks, &rtcp.RunLengthChunk{PacketStatusSymbol: received, RunLength: uint16(min(left, 8191))})
		}
		fb.Header = rtcp.Header{Count: rtcp.FormatTCC, Type: rtcp.TypeTransportSpecificFeedback}
		size := 20 + 2*len(fb.PacketChunks)
		fb.Header.Padding = size%4 != 0
		fb.Header.Length = uint16((size+3)/4 - 1)
		raw, err := fb.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	for name, tc := range map[string]struct {
		compound []byte
		ok       bool
		cost     float64
	}{
		"as many as can be under way": {claim(maxStatuses, 0), true, 24 + controlPacketCost + maxStatuses},
		"more":                        {claim(maxStatuses+1, 0), false, 0},
		"65535 received":              {claim(65535, 1), false, 0},
		"half a header":               {[]byte{0x80, 201}, false, 0},
		"longer than it is":           {[]byte{0x80, 201, 0, 9, 0, 0, 0, 1}, false, 0},
		"too short to claim":          {[]byte{0x8F, 205, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2}, false, 0},
		"two packets":                 {[]byte{0x80, 201, 0, 1, 0, 0, 0, 1, 0x80, 201, 0, 1, 0, 0, 0, 1}, true, 16 + 2*controlPacketCost},
		"nothing":                     {nil, true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if cost, ok := controlCost(tc.compound); ok != tc.ok || cost != tc.cost {
				t.Errorf("costs %v (%v), want %v (%v)", cost, ok, tc.cost, tc.ok)
			}
		})
	}
	s := newStage(t, media.Video)
	dear := claim(maxStatuses, 1)
	took := flood(t, s, 10_000, func(int) {
		s.up.queue.put(dear, 7777, true)
		for _, in := range s.up.queue.take(nil) {
			s.up.handle(&in)
		}
	})
	drops := s.up.cfg.Drops.snapshot()
	t.Logf("10 000 claims of %d packets each: %v, dropped %v", maxStatuses, took, drops)
	if most := uint64(controlBurst+controlRate) / maxStatuses; drops["rtcp_limit"] < 10_000-most || drops["malformed"] > 0 {
		t.Fatalf("more than %d of them were taken apart: dropped %v", most, drops)
	}
}

func TestClientThatNamesTooManySSRCsIsReported(t *testing.T) {
	overruns := 0
	drops := &dropCounters{}
	tr := newTransport(transportConfig{Pool: newPacketPool(), Drops: drops, Overrun: func() { overruns++ }})
	for ssrc := range uint32(maxBuffers + 3) {
		kind := packetio.RTPBufferPacket
		if ssrc%2 == 1 {
			kind = packetio.RTCPBufferPacket
		}
		write(t, tr.bufferFactory(kind, ssrc), []byte("packet"))
	}
	if n := len(tr.queue.take(nil)); n != maxBuffers || overruns != 3 || drops.snapshot()["too_many_streams"] != 3 {
		t.Fatalf("%d packets taken, %d overruns, dropped %v", n, overruns, drops.snapshot())
	}
}

func TestBucketGivesBurstThenRate(t *testing.T) {
	var b bucket
	now, taken := time.Unix(1000, 0), 0
	for range 1000 {
		if b.take(1, 10, 100, now) {
			taken++
		}
	}
	if taken != 10 {
		t.Fatalf("%d at once, want 10", taken)
	}
	for range 1000 {
		now = now.Add(time.Millisecond)
		if b.take(1, 10, 100, now) {
			taken++
		}
	}
	if taken < 109 || taken > 111 {
		t.Fatalf("%d within a second, want 110", taken)
	}
	if b.take(11, 10, 100, now.Add(time.Hour)) || !b.take(10, 10, 100, now.Add(time.Hour)) {
		t.Fatal("a full bucket gives all of its burst and no more")
	}
	if b.take(1, 10, 100, now) {
		t.Fatal("a clock that goes back fills the bucket")
	}
}
