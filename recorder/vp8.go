package recorder

import (
	"errors"
	"fmt"

	"github.com/pion/rtp/codecs"
	"github.com/pion/rtp/codecs/vp9"

	"consilium/internal/codec"
	"consilium/internal/media"
)

// errPayload says that a payload does not belong to the frame being built.
var errPayload = errors.New("payload can't be used")

// newBuilder returns the builder of a track's codec.
func newBuilder(t media.Track) (builder, error) {
	switch t.Codec {
	case media.Opus:
		return noBuilder{}, nil
	case media.VP8:
		return &vp8Builder{frameBuffer{size: videoBlock}}, nil
	case media.VP9:
		return &vp9Builder{frameBuffer{size: videoBlock}}, nil
	case media.AV1:
		return &av1Builder{}, nil
	case media.H264:
		return newH264Builder(t.FMTP), nil
	}
	return nil, fmt.Errorf("codec %q can't be recorded", t.Codec)
}

// noBuilder is for codecs whose packets are frames.
type noBuilder struct{}

func (noBuilder) reset()                 {}
func (noBuilder) add([]byte) error       { return errPayload }
func (noBuilder) finish() (frame, error) { return frame{}, errPayload }

// vp8Builder joins the payloads of a frame behind their descriptors
// (RFC 7741, 4.2).
type vp8Builder struct{ data frameBuffer }

func (b *vp8Builder) reset() { b.data.reset() }

func (b *vp8Builder) add(payload []byte) error {
	d, err := codec.ParseVP8(payload)
	if err != nil {
		return err
	}
	if first := d.Start && d.Partition == 0; first != b.data.empty() || d.Size >= len(payload) {
		return errPayload
	}
	b.data.add(payload[d.Size:])
	return nil
}

func (b *vp8Builder) finish() (frame, error) {
	f := frame{data: b.data.take()}
	if len(f.data) < 3 {
		return frame{}, errPayload
	}
	if f.data[0]&1 == 0 { // P bit: RFC 6386, 9.1
		f.width, f.height, f.keyframe = codec.VP8Dimensions(f.data)
		if !f.keyframe {
			return frame{}, errPayload
		}
	}
	return f, nil
}

// vp9Builder joins the layers of a picture into one superframe
// (RFC 9628, 4.2).
type vp9Builder struct{ data frameBuffer }

func (b *vp9Builder) reset() { b.data.reset() }

func (b *vp9Builder) add(payload []byte) error {
	var p codecs.VP9Packet
	data, err := p.Unmarshal(payload)
	if err != nil {
		return fmt.Errorf("VP9 payload: %w", err)
	}
	if p.SID > 0 {
		return errPayload // scalable video is not negotiated for recorded rooms
	}
	b.data.add(data)
	return nil
}

func (b *vp9Builder) finish() (frame, error) {
	f := frame{data: b.data.take()}
	var h vp9.Header
	if err := h.Unmarshal(f.data); err != nil {
		return frame{}, fmt.Errorf("VP9 header: %w", err)
	}
	if !h.NonKeyFrame && !h.ShowExistingFrame {
		f.keyframe, f.width, f.height = true, int(h.Width()), int(h.Height())
	}
	return f, nil
}
