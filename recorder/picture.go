package recorder

import (
	"consilium/internal/codec"
	"consilium/internal/media"
)

// pictureState knows, for VP8, where a stream stood before packets went
// missing, and so what can still be decoded after them. The zero value knows
// nothing. Other codecs say too little in every packet: there a loss always
// waits for a keyframe.
//
// The payload descriptor (RFC 7741, 4.2) tells it in two ways. Picture ids
// count pictures, so missing sequence numbers without a missing picture were
// padding. And TL0PICIDX counts pictures of the base layer, which refer to
// nothing but the base layer: as long as none of those is missing, what was
// lost did not matter to any of them.
type pictureState struct {
	known bool      // there is a picture id
	last  codec.VP8 // of the last picture that is whole, or that nothing refers to
	stale bool      // pictures of upper layers are missing, up to one that refers to the base only
	head  codec.VP8 // of the picture that arrives now
}

// verdict says what to do with a picture.
type verdict uint8

const (
	// broken: it may refer to what is missing, and so may all that follow.
	broken verdict = iota
	// sound: nothing that it refers to is missing.
	sound
	// skip: it may refer to what is missing, but a later one will not.
	skip
)

// descriptor returns the payload descriptor of a VP8 packet with a picture id.
func descriptor(name string, payload []byte) (codec.VP8, bool) {
	if name != media.VP8 {
		return codec.VP8{}, false
	}
	d, err := codec.ParseVP8(payload)
	return d, err == nil && d.HasPictureID
}

// begin takes the first payload of a picture.
func (s *pictureState) begin(name string, payload []byte) {
	s.head, _ = descriptor(name, payload)
}

// finished says that the picture is whole.
func (s *pictureState) finished(keyframe bool) {
	s.known, s.last = s.head.HasPictureID, s.head
	if keyframe {
		s.stale = false
	}
}

// spoiled says that a part of the picture is missing. If nothing refers to it,
// it is as if it had never been.
func (s *pictureState) spoiled() {
	if s.known && s.head.NonReference && s.head.HasPictureID && s.head.PictureID == s.following() {
		s.last.PictureID = s.head.PictureID
	}
}

// following is the picture id after the last one.
func (s *pictureState) following() uint16 {
	mask := uint16(0x7F)
	if s.last.LongID {
		mask = 0x7FFF
	}
	return (s.last.PictureID + 1) & mask
}

// follows reports whether payload begins the picture after the last one.
func (s *pictureState) follows(name string, payload []byte) bool {
	if !s.known || codec.StartOf(name, payload) == codec.Middle {
		return false
	}
	d, ok := descriptor(name, payload)
	return ok && d.PictureID == s.following()
}

// judge says what can be made of the picture, not a keyframe, that begins with
// payload; lossy says that packets before it are missing.
func (s *pictureState) judge(name string, payload []byte, lossy bool) verdict {
	d, ok := descriptor(name, payload)
	if !ok {
		if lossy {
			return broken
		}
		return sound
	}
	if lossy && !s.follows(name, payload) {
		base := d.TID == 0 && d.TL0 == s.last.TL0+1 || d.TID > 0 && d.TL0 == s.last.TL0
		if !s.known || !s.last.HasTL0 || !d.HasTL0 || !d.HasTID || !base {
			return broken
		}
		s.stale = true
	}
	switch {
	case !s.stale || d.TID == 0:
		return sound
	case d.Sync: // refers to the base layer only
		s.stale = false
		return sound
	}
	return skip
}
