package recorder

import (
	"time"

	"consilium/internal/codec"
)

// opusRate is the RTP clock of Opus whatever it samples at (RFC 7587, 4.1).
const opusRate = 48_000

// opusDuration returns the length of a packet in samples at 48 kHz; 0 if it is
// not a valid Opus packet.
func opusDuration(packet []byte) int64 {
	d, ok := codec.OpusDuration(packet)
	if !ok {
		return 0
	}
	return int64(d) * opusRate / int64(time.Second)
}

// opusSilence returns a stereo CELT packet of exact silence that lasts the
// given number of samples: 120, 240, 480 or 960. An empty frame (a bare TOC
// byte) would keep the time too, but a decoder conceals it: the last sound
// goes on.
func opusSilence(samples int64) []byte {
	config := byte(28) // CELT, full band, 2.5 ms (RFC 6716, table 2)
	for n := int64(120); n < samples && config < 31; n *= 2 {
		config++
	}
	return []byte{config<<3 | 1<<2, 0xFF, 0xFE}
}

// silenceFiller makes the packets of a track follow each other without a gap:
// Chromium plays audio by counting samples and ignores timestamps. Positions
// and lengths are samples at 48 kHz.
type silenceFiller struct {
	cursor  int64 // end of what was put out
	started bool
	filled  int64 // samples of silence put out
}

// before calls put for every packet of silence between what was put out and
// pos. What is left is shorter than the shortest Opus frame, 2.5 ms, and is
// made up for before a later packet.
func (f *silenceFiller) before(pos int64, put func(pos int64, packet []byte) bool) bool {
	if !f.started {
		f.started, f.cursor = true, pos
	}
	for _, step := range [...]int64{960, 480, 240, 120} {
		for pos-f.cursor >= step {
			if !put(f.cursor, opusSilence(step)) {
				return false
			}
			f.cursor += step
			f.filled += step
		}
	}
	return true
}

// place returns where a packet of the given length goes that should be at pos,
// and false if that time is taken already.
func (f *silenceFiller) place(pos, length int64) (int64, bool) {
	if f.cursor-pos >= 960 {
		return 0, false
	}
	at := f.cursor
	f.cursor += length
	return at, true
}
