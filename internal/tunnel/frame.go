package tunnel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"consilium/internal/media"
)

// Subprotocol is the WebSocket subprotocol of GET /ws/media.
const Subprotocol = "consilium.media.v1"

// Sizes of a frame message, in bytes.
const (
	headerSize = 16
	// MaxPayload is the largest frame: a keyframe of 720p at its worst.
	MaxPayload = 512 << 10
	// maxMessage is what a socket reads: a frame, or a text message.
	maxMessage = headerSize + MaxPayload
)

const frameVersion = 1

// Codec is the codec of a frame. Its numbers are part of the protocol.
type Codec uint8

// Codecs. Frames of H.264 are in Annex B form, those of the others bare.
const (
	Opus Codec = 1
	VP8  Codec = 2
	VP9  Codec = 3
	H264 Codec = 4
)

// Audio reports whether the codec is one of sound.
func (c Codec) Audio() bool { return c == Opus }

// Name is the codec's name as in package media, "" for an unknown codec.
func (c Codec) Name() string {
	switch c {
	case Opus:
		return media.Opus
	case VP8:
		return media.VP8
	case VP9:
		return media.VP9
	case H264:
		return media.H264
	}
	return ""
}

const flagKey = 0x01

// Frame is one encoded frame of an m-line.
type Frame struct {
	Line  uint16 // the mid of the m-line, which the peer makes a number
	Codec Codec
	Key   bool // decoding can start here: keyframes, and all sound
	// Time is when the frame was captured: from a page on its own clock, one
	// for all it sends; to a page on the server's, since 1970. Microseconds.
	Time    time.Duration
	Payload []byte
}

var errFrame = errors.New("not a frame")

// AppendTo appends the frame message to dst:
//
//	 0               1               2               3
//	 0 1 2 3 4 5 6 7 0 1 2 3 4 5 6 7 0 1 2 3 4 5 6 7 0 1 2 3 4 5 6 7
//	+---------------+---------------+---------------+---------------+
//	|  version = 1  |     codec     |  flags: 1 key |   0           |
//	+---------------+---------------+---------------+---------------+
//	|             line              |               0               |
//	+-------------------------------+-------------------------------+
//	|                   time, microseconds (64 bits)                |
//	|                                                               |
//	+---------------------------------------------------------------+
//	|                          payload ...                          |
//
// Numbers are big endian.
func (f Frame) AppendTo(dst []byte) []byte {
	var flags byte
	if f.Key {
		flags |= flagKey
	}
	dst = append(dst, frameVersion, byte(f.Codec), flags, 0)
	dst = binary.BigEndian.AppendUint16(dst, f.Line)
	dst = append(dst, 0, 0)
	dst = binary.BigEndian.AppendUint64(dst, uint64(f.Time.Microseconds()))
	return append(dst, f.Payload...)
}

// ParseFrame reads a frame message. The payload is part of b.
func ParseFrame(b []byte) (Frame, error) {
	if len(b) <= headerSize || len(b) > maxMessage {
		return Frame{}, fmt.Errorf("%w: %d bytes", errFrame, len(b))
	}
	if b[0] != frameVersion {
		return Frame{}, fmt.Errorf("%w: version %d", errFrame, b[0])
	}
	micros := binary.BigEndian.Uint64(b[8:])
	const most = uint64(1<<63-1) / 1000
	f := Frame{
		Line: binary.BigEndian.Uint16(b[4:]), Codec: Codec(b[1]), Key: b[2]&flagKey != 0,
		Time: time.Duration(min(micros, most)) * time.Microsecond, Payload: b[headerSize:],
	}
	switch {
	case f.Codec.Name() == "":
		return Frame{}, fmt.Errorf("%w: codec %d", errFrame, b[1])
	case micros > most:
		return Frame{}, fmt.Errorf("%w: time is out of range", errFrame)
	}
	return f, nil
}
