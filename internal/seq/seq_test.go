package seq

import (
	"math/rand/v2"
	"testing"
)

func TestSequenceNumbersGrowAcrossWraps(t *testing.T) {
	var u Unwrapper16
	start := u.Unwrap(65500)
	for i := int64(1); i < 300_000; i++ {
		if got, want := u.Unwrap(uint16(65500+i)), start+i; got != want {
			t.Fatalf("packet %d unwraps to %d, want %d", i, got, want)
		}
	}
}

func TestLateSequenceNumbersKeepTheirPlace(t *testing.T) {
	var u Unwrapper16
	rnd := rand.New(rand.NewPCG(1, 2))
	base := u.Unwrap(10)
	for i := int64(1); i < 200_000; i++ {
		u.Unwrap(uint16(10 + i))
		late := i - rnd.Int64N(min(i, 30_000))
		if got := u.Unwrap(uint16(10 + late)); got != base+late {
			t.Fatalf("late %d of %d unwraps to %d", late, i, got-base)
		}
	}
}

func TestPacketBeforeTheFirstIsPositiveAndBelow(t *testing.T) {
	var u Unwrapper16
	first := u.Unwrap(0)
	if got := u.Unwrap(65535); got != first-1 || got < 0 {
		t.Fatalf("got %d, want %d", got, first-1)
	}
}

func TestPeekChangesNothing(t *testing.T) {
	var u Unwrapper16
	u.Unwrap(100)
	u.Peek(20_000)
	if h, ok := u.Highest(); !ok || uint16(h) != 100 {
		t.Fatalf("highest is %d", h)
	}
}

func TestRestartedStreamIsAboveTheOldOne(t *testing.T) {
	var u Unwrapper16
	old := u.Unwrap(60_000)
	u.Restart(5)
	got := u.Unwrap(5)
	if got-old < first16 || uint16(got) != 5 {
		t.Fatalf("restarted at %d after %d", got, old)
	}
	if earlier := u.Unwrap(4); earlier != got-1 {
		t.Fatalf("packet before the restart's first unwraps to %d, want %d", earlier, got-1)
	}
}

func TestTimestampsUnwrapBothWays(t *testing.T) {
	var u Unwrapper32
	a := u.Unwrap(0xFFFF_FF00)
	b := u.Unwrap(0x100)
	if b-a != 0x200 {
		t.Fatalf("forward step is %#x", b-a)
	}
	if c := u.Unwrap(0xFFFF_FF00); c != a {
		t.Fatalf("backward step lands on %#x, want %#x", c, a)
	}
}
