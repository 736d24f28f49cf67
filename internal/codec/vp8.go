package codec

import (
	"encoding/binary"
	"errors"
)

// ErrShort says that a payload ends before its header does.
var ErrShort = errors.New("payload is shorter than its header")

// VP8 is the payload descriptor of a VP8 RTP packet (RFC 7741, 4.2).
type VP8 struct {
	NonReference bool  // N: nothing refers to this frame
	Start        bool  // S: begins a partition
	Partition    uint8 // PID, 0 to 7

	HasPictureID bool
	PictureID    uint16 // 7 or 15 bits
	LongID       bool   // the picture id has 15 bits

	HasTL0 bool
	TL0    uint8 // TL0PICIDX

	HasTID bool
	TID    uint8 // temporal layer, 0 to 3
	Sync   bool  // Y: depends only on the base layer

	HasKeyIndex bool
	KeyIndex    uint8 // KEYIDX, 0 to 31

	Size int // bytes of the descriptor; the VP8 payload follows
}

// Bits of the descriptor (RFC 7741, figure 2).
const (
	vp8Extended = 0x80 // X in octet 0
	vp8NonRef   = 0x20 // N
	vp8Start1   = 0x10 // S
	vp8PIDMask  = 0x07
	vp8HasID    = 0x80 // I in the extension octet
	vp8HasTL0   = 0x40 // L
	vp8HasTID   = 0x20 // T
	vp8HasKey   = 0x10 // K
	vp8LongID   = 0x80 // M in the picture id
	vp8Sync     = 0x20 // Y in the TID/KEYIDX octet
)

// ParseVP8 reads the payload descriptor. The error is ErrShort.
func ParseVP8(payload []byte) (VP8, error) {
	var d VP8
	if len(payload) < 1 {
		return d, ErrShort
	}
	d.NonReference = payload[0]&vp8NonRef != 0
	d.Start = payload[0]&vp8Start1 != 0
	d.Partition = payload[0] & vp8PIDMask
	d.Size = 1
	if payload[0]&vp8Extended == 0 {
		return d, nil
	}
	if len(payload) < 2 {
		return d, ErrShort
	}
	bits := payload[1]
	d.HasPictureID = bits&vp8HasID != 0
	d.HasTL0 = bits&vp8HasTL0 != 0
	d.HasTID = bits&vp8HasTID != 0
	d.HasKeyIndex = bits&vp8HasKey != 0
	d.Size = 2
	return d, d.parseFields(payload)
}

// parseFields reads what the extension octet announces.
func (d *VP8) parseFields(payload []byte) error {
	if d.HasPictureID {
		if len(payload) <= d.Size {
			return ErrShort
		}
		if payload[d.Size]&vp8LongID == 0 {
			d.PictureID = uint16(payload[d.Size])
			d.Size++
		} else {
			if len(payload) < d.Size+2 {
				return ErrShort
			}
			d.LongID = true
			d.PictureID = binary.BigEndian.Uint16(payload[d.Size:]) & 0x7FFF
			d.Size += 2
		}
	}
	if d.HasTL0 {
		if len(payload) <= d.Size {
			return ErrShort
		}
		d.TL0 = payload[d.Size]
		d.Size++
	}
	if d.HasTID || d.HasKeyIndex {
		if len(payload) <= d.Size {
			return ErrShort
		}
		d.TID = payload[d.Size] >> 6
		d.Sync = payload[d.Size]&vp8Sync != 0
		d.KeyIndex = payload[d.Size] & 0x1F
		d.Size++
	}
	return nil
}

// AppendTo appends the descriptor to dst. A picture id is always written with
// 15 bits, so that a rewritten stream keeps one width whatever its sources use.
// Size is not used.
func (d VP8) AppendTo(dst []byte) []byte {
	first := d.Partition & vp8PIDMask
	if d.NonReference {
		first |= vp8NonRef
	}
	if d.Start {
		first |= vp8Start1
	}
	if !d.HasPictureID && !d.HasTL0 && !d.HasTID && !d.HasKeyIndex {
		return append(dst, first)
	}
	var bits byte
	if d.HasPictureID {
		bits |= vp8HasID
	}
	if d.HasTL0 {
		bits |= vp8HasTL0
	}
	if d.HasTID {
		bits |= vp8HasTID
	}
	if d.HasKeyIndex {
		bits |= vp8HasKey
	}
	dst = append(dst, first|vp8Extended, bits)
	if d.HasPictureID {
		dst = append(dst, vp8LongID|byte(d.PictureID>>8), byte(d.PictureID))
	}
	if d.HasTL0 {
		dst = append(dst, d.TL0)
	}
	if d.HasTID || d.HasKeyIndex {
		octet := d.TID<<6 | d.KeyIndex&0x1F
		if d.Sync {
			octet |= vp8Sync
		}
		dst = append(dst, octet)
	}
	return dst
}

// vp8Start classifies a payload. A frame begins with the first packet of
// partition 0; there the inverse key frame bit P of the frame header follows
// the descriptor (RFC 7741, 4.3).
func vp8Start(payload []byte) Start {
	d, err := ParseVP8(payload)
	if err != nil || !d.Start || d.Partition != 0 || len(payload) <= d.Size {
		return Middle
	}
	if payload[d.Size]&1 == 0 {
		return Key
	}
	return Frame
}

// VP8Dimensions returns width and height, in pixels, from the header of a VP8
// keyframe (RFC 6386, 9.1), and false for any other frame. frame is the bare
// VP8 frame, without a payload descriptor.
func VP8Dimensions(frame []byte) (width, height int, ok bool) {
	if len(frame) < 10 || frame[0]&1 != 0 || frame[3] != 0x9D || frame[4] != 0x01 || frame[5] != 0x2A {
		return 0, 0, false
	}
	width = int(binary.LittleEndian.Uint16(frame[6:]) & 0x3FFF)
	height = int(binary.LittleEndian.Uint16(frame[8:]) & 0x3FFF)
	return width, height, width > 0 && height > 0
}
