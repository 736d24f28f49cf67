package codec

// Bits of the first octet of the VP9 payload descriptor (RFC 9628, 4.2).
const (
	vp9HasID    = 0x80 // I
	vp9InterPic = 0x40 // P: inter-picture predicted
	vp9HasLayer = 0x20 // L
	vp9Begin    = 0x08 // B: begins a layer frame
)

// vp9Start classifies a payload. A picture begins with the layer frame of
// spatial layer 0; it is a keyframe when that layer is not predicted from
// earlier pictures.
func vp9Start(payload []byte) Start {
	bits := payload[0]
	if bits&vp9Begin == 0 {
		return Middle
	}
	at := 1
	if bits&vp9HasID != 0 {
		if len(payload) <= at {
			return Middle
		}
		if payload[at]&0x80 != 0 {
			at++
		}
		at++
	}
	if bits&vp9HasLayer != 0 {
		if len(payload) <= at {
			return Middle
		}
		if spatial := payload[at] >> 1 & 0x07; spatial != 0 {
			return Middle
		}
	}
	if bits&vp9InterPic == 0 {
		return Key
	}
	return Frame
}
