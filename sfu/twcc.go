package sfu

import "encoding/binary"

// transportFeedback is a transport-wide feedback message where it lies on the
// wire (draft-holmer-rmcat-transport-wide-cc-extensions-01, 3.1).
type transportFeedback struct {
	base   uint16 // number of the first packet it speaks of
	count  int    // how many it speaks of
	chunks []byte // statuses of those, in units of two bytes
}

// Where the body of a feedback message says what, in bytes.
const (
	statusBaseOffset  = 8
	statusCountOffset = 10
	statusChunkOffset = 16
)

// parseFeedback reads the body of a feedback message. It returns false when it
// claims to speak of more packets than it describes. What follows the
// statuses, the times of arrival, is not looked at: nothing here needs it.
func parseFeedback(body []byte) (transportFeedback, bool) {
	if len(body) < statusChunkOffset {
		return transportFeedback{}, false
	}
	fb := transportFeedback{
		base:   binary.BigEndian.Uint16(body[statusBaseOffset:]),
		count:  int(binary.BigEndian.Uint16(body[statusCountOffset:])),
		chunks: body[statusChunkOffset:],
	}
	used := 0
	for left := fb.count; left > 0; used += 2 {
		if len(fb.chunks) < used+2 {
			return transportFeedback{}, false
		}
		left -= statusChunk(binary.BigEndian.Uint16(fb.chunks[used:])).length()
	}
	fb.chunks = fb.chunks[:used]
	return fb, true
}

// each calls do for every packet the message speaks of, in order.
func (fb transportFeedback) each(do func(sequence uint16, received bool)) {
	sequence, left := fb.base, fb.count
	for chunks := fb.chunks; len(chunks) >= 2; chunks = chunks[2:] {
		c := statusChunk(binary.BigEndian.Uint16(chunks))
		n := min(left, c.length())
		for i := range n {
			do(sequence, c.received(i))
			sequence++
		}
		left -= n
	}
}

// statusChunk is the status of several packets: of a run of equal ones, or a
// vector of symbols of one or two bits (3.1.3 and 3.1.4).
type statusChunk uint16

const (
	chunkIsVector   = 1 << 15
	chunkHasTwoBits = 1 << 14
)

// length is of how many packets the chunk speaks.
func (c statusChunk) length() int {
	switch {
	case c&chunkIsVector == 0:
		return int(c & (1<<13 - 1))
	case c&chunkHasTwoBits == 0:
		return 14
	}
	return 7
}

// received reports whether packet i of the chunk, 0 <= i < length, came. Two
// bits tell besides how its time of arrival is written.
func (c statusChunk) received(i int) bool {
	switch {
	case c&chunkIsVector == 0:
		return c>>13 != 0
	case c&chunkHasTwoBits == 0:
		return c>>(13-i)&1 != 0
	}
	return c>>(12-2*i)&3 != 0
}
