package tunnel

import (
	"bytes"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
)

// picture makes the packets of a VP8 frame: a first byte with bit 0 clear
// begins a keyframe (RFC 6386, 9.1).
func picture(number uint16, timestamp uint32, key bool, size int) (packets []*rtp.Packet, frame []byte) {
	frame = bytes.Repeat([]byte{0xA5}, size)
	frame[0] = 1
	if key {
		frame[0] = 0
	}
	parts := (&codecs.VP8Payloader{EnablePictureID: true}).Payload(500, frame)
	for i, part := range parts {
		packets = append(packets, &rtp.Packet{
			Header:  rtp.Header{Version: 2, SequenceNumber: number + uint16(i), Timestamp: timestamp, Marker: i == len(parts)-1},
			Payload: part,
		})
	}
	return packets, frame
}

// stream makes n frames of three packets each, the first a keyframe.
func stream(first uint16, n int, keys ...int) (packets []*rtp.Packet) {
	for i := range n {
		key := i == 0
		for _, k := range keys {
			key = key || k == i
		}
		p, _ := picture(first+uint16(3*i), uint32(i)*6000, key, 1400)
		packets = append(packets, p...)
	}
	return packets
}

type assembling struct {
	*assembler
	dropped map[string]int
	frames  []assembled
	lost    bool
}

func newAssembling() *assembling {
	a := &assembling{dropped: map[string]int{}}
	a.assembler = newAssembler(func(reason string, n int) { a.dropped[reason] += n })
	return a
}

func (a *assembling) feed(at time.Time, packets ...*rtp.Packet) {
	for _, p := range packets {
		frames, lost := a.add(p, VP8, at)
		a.frames, a.lost = append(a.frames, frames...), lost
	}
}

func TestFramesAreWholeAndInOrderWhateverTheOrderOfPackets(t *testing.T) {
	_, want := picture(0, 0, true, 1400)
	for name, order := range map[string][]int{
		"in order":          {0, 1, 2, 3, 4, 5, 6, 7, 8},
		"one late":          {0, 1, 2, 3, 5, 6, 7, 8, 4},
		"frames mixed":      {0, 3, 6, 1, 4, 7, 2, 5, 8},
		"one comes twice":   {0, 1, 1, 2, 3, 4, 5, 3, 6, 7, 8},
		"across the number": {0, 1, 2, 3, 4, 5, 6, 7, 8},
	} {
		t.Run(name, func(t *testing.T) {
			first := uint16(100)
			if name == "across the number" {
				first = 65533
			}
			packets, a := stream(first, 3), newAssembling()
			for _, i := range order {
				a.feed(time.Unix(1000, 0), packets[i])
			}
			if len(a.frames) != 3 || a.lost {
				t.Fatalf("%d frames, lost %v", len(a.frames), a.lost)
			}
			for i, f := range a.frames {
				if f.timestamp != uint32(i)*6000 || f.key != (i == 0) || len(f.payload) != len(want) || !bytes.Equal(f.payload[1:], want[1:]) {
					t.Errorf("frame %d: timestamp %d, key %v, %d bytes", i, f.timestamp, f.key, len(f.payload))
				}
			}
		})
	}
}

func TestAPacketThatDoesNotComeCostsThePicturesUpToAKeyframe(t *testing.T) {
	a, now := newAssembling(), time.Unix(1000, 0)
	packets := stream(100, 6, 4)
	a.feed(now, packets[:4]...) // one frame and a packet; number 4 is lost
	a.feed(now, packets[5:8]...)
	if len(a.frames) != 1 || a.lost {
		t.Fatalf("%d frames, lost %v: it has to wait", len(a.frames), a.lost)
	}
	now = now.Add(gapPatience + time.Millisecond)
	a.feed(now, packets[8])
	if !a.lost {
		t.Fatal("no keyframe is asked for")
	}
	a.feed(now, packets[9:]...)
	if a.lost || len(a.frames) != 3 || !a.frames[1].key || a.frames[1].timestamp != 4*6000 {
		t.Errorf("it goes on with %d frames, lost %v", len(a.frames), a.lost)
	}
	a.feed(now, packets[4])
	if a.dropped[dropLate] != 1 {
		t.Errorf("dropped %v, want one as late", a.dropped)
	}
}

