package sfu

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/pion/rtp"

	"consilium/internal/codec"
	"consilium/internal/media"
)

// sourcePacket makes a packet of a made-up source.
func sourcePacket(sequence int64, timestamp uint32, key bool, at time.Time) *media.Packet {
	p := media.NewPacket(nil)
	p.Header = rtp.Header{Version: 2, SequenceNumber: uint16(sequence), Timestamp: timestamp, SSRC: 1}
	p.Sequence, p.Keyframe, p.Arrival = sequence, key, at
	p.Payload = []byte{0x10, 1}
	return p
}

func placed(r *rewriter, p *media.Packet) (rtp.Header, bool) {
	var h rtp.Header
	s := r.forward(p)
	if s == nil {
		return h, false
	}
	s.apply(&h, p)
	return h, true
}

func TestRewrittenSequenceGoesOnOverSourcesAndWraps(t *testing.T) {
	r := newRewriter(90000, 65530, 1)
	at := time.Unix(1000, 0)
	want := uint16(65531)
	for _, first := range []int64{65536 + 65530, 65536 + 7, 1 << 20} {
		r.switchSource()
		for i := range int64(20) {
			h, ok := placed(&r, sourcePacket(first+i, uint32(i*3000), i == 0, at))
			if !ok || h.SequenceNumber != want {
				t.Fatalf("source at %d, packet %d: got %d (%v), want %d", first, i, h.SequenceNumber, ok, want)
			}
			want++
			at = at.Add(33 * time.Millisecond)
		}
	}
}

func TestTimestampAdvancesByWallTimeOverASwitch(t *testing.T) {
	r := newRewriter(90000, 1, 0xFFFF_FF00)
	at := time.Unix(1000, 0)
	a, _ := placed(&r, sourcePacket(70_000, 123, true, at))
	r.switchSource()
	b, _ := placed(&r, sourcePacket(80_000, 999_999, true, at.Add(2*time.Second)))
	if got := b.Timestamp - a.Timestamp; got != 180_000 {
		t.Fatalf("2 s are %d ticks, want 180000", got)
	}
	r.switchSource()
	c, _ := placed(&r, sourcePacket(90_000, 5, true, at))
	if got := c.Timestamp - b.Timestamp; got != 1500 {
		t.Fatalf("a packet that came before the last one moves time by %d ticks, want 1500", got)
	}
}

func TestLossLeavesAHoleThatTheLatePacketFills(t *testing.T) {
	r := newRewriter(90000, 100, 0)
	at := time.Unix(1000, 0)
	placed(&r, sourcePacket(70_000, 0, true, at))
	h, _ := placed(&r, sourcePacket(70_003, 0, false, at))
	if h.SequenceNumber != 104 {
		t.Fatalf("after a loss of two the number is %d, want 104", h.SequenceNumber)
	}
	if in, s := r.source(103); s == nil || in != 70_002 {
		t.Fatalf("103 is source %d, want 70002", in)
	}
	h, ok := placed(&r, sourcePacket(70_002, 0, false, at))
	if !ok || h.SequenceNumber != 103 {
		t.Fatalf("late packet is placed at %d (%v), want 103", h.SequenceNumber, ok)
	}
}

func TestWhatIsLeftOutLeavesNoHole(t *testing.T) {
	r := newRewriter(90000, 100, 0)
	at := time.Unix(1000, 0)
	placed(&r, sourcePacket(70_000, 0, true, at))
	for s := int64(70_001); s < 70_010; s++ {
		r.skip(s)
	}
	h, _ := placed(&r, sourcePacket(70_010, 3000, true, at))
	if h.SequenceNumber != 102 {
		t.Fatalf("after nine left out the number is %d, want 102", h.SequenceNumber)
	}
	if _, ok := placed(&r, sourcePacket(70_005, 0, false, at)); ok {
		t.Fatal("a late packet of what was left out was forwarded")
	}
	r.leaveOut(70_011)
	if h, _ = placed(&r, sourcePacket(70_012, 0, false, at)); h.SequenceNumber != 103 {
		t.Fatalf("after padding the number is %d, want 103", h.SequenceNumber)
	}
	if in, s := r.source(103); s == nil || in != 70_012 {
		t.Fatalf("103 is source %d, want 70012", in)
	}
}

func TestHugeGapIsNoLoss(t *testing.T) {
	r := newRewriter(48000, 100, 0)
	at := time.Unix(1000, 0)
	placed(&r, sourcePacket(70_000, 0, false, at))
	p := sourcePacket(70_000+maxGap+1, 960, false, at)
	if !r.breaks(p) {
		t.Fatal("the gap is not noticed")
	}
	if h, _ := placed(&r, p); h.SequenceNumber != 102 {
		t.Fatalf("after the gap the number is %d, want 102", h.SequenceNumber)
	}
}

