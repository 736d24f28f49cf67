package recorder

import (
	"testing"

	"consilium/internal/media"
	"consilium/internal/testmedia"
)

// Frames share blocks of memory and clusters one buffer: what is left is a
// block for many packets.
func TestAPacketCostsAFractionOfAnAllocation(t *testing.T) {
	for name, tc := range map[string]struct {
		about media.Track
		load  func() (*testmedia.Clip, error)
		most  float64
	}{
		"sound": {micTrack("anna"), testmedia.Beep, 0.1},
		"video": {camTrack("anna"), testmedia.LargeCamera, 0.1},
	} {
		t.Run(name, func(t *testing.T) {
			one, written := packetPath(t, tc.about, tc.load)
			for range 2000 {
				one()
			}
			before, n := written(), 0
			// Many packets in one run: AllocsPerRun rounds down.
			allocations := testing.AllocsPerRun(1, func() {
				for range 2000 {
					one()
					n++
				}
			}) / 2000
			if allocations > tc.most {
				t.Errorf("%.3f allocations for a packet, want at most %v", allocations, tc.most)
			}
			if n != 4000 || written() <= before {
				t.Errorf("%d packets, nothing was written", n)
			}
		})
	}
}
