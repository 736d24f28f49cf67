// Package codec reads what a forwarder and a recorder need from RTP payloads:
// where frames and keyframes begin, the VP8 payload descriptor, picture
// dimensions, the duration of an Opus packet. It decodes nothing.
//
// Every function takes bytes from the network: it never panics, allocates
// nothing and answers "no" to what it can't parse. The package is a leaf: it
// imports only the codec names of internal/media.
package codec

import "consilium/internal/media"

// Start tells what begins with an RTP payload.
type Start uint8

// Values of Start.
const (
	// Middle: the payload continues a frame, or can't be parsed.
	Middle Start = iota
	// Frame: the payload begins a frame that needs earlier ones.
	Frame
	// Key: the payload begins a frame from which decoding can start.
	Key
)

// StartOf says what begins with an RTP payload of the named codec. For audio,
// and for codecs it does not know, every non-empty payload is a Key.
func StartOf(name string, payload []byte) Start {
	if len(payload) == 0 {
		return Middle
	}
	switch name {
	case media.VP8:
		return vp8Start(payload)
	case media.VP9:
		return vp9Start(payload)
	case media.AV1:
		return av1Start(payload)
	case media.H264:
		return h264Start(payload)
	default:
		return Key
	}
}
