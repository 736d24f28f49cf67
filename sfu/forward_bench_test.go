package sfu

import (
	"fmt"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/transport/v5/packetio"

	"consilium/internal/media"
)

// fanOut is a publisher with n subscribers and a function that moves one
// packet from Pion's hand to all of them.
func fanOut(t testing.TB, n int) (one func(), last *wire) {
	s := newStage(t, media.Video)
	for range n {
		last = &wire{discard: true}
		s.subscriber(last, true).assign(s.track)
	}
	h := rtp.Header{Version: 2, PayloadType: 96, SSRC: s.ssrc, Timestamp: 3000}
	payload := append(vp8Payload(true, 1), make([]byte, 1100)...)
	raw, err := (&rtp.Packet{Header: h, Payload: payload}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	buf := s.up.bufferFactory(packetio.RTPBufferPacket, s.ssrc)
	var batch []inbound
	one = func() {
		s.next++
		raw[2], raw[3] = byte(s.next>>8), byte(s.next)
		raw[len(raw)-len(payload)+4] = 1 // a delta frame from the second packet on
		if s.next == 1 {
			raw[len(raw)-len(payload)+4] = 0
		}
		s.clock.at = s.clock.at.Add(time.Millisecond)
		if _, err := buf.Write(raw); err != nil {
			t.Fatal(err)
		}
		batch = s.up.queue.take(batch)
		for i := range batch {
			s.up.handle(&batch[i])
		}
	}
	return one, last
}

func TestForwardingAllocatesNothing(t *testing.T) {
	one, last := fanOut(t, 8)
	for range 3 * videoRingSize { // fill the pool and the rings
		one()
	}
	before := last.count
	if n := testing.AllocsPerRun(2000, one); n != 0 {
		t.Fatalf("%.2f allocations for a packet to 8 subscribers, want 0", n)
	}
	if got := last.count - before; got != 2001 {
		t.Fatalf("%d of 2001 packets reached the last subscriber", got)
	}
}

// BenchmarkFanOut is the cost of one incoming packet of 1.1 kB, queue, cache
// and rewriting included, encryption and the socket not.
func BenchmarkFanOut(b *testing.B) {
	for _, n := range []int{1, 8, 64} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			one, _ := fanOut(b, n)
			b.ReportAllocs()
			for b.Loop() {
				one()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/forward")
		})
	}
}
