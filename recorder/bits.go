package recorder

// bitReader reads big-endian bits. Past the end it returns zeros and remembers
// it, so that a parser checks once, at its end.
type bitReader struct {
	b    []byte
	pos  int // in bits
	over bool
}

func (r *bitReader) bits(n int) uint32 {
	var v uint32
	for range n {
		v <<= 1
		if i := r.pos >> 3; i < len(r.b) {
			v |= uint32(r.b[i]>>(7-r.pos&7)) & 1
		} else {
			r.over = true
		}
		r.pos++
	}
	return v
}

func (r *bitReader) flag() bool { return r.bits(1) == 1 }

// prefixed reads a number behind as many zeros as it has bits after its first:
// ue(v) of H.264 (9.1), uvlc of AV1 (4.10.3).
func (r *bitReader) prefixed() uint32 {
	zeros := 0
	for !r.flag() {
		if zeros++; zeros > 31 || r.over {
			r.over = true
			return 0
		}
	}
	return 1<<zeros - 1 + r.bits(zeros)
}

// signed is se(v) of H.264 (9.1.1).
func (r *bitReader) signed() int32 {
	v := r.prefixed()
	if v&1 == 1 {
		return int32(v/2) + 1
	}
	return -int32(v / 2)
}
