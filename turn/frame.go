package turn

import (
	"bufio"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
)

// maxFrame is the largest frame we take over TCP, in bytes; Pion reads into
// buffers of this size.
const maxFrame = 1600

const (
	stunHeader    = 20
	channelHeader = 4
	magicCookie   = 0x2112A442 // RFC 8489 section 5
)

var (
	errNotFrame  = errors.New("neither a STUN message nor ChannelData")
	errLongFrame = errors.New("frame is longer than a datagram may be")
)

// frameReader cuts a TCP stream into STUN messages and ChannelData (RFC 8656
// section 3.6). Pion does that too; here it is done so that frames can be
// looked at, and so that what follows never depends on Pion's own arithmetic,
// which once made one frame of 20 bytes spin a core for ever.
type frameReader struct{ r *bufio.Reader }

func newFrameReader(r io.Reader) *frameReader {
	return &frameReader{r: bufio.NewReaderSize(r, 2*maxFrame)}
}

// read reads one frame, padding included, into b.
func (f *frameReader) read(b []byte) (int, error) {
	head, err := f.r.Peek(channelHeader)
	if err != nil {
		return 0, err
	}
	size, err := frameSize(head)
	if err != nil {
		return 0, err
	}
	if size > maxFrame || size > len(b) {
		return 0, errLongFrame
	}
	if size >= stunHeader && head[0] < 0x40 {
		head, err := f.r.Peek(2 * channelHeader)
		if err != nil {
			return 0, err
		}
		if binary.BigEndian.Uint32(head[channelHeader:]) != magicCookie {
			return 0, errNotFrame
		}
	}
	return io.ReadFull(f.r, b[:size])
}

// frameSize returns the size of the frame that starts with head, in bytes. On
// TCP, ChannelData is padded to a multiple of four (RFC 8656 section 12.5).
func frameSize(head []byte) (int, error) {
	length := int(binary.BigEndian.Uint16(head[2:]))
	switch first := head[0]; {
	case first < 0x40: // STUN: two zero bits
		if length%4 != 0 {
			return 0, errNotFrame
		}
		return stunHeader + length, nil
	case first < 0x80: // channel numbers up to 0x7FFF, of which RFC 8656 kept those up to 0x4FFF
		return channelHeader + (length+3)&^3, nil
	default:
		return 0, errNotFrame
	}
}

const (
	attrHeader      = 4
	attrFingerprint = 0x8028
	fingerprintSize = attrHeader + 4
	fingerprintXOR  = 0x5354554e // RFC 8489 section 14.7
)

// intact reports whether a message that looks like STUN is one from end to end,
// and whether its fingerprint, if it has one, is right and last. Pion looks at
// neither, and RFC 8489 section 6.3 has such messages dropped in silence.
// ChannelData is intact.
func intact(frame []byte) bool {
	if len(frame) < stunHeader || frame[0] >= 0x40 {
		return true
	}
	if len(frame) != stunHeader+int(binary.BigEndian.Uint16(frame[2:])) {
		return false
	}
	for rest := frame[stunHeader:]; len(rest) >= attrHeader; {
		size := attrHeader + (int(binary.BigEndian.Uint16(rest[2:]))+3)&^3
		if size > len(rest) {
			return false
		}
		if binary.BigEndian.Uint16(rest) == attrFingerprint {
			before := frame[:len(frame)-len(rest)]
			return len(rest) == fingerprintSize && size == fingerprintSize &&
				binary.BigEndian.Uint32(rest[attrHeader:]) == crc32.ChecksumIEEE(before)^fingerprintXOR
		}
		rest = rest[size:]
	}
	return true
}
