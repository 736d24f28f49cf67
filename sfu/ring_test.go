package sfu

import (
	"math/rand/v2"
	"testing"
	"time"

	"consilium/internal/media"
)

// counted makes packets that tell how many of them are still held.
type counted struct{ held int }

func (c *counted) packet(sequence int64, key bool, at time.Time, size int) *media.Packet {
	c.held++
	p := media.NewPacket(func(*media.Packet) { c.held-- })
	p.Sequence, p.Keyframe, p.Arrival, p.Payload = sequence, key, at, make([]byte, size)
	return p
}

func put(r *ring, p *media.Packet) ringVerdict {
	v := r.admit(p.Sequence)
	if v == ringNew {
		r.store(p)
	}
	p.Release()
	return v
}

func TestRingKnowsDuplicatesAndOldOnes(t *testing.T) {
	r, c, now := newRing(64), counted{}, time.Unix(1000, 0)
	for i := range int64(200) {
		if v := put(r, c.packet(70_000+i, false, now, 10)); v != ringNew {
			t.Fatalf("packet %d: verdict %d", i, v)
		}
	}
	if v := put(r, c.packet(70_199, false, now, 10)); v != ringDuplicate {
		t.Fatalf("newest again: verdict %d", v)
	}
	if v := put(r, c.packet(70_140, false, now, 10)); v != ringDuplicate {
		t.Fatalf("recent again: verdict %d", v)
	}
	if v := put(r, c.packet(70_100, false, now, 10)); v != ringTooOld {
		t.Fatalf("old again: verdict %d", v)
	}
	if c.held != 64 {
		t.Fatalf("%d packets are held, want 64", c.held)
	}
}

func TestOldPacketsAreLetGoButRemembered(t *testing.T) {
	r, c, now := newRing(64), counted{}, time.Unix(1000, 0)
	put(r, c.packet(70_000, true, now, 10))
	put(r, c.packet(70_001, false, now.Add(ringMaxAge+time.Second), 10))
	if c.held != 1 || r.get(70_000) != nil {
		t.Fatalf("%d packets held, the old one too", c.held)
	}
	if v := put(r, c.packet(70_000, false, now, 10)); v != ringDuplicate {
		t.Fatalf("old one again: verdict %d", v)
	}
}

func TestEveryReferenceIsReleased(t *testing.T) {
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		r, c, now := newRing(128), counted{}, time.Unix(1000, 0)
		sequence := int64(70_000)
		for range 10_000 {
			now = now.Add(time.Duration(rnd.IntN(40)) * time.Millisecond)
			sequence += int64(rnd.IntN(4))
			if rnd.IntN(500) == 0 {
				sequence += int64(rnd.IntN(3000))
			}
			s := sequence - int64(rnd.IntN(200))
			if rnd.IntN(10) == 0 {
				r.admit(s) // padding
			} else {
				put(r, c.packet(s, rnd.IntN(50) == 0, now, 100))
			}
			if p := r.get(s); p != nil {
				if p.Sequence != s {
					t.Fatalf("seed %d: asked for %d, got %d", seed, s, p.Sequence)
				}
				p.Release()
			}
			if rnd.IntN(2000) == 0 {
				r.clear()
			}
			if c.held > 128 {
				t.Fatalf("seed %d: %d packets are held", seed, c.held)
			}
		}
		r.restart()
		if c.held != 0 {
			t.Fatalf("seed %d: %d packets are held after restart", seed, c.held)
		}
	}
}

func TestNewcomerGetsTheKeyframeAndAllThatFollows(t *testing.T) {
	now := time.Unix(1000, 0)
	fill := func(sequences []int64, key int64, size int) *ring {
		r, c := newRing(videoRingSize), counted{}
		for _, s := range sequences {
			put(r, c.packet(s, s == key, now, size))
		}
		return r
	}
	run := func(from, to int64) (all []int64) {
		for s := from; s <= to; s++ {
			all = append(all, s)
		}
		return all
	}
	cases := map[string]struct {
		ring *ring
		at   time.Time
		want int
	}{
		"fresh and whole":         {fill(run(70_000, 70_009), 70_003, 100), now, 7},
		"too old":                 {fill(run(70_000, 70_009), 70_003, 100), now.Add(primeMaxAge + 1), 0},
		"too large":               {fill(run(70_000, 70_300), 70_003, 1200), now, 0},
		"one is missing":          {fill(append(run(70_000, 70_005), run(70_007, 70_009)...), 70_003, 100), now, 0},
		"one before is missing":   {fill(append(run(70_000, 70_001), run(70_003, 70_009)...), 70_003, 100), now, 7},
		"no keyframe yet":         {fill(run(70_000, 70_009), 0, 100), now, 0},
		"came in another order":   {fill([]int64{70_003, 70_005, 70_004}, 70_003, 100), now, 3},
		"empty":                   {newRing(64), now, 0},
		"nothing after a cleared": {func() *ring { r := fill(run(70_000, 70_009), 70_003, 100); r.clear(); return r }(), now, 0},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := c.ring.sinceKeyframe(c.at)
			if len(got) != c.want {
				t.Fatalf("got %d packets, want %d", len(got), c.want)
			}
			for i, p := range got {
				if p.Sequence != 70_003+int64(i) {
					t.Fatalf("packet %d has sequence %d", i, p.Sequence)
				}
			}
		})
	}
}
