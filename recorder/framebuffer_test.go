package recorder

import (
	"bytes"
	"slices"
	"testing"
)

func TestFramesThatShareMemoryKeepTheirBytes(t *testing.T) {
	b := frameBuffer{size: 64}
	var frames, want [][]byte
	for i := range 200 {
		n := i * 7 % 150 // some larger than a block
		payload := bytes.Repeat([]byte{byte(i)}, n)
		if i%5 == 4 { // spoilt after its first half
			b.add(payload[:n/2])
			b.reset()
		}
		if !b.empty() {
			t.Fatalf("frame %d begins with something", i)
		}
		b.add(payload[:n/2])
		b.add(payload[n/2:])
		frames, want = append(frames, b.take()), append(want, payload)
	}
	for _, f := range frames {
		_ = append(f, 0xFF) // must not reach the next frame
	}
	if !slices.EqualFunc(frames, want, bytes.Equal) {
		t.Error("frames were changed after they were taken")
	}
}

func TestSmallFramesShareAnAllocation(t *testing.T) {
	b, payload := frameBuffer{size: audioBlock}, make([]byte, 80)
	n := testing.AllocsPerRun(10, func() {
		for range 1000 {
			b.add(payload)
			b.take()
		}
	})
	if n < 1 || n > 25 { // 51 frames fit a block
		t.Errorf("%v allocations for 1000 frames", n)
	}
}
