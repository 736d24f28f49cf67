package recorder

import (
	"consilium/internal/codec"
	"consilium/internal/media"
)

// pictureID tells, for VP8, that no picture is missing although sequence
// numbers are: a sender's padding-only packets take numbers too.
type pictureID struct {
	known bool
	id    uint16
	mask  uint16 // 7 or 15 bits
}

func (n *pictureID) learn(name string, payload []byte) {
	*n = pictureID{}
	if name != media.VP8 {
		return
	}
	if d, err := codec.ParseVP8(payload); err == nil && d.HasPictureID {
		n.known, n.id, n.mask = true, d.PictureID, 0x7F
		if d.LongID {
			n.mask = 0x7FFF
		}
	}
}

// follows reports whether payload begins the picture after the last one.
func (n *pictureID) follows(name string, payload []byte) bool {
	if !n.known || codec.StartOf(name, payload) == codec.Middle {
		return false
	}
	d, err := codec.ParseVP8(payload)
	if err != nil || !d.HasPictureID {
		return false
	}
	return d.PictureID == (n.id+1)&n.mask
}