func TestAStreamIsShownFromAKeyframeOn(t *testing.T) {
	a := newAssembling()
	a.feed(time.Unix(1000, 0), stream(100, 4, 2)[3:]...) // without its first frame
	if len(a.frames) != 2 || !a.frames[0].key {
		t.Errorf("%d frames", len(a.frames))
	}
}

func TestWhatAnAssemblerHoldsIsBounded(t *testing.T) {
	a, now := newAssembling(), time.Unix(1000, 0)
	packets := stream(0, 2000)
	a.feed(now, packets[:3]...)
	a.feed(now, packets[4:]...)
	if len(a.held) > maxHeld {
		t.Errorf("%d packets are held", len(a.held))
	}
}

func FuzzAssembler(f *testing.F) {
	f.Add([]byte{0, 0, 1, 1, 0x90, 0, 5, 1, 0, 1, 0, 2})
	f.Fuzz(func(t *testing.T, script []byte) {
		for _, c := range []Codec{VP8, VP9, H264} {
			a, now := newAssembling(), time.Unix(1000, 0)
			for len(script) > 4 {
				n := min(int(script[3]%16), len(script)-4)
				p := &rtp.Packet{
					Header:  rtp.Header{SequenceNumber: uint16(script[0]), Timestamp: uint32(script[1]), Marker: script[2]&1 != 0},
					Payload: script[4 : 4+n],
				}
				now = now.Add(time.Duration(script[2]) * time.Millisecond)
				frames, _ := a.add(p, c, now)
				for _, frame := range frames {
					if len(frame.payload) == 0 || len(frame.payload) > MaxPayload {
						t.Errorf("a frame of %d bytes", len(frame.payload))
					}
				}
				if len(a.held) > maxHeld+1 {
					t.Fatalf("%d packets are held", len(a.held))
				}
				script = script[4+n:]
			}
		}
	})
}

func TestTimesSurviveTheWayThroughRTP(t *testing.T) {
	u, err := newUpLine("mic")
	if err != nil {
		t.Fatal(err)
	}
	if got := u.timestamp(20*time.Millisecond) - u.timestamp(0); got != 960 {
		t.Errorf("20 ms of sound are %d ticks, want 960", got)
	}
	const long = 400 * 24 * time.Hour // the RTP clock goes round every day
	if got := u.timestamp(long+20*time.Millisecond) - u.timestamp(long); got != 960 {
		t.Errorf("after 400 days 20 ms are %d ticks, want 960", got)
	}
	now := time.Unix(1795422684, 208647123)
	w := wallClock{rate: 90000}
	w.arrived(4294967000, now.Add(time.Second))
	w.report(&rtcp.SenderReport{NTPTime: toNTP(now), RTPTime: 4294967000})
	got := w.at(4294967000) - time.Duration(now.UnixNano())
	// 9000 ticks on, beyond the end of 32 bits.
	later := w.at(8704) - time.Duration(now.UnixNano())
	if got.Abs() > time.Microsecond || (later-100*time.Millisecond).Abs() > time.Microsecond {
		t.Errorf("times are off by %v and %v", got, later-100*time.Millisecond)
	}
}

func TestAllLinesOfAPageShareOneClock(t *testing.T) {
	var c pageClock
	now := time.Unix(1000, 0)
	c.observe(5*time.Second, now)
	c.observe(5100*time.Millisecond, now.Add(400*time.Millisecond)) // the network was slow
	if got := c.page(now.Add(time.Second)); got != 6*time.Second {
		t.Errorf("the page's clock says %v, want 6s", got)
	}
	c.observe(100*time.Second, now.Add(time.Second)) // it slept, or is another
	if got := c.page(now.Add(time.Second)); got != 100*time.Second {
		t.Errorf("the page's clock says %v, want 100s", got)
	}
}
