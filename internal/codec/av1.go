package codec

// Bits of the AV1 aggregation header (AV1 RTP specification, 4.4).
const (
	av1Continues = 0x80 // Z: the first element continues an OBU
	av1NewCoded  = 0x08 // N: first packet of a coded video sequence
)

// OBU header (AV1 specification, 5.3.2).
const (
	obuTypeSequence  = 1
	obuTypeTemporal  = 2
	obuTypeFrame     = 6
	obuTypeFrameHead = 3
)

// av1Start classifies a payload. The aggregation header says by its N bit that
// a coded video sequence, and so a keyframe, begins. Where it does not, a
// packet that begins with a new frame OBU begins a frame.
func av1Start(payload []byte) Start {
	if payload[0]&av1Continues != 0 || len(payload) < 2 {
		return Middle
	}
	if payload[0]&av1NewCoded != 0 {
		return Key
	}
	at := 1
	if payload[0]>>4&0x03 != 1 { // W: one element has no length before it
		_, n, ok := readLEB128(payload[at:])
		if !ok {
			return Middle
		}
		at += n
	}
	if len(payload) <= at {
		return Middle
	}
	switch payload[at] >> 3 & 0x0F {
	case obuTypeSequence, obuTypeTemporal, obuTypeFrame, obuTypeFrameHead:
		return Frame
	default:
		return Middle
	}
}

// readLEB128 reads a little-endian base-128 number (AV1 specification, 4.10.5)
// and says how many bytes it takes.
func readLEB128(b []byte) (value uint64, n int, ok bool) {
	for i := 0; i < 8 && i < len(b); i++ {
		value |= uint64(b[i]&0x7F) << (7 * i)
		if b[i]&0x80 == 0 {
			return value, i + 1, true
		}
	}
	return 0, 0, false
}
