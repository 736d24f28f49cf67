package codec

// NAL unit types (H.264, table 7-1; RFC 6184, table 1).
const (
	nalSlice = 1
	nalIDR   = 5
	nalSPS   = 7
	nalSTAPA = 24
	nalFUA   = 28
)

// h264Start classifies a payload. A keyframe begins with a sequence parameter
// set, alone or first of an aggregate, or with an IDR slice. Where a stream
// sends SPS and IDR apart, both count: starting at the SPS is what is wanted,
// and an IDR without one can only follow it.
func h264Start(payload []byte) Start {
	switch payload[0] & 0x1F {
	case nalSTAPA:
		return h264Aggregate(payload[1:])
	case nalFUA:
		if len(payload) < 2 || payload[1]&0x80 == 0 { // S: start of the unit
			return Middle
		}
		return nalStart(payload[1] & 0x1F)
	default:
		return nalStart(payload[0] & 0x1F)
	}
}

// h264Aggregate looks through the units of a STAP-A (RFC 6184, 5.7.1).
func h264Aggregate(b []byte) Start {
	found := Middle
	for len(b) > 2 {
		size := int(b[0])<<8 | int(b[1])
		b = b[2:]
		if size == 0 || size > len(b) {
			return found
		}
		found = max(found, nalStart(b[0]&0x1F))
		b = b[size:]
	}
	return found
}

func nalStart(unit byte) Start {
	switch unit {
	case nalSPS, nalIDR:
		return Key
	case nalSlice:
		return Frame
	default:
		return Middle
	}
}
