package sfu

import (
	"encoding/binary"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/pion/rtcp"
)

// toldPublisher reads feedback with Pion's decoder and keeps when it says that
// packets came, in µs since the epoch.
type toldPublisher struct {
	testing.TB
	came  map[uint16]int64
	lost  map[uint16]bool
	count int
}

func newToldPublisher(t testing.TB) *toldPublisher {
	return &toldPublisher{TB: t, came: map[uint16]int64{}, lost: map[uint16]bool{}}
}

func (p *toldPublisher) read(packet rtcp.Packet) {
	p.Helper()
	raw, err := packet.Marshal()
	if err != nil {
		p.Fatal(err)
	}
	var fb rtcp.TransportLayerCC
	if err := fb.Unmarshal(raw); err != nil {
		p.Fatalf("%x: %v", raw, err)
	}
	if len(raw) > maxControlSize || len(raw) != 4*(int(fb.Header.Length)+1) || fb.MarshalSize() != len(raw) {
		p.Fatalf("a message of %d bytes that says %d", len(raw), 4*(int(fb.Header.Length)+1))
	}
	if int(fb.FbPktCount) != p.count%256 {
		p.Fatalf("message %d says it is %d", p.count, fb.FbPktCount)
	}
	p.count++
	if ours := statuses(p, packet); !maps.Equal(ours, pionStatuses(&fb)) {
		p.Fatalf("%x: we read %v, Pion %v", raw, ours, pionStatuses(&fb))
	}
	at, deltas := int64(fb.ReferenceTime)*referenceUnit, fb.RecvDeltas
	received := pionStatuses(&fb)
	for i := range fb.PacketStatusCount {
		n := fb.BaseSequenceNumber + i
		if !received[n] {
			p.lost[n] = true
			continue
		}
		at += deltas[0].Delta
		deltas = deltas[1:]
		p.came[n] = at
		delete(p.lost, n)
	}
	if len(deltas) > 0 {
		p.Fatalf("%d times of arrival too many", len(deltas))
	}
}

// TestPublisherLearnsWhenEachPacketCame tells of packets that come in bursts,
// in disorder, late, twice and not at all.
func TestPublisherLearnsWhenEachPacketCame(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	epoch := time.Unix(1000, 0)
	f, p := newFeedbackBuilder(1, epoch), newToldPublisher(t)
	want, at := map[uint16]int64{}, epoch
	for n := uint16(65000); n != 5000; n++ {
		at = at.Add(time.Duration(random.ExpFloat64() * float64(3*time.Millisecond)))
		if random.IntN(50) == 0 {
			at = at.Add(time.Duration(random.IntN(9000)) * time.Millisecond) // a large delta, or none that fits
		}
		if late := n - uint16(random.IntN(4)); random.IntN(8) > 0 && int16(late-65000) >= 0 {
			f.record(9, binary.BigEndian.AppendUint16(nil, late), at)
			if _, twice := want[late]; !twice {
				want[late] = at.Sub(epoch).Microseconds()
			}
		}
		if random.IntN(30) == 0 {
			for _, packet := range f.build(nil) {
				p.read(packet)
			}
		}
	}
	for _, packet := range f.build(nil) {
		p.read(packet)
	}
	for n, came := range want {
		if d := came - p.came[n]; d < -deltaUnit || d > deltaUnit {
			t.Fatalf("packet %d came at %d µs, told is %d", n, came, p.came[n])
		}
	}
	if len(p.came) != len(want) || len(p.lost) == 0 || p.count < 100 {
		t.Fatalf("told of %d packets in %d messages, %d as lost; %d came", len(p.came), p.count, len(p.lost), len(want))
	}
}

func TestFeedbackStaysSmallWhateverIsMissing(t *testing.T) {
	for name, tc := range map[string]struct {
		numbers  []uint16
		messages int
	}{
		"one":                       {[]uint16{7}, 1},
		"a hole of 300":             {[]uint16{1, 300}, 2}, // of which the second tells of what follows
		"a hole larger than memory": {[]uint16{1, 3000}, 1},
		"far behind":                {[]uint16{5000, 1}, 1},
		"half of the numbers away":  {[]uint16{1, 40000}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			epoch := time.Unix(1000, 0)
			f, p := newFeedbackBuilder(1, epoch), newToldPublisher(t)
			for i, n := range tc.numbers {
				f.record(9, binary.BigEndian.AppendUint16(nil, n), epoch.Add(time.Duration(i*20)*time.Second))
			}
			for _, packet := range f.build(nil) {
				p.read(packet)
			}
			if f.pending() || p.count != tc.messages {
				t.Errorf("%d messages, want %d; more to tell: %v", p.count, tc.messages, f.pending())
			}
		})
	}
}

func TestFeedbackAllocatesNothing(t *testing.T) {
	epoch := time.Unix(1000, 0)
	f, n, at := newFeedbackBuilder(1, epoch), uint16(0), epoch
	var out []rtcp.Packet
	number := make([]byte, 2)
	one := func() {
		for range 14 {
			n, at = n+1, at.Add(5*time.Millisecond)
			binary.BigEndian.PutUint16(number, n)
			f.record(9, number, at)
		}
		out = f.build(out[:0])
	}
	one()
	if allocations := testing.AllocsPerRun(500, one); allocations != 0 || len(out) != 1 {
		t.Errorf("%v allocations for feedback about 14 packets, %d messages", allocations, len(out))
	}
}

// FuzzFeedbackBuilder reads each three bytes as a step in number and time, and
// whether to build.
func FuzzFeedbackBuilder(f *testing.F) {
	f.Add([]byte{1, 1, 0, 1, 1, 0, 3, 200, 1})
	f.Add([]byte{1, 255, 0, 0, 255, 0, 255, 0, 1, 127, 9, 0, 128, 9, 1})
	f.Fuzz(func(t *testing.T, steps []byte) {
		epoch := time.Unix(1000, 0)
		b, p := newFeedbackBuilder(1, epoch), newToldPublisher(t)
		at, n := epoch, uint16(0)
		for ; len(steps) >= 3; steps = steps[3:] {
			n += uint16(int16(int8(steps[0]))) * uint16(1+steps[2]>>4)
			at = at.Add(time.Duration(steps[1]) * time.Duration(steps[1]) * 300 * time.Microsecond)
			b.record(9, binary.BigEndian.AppendUint16(nil, n), at)
			if steps[2]&1 == 0 || !b.pending() {
				continue
			}
			for _, packet := range b.build(nil) {
				p.read(packet)
			}
			if b.pending() || b.next != b.end {
				t.Fatal("not everything was told")
			}
		}
	})
}
