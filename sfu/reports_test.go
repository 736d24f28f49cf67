package sfu

import (
	"maps"
	"testing"
	"time"

	"github.com/pion/rtcp"

	"consilium/internal/media"
)

func TestKeyframeIsAskedForAgainEverMoreSlowly(t *testing.T) {
	var k keyframeLimiter
	start := time.Unix(1000, 0)
	var asked []time.Duration
	k.request()
	for now := start; now.Before(start.Add(12 * time.Second)); now = now.Add(10 * time.Millisecond) {
		if k.due(now) {
			asked = append(asked, now.Sub(start))
		}
	}
	want := []time.Duration{0, 500 * time.Millisecond, 1500 * time.Millisecond, 3500 * time.Millisecond, 7500 * time.Millisecond, 11500 * time.Millisecond}
	if len(asked) != len(want) {
		t.Fatalf("asked at %v, want %v", asked, want)
	}
	for i := range want {
		if asked[i] != want[i] {
			t.Fatalf("asked at %v, want %v", asked, want)
		}
	}
	k.arrived()
	if _, wanted := k.next(); wanted || k.due(start.Add(time.Hour)) {
		t.Fatal("a keyframe came and is asked for still")
	}
	k.request()
	if !k.due(start.Add(2 * time.Hour)) {
		t.Fatal("a new request is not passed on")
	}
}

func TestReceiverReportCountsLossAndJitter(t *testing.T) {
	var s receiveStats
	at := time.Unix(1_800_000_000, 0)
	for i := range int64(100) {
		if i%10 == 5 {
			continue
		}
		late := time.Duration(i%2) * 10 * time.Millisecond
		s.packet(65536+65530+i, uint32(i*1800), 90000, at.Add(time.Duration(i)*20*time.Millisecond+late))
	}
	s.report = media.SenderReport{Arrival: at, NTP: 0x1122_3344_5566_7788}
	b := s.block(9, at.Add(500*time.Millisecond))
	if b.TotalLost != 10 || b.FractionLost != 25 || b.LastSequenceNumber != 65530+99 {
		t.Fatalf("block %+v", b)
	}
	if b.Jitter < 600 || b.Jitter > 1000 { // 10 ms are 900 ticks
		t.Fatalf("jitter %d", b.Jitter)
	}
	if b.LastSenderReport != 0x3344_5566 || b.Delay != 32768 {
		t.Fatalf("last report %x, delay %d", b.LastSenderReport, b.Delay)
	}
	if again := s.block(9, at); again.FractionLost != 0 || again.TotalLost != 10 {
		t.Fatalf("second block %+v", again)
	}
}

func TestRoundTripComesFromOurOwnReportsOnly(t *testing.T) {
	var s sentReports
	at := time.Unix(1_800_000_000, 123)
	ntp := toNTP(at)
	s.add(ntp, at)
	b := rtcp.ReceptionReport{LastSenderReport: uint32(ntp >> 16), Delay: 65536}
	if rtt, ok := s.roundTrip(b, at.Add(1200*time.Millisecond)); !ok || rtt != 200*time.Millisecond {
		t.Fatalf("got %v, %v", rtt, ok)
	}
	b.LastSenderReport++
	if rtt, ok := s.roundTrip(b, at); ok {
		t.Fatalf("a report nobody sent gives %v", rtt)
	}
	if _, ok := s.roundTrip(rtcp.ReceptionReport{}, at); ok {
		t.Fatal("a receiver without a report of ours gives a round trip")
	}
}

func TestTracksOfASessionShareOneClock(t *testing.T) {
	var c senderClock
	at := time.Unix(1_800_000_000, 0)
	c.observe(media.SenderReport{Arrival: at, NTP: 5 << 32})
	first := c.server(5 << 32)
	if first != toNTP(at) {
		t.Fatalf("got %x, want %x", first, toNTP(at))
	}
	// The next one is 30 ms late on the way: the mapping stays.
	c.observe(media.SenderReport{Arrival: at.Add(1030 * time.Millisecond), NTP: 6 << 32})
	if c.server(5<<32) != first {
		t.Fatal("the mapping moved with the delay of a report")
	}
	// The publisher's clock is set: it does not.
	c.observe(media.SenderReport{Arrival: at.Add(2 * time.Second), NTP: 90 << 32})
	if got := c.server(90 << 32); got != toNTP(at.Add(2*time.Second)) {
		t.Fatalf("after a step: %x", got)
	}
}

func TestFeedbackOfASubscriberBecomesFigures(t *testing.T) {
	var e egress
	w := &wire{discard: true}
	number := make([]byte, 2)
	at := time.Unix(1000, 0)
	e.next = 65530
	for range 20 {
		if _, err := e.send(wayOut{w, number}, nil, []byte{1}, at, false); err != nil {
			t.Fatal(err)
		}
	}
	fb := feedbackAbout(65530, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 1, 0)
	e.feedback(fb, at)
	e.feedback(fb, at) // repeated: counts once
	st := e.stats()
	if st.Packets != 20 || st.Acknowledged != 10 || st.NotArrived != 2 || st.Loss <= 0 || !st.LastFeedback.Equal(at) {
		t.Fatalf("figures %+v", st)
	}
}

func TestPublisherIsToldWhenHisPacketsCame(t *testing.T) {
	epoch := time.Unix(1000, 0)
	f := newFeedbackBuilder(1, epoch)
	if f.build(nil) != nil {
		t.Fatal("feedback about nothing")
	}
	for _, n := range []byte{1, 2, 4} {
		f.record(9, []byte{0, n}, epoch.Add(time.Duration(n)*time.Millisecond))
	}
	f.record(9, []byte{0}, epoch) // too short: ignored
	out := f.build(nil)
	if len(out) != 1 {
		t.Fatalf("%d packets", len(out))
	}
	got := map[uint16]bool{}
	maps.Copy(got, statuses(t, out[0]))
	if !got[1] || !got[2] || got[3] || !got[4] || len(got) != 4 {
		t.Fatalf("told %v", got)
	}
}

func TestControlPacketsAreSplitIntoDatagramsThatFit(t *testing.T) {
	var sizes []int
	total := 0
	tr := newTransport(transportConfig{Pool: newPacketPool(), WriteRTCP: func(packets []rtcp.Packet) error {
		raw, err := rtcp.Marshal(packets)
		sizes, total = append(sizes, len(raw)), total+len(packets)
		return err
	}})
	var packets []rtcp.Packet
	for range 40 {
		packets = append(packets, &rtcp.TransportLayerNack{Nacks: make([]rtcp.NackPair, 30)})
	}
	tr.writeRTCP(packets)
	if total != 40 {
		t.Fatalf("%d packets were sent, want 40", total)
	}
	for _, n := range sizes {
		if n > maxControlSize {
			t.Fatalf("a datagram of %d bytes", n)
		}
	}
	if len(sizes) > 8 {
		t.Fatalf("%d datagrams, want few", len(sizes))
	}
}