func TestKeyframeWhoseSecondPacketCameFirstIsTaken(t *testing.T) {
	r := newRewriter(90000, 100, 0)
	at := time.Unix(1000, 0)
	placed(&r, sourcePacket(70_000, 0, true, at))
	r.skip(70_001)
	r.skip(70_003) // second packet of the keyframe
	h, ok := placed(&r, sourcePacket(70_002, 3000, true, at))
	if !ok || h.SequenceNumber != 102 {
		t.Fatalf("keyframe is placed at %d (%v), want 102", h.SequenceNumber, ok)
	}
	h, ok = placed(&r, sourcePacket(70_004, 3000, false, at))
	if in, s := r.source(103); !ok || h.SequenceNumber != 104 || s == nil || in != 70_003 {
		t.Fatalf("hole at 103 maps to %d; third packet at %d", in, h.SequenceNumber)
	}
}

// numberCheck forwards packets of made-up sources and checks what must always
// hold: no two of them get one number, and numbers lead back to them.
type numberCheck struct {
	t      *testing.T
	r      rewriter
	rnd    *rand.Rand
	at     time.Time
	source int
	used   map[int64]origin
}

// origin is where an output packet came from.
type origin struct {
	source int
	in     int64
}

func (c *numberCheck) give(in int64) {
	p := sourcePacket(in, uint32(in*100), c.rnd.IntN(10) == 0, c.at)
	before := c.r.sequence
	s := c.r.forward(p)
	if s == nil {
		return
	}
	out, from := in+s.shift, origin{c.source, in}
	if o, taken := c.used[out]; taken {
		c.t.Fatalf("number %d of %v is given to %v again", out, o, from)
	}
	c.used[out] = from
	if out-before > maxGap+1 {
		c.t.Fatalf("hole of %d", out-before)
	}
	if back, s := c.r.source(uint16(out)); s == nil || back != in {
		c.t.Fatalf("%d maps back to %d, not %d", out, back, in)
	}
}

// TestNoNumberIsUsedTwice drives the rewriter with random loss, reordering,
// drops and switches: SRTP breaks when two packets share a number.
func TestNoNumberIsUsedTwice(t *testing.T) {
	for seed := range uint64(30) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 7))
			c := numberCheck{t: t, rnd: rnd, at: time.Unix(1000, 0), used: map[int64]origin{},
				r: newRewriter(90000, uint16(rnd.Uint32()), rnd.Uint32())}
			next, skipping := int64(65536+rnd.IntN(65536)), false
			var delayed []int64
			give := func(in int64) {
				if skipping {
					c.r.skip(in)
				} else {
					c.give(in)
				}
			}
			for range 20_000 {
				c.at = c.at.Add(time.Millisecond)
				switch n := rnd.IntN(1000); {
				case n < 2:
					c.source++
					c.r.switchSource()
					next, delayed = int64(65536+rnd.IntN(200_000)), nil
				case n < 10:
					skipping = !skipping
				case n < 60:
					delayed = append(delayed, next)
				case n < 110 && len(delayed) > 0:
					i := rnd.IntN(len(delayed))
					give(delayed[i])
					delayed = slices.Delete(delayed, i, i+1)
					continue
				case n < 115:
					c.r.leaveOut(next)
				case n < 120:
					next += int64(rnd.IntN(2000))
				default:
					give(next)
				}
				next++
			}
		})
	}
}

func TestPictureIDsGoOnOverASwitch(t *testing.T) {
	payload := func(id uint16, long bool, tl0 uint8) []byte {
		d := codec.VP8{Start: true, HasPictureID: true, PictureID: id, HasTL0: true, TL0: tl0, HasTID: true}
		b := d.AppendTo(nil)
		if !long {
			b = append(b[:2], append([]byte{byte(id)}, b[4:]...)...)
		}
		return append(b, 0, 0xAA)
	}
	cases := map[string]struct {
		long  bool
		first uint16
	}{
		"15 bits":        {true, 0x7FF0},
		"7 bits":         {false, 100},
		"15 bits, small": {true, 3},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := newRewriter(90000, 1, 1)
			r.picture, r.tl0 = 0x7FFE, 254
			at := time.Unix(1000, 0)
			wantID, wantTL0 := uint16(0x7FFF), uint8(255)
			for range 2 {
				r.switchSource()
				for i := range int64(300) {
					id := c.first + uint16(i)
					if c.long {
						id &= 0x7FFF
					} else {
						id &= 0x7F
					}
					p := sourcePacket(70_000+i, uint32(i), i == 0, at)
					p.Payload = payload(id, c.long, uint8(40+i))
					out := r.vp8(r.forward(p), p, make([]byte, 0, 100))
					r.notePicture(out)
					d, err := codec.ParseVP8(out)
					if err != nil || d.PictureID != wantID || d.TL0 != wantTL0 || out[len(out)-1] != 0xAA {
						t.Fatalf("picture %d: got id %d tl0 %d (%v), want %d %d", i, d.PictureID, d.TL0, err, wantID, wantTL0)
					}
					wantID, wantTL0 = (wantID+1)&0x7FFF, wantTL0+1
				}
			}
		})
	}
}
