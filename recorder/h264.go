package recorder

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/pion/rtp/codecs"
)

// NAL unit types (H.264, table 7-1).
const (
	nalIDR = 5
	nalSPS = 7
	nalPPS = 8
)

// h264Builder makes length-prefixed access units (ISO/IEC 14496-15) of RTP
// payloads (RFC 6184). Parameter sets go to CodecPrivate; they stay in the
// stream as well, which every player accepts.
type h264Builder struct {
	depacketizer codecs.H264Packet
	data         []byte
	sps, pps     []byte
}

func newH264Builder(fmtp string) *h264Builder {
	b := &h264Builder{depacketizer: codecs.H264Packet{IsAVC: true}}
	for parameter := range strings.SplitSeq(fmtp, ";") {
		sets, ok := strings.CutPrefix(strings.TrimSpace(parameter), "sprop-parameter-sets=")
		if !ok {
			continue
		}
		for set := range strings.SplitSeq(sets, ",") {
			if unit, err := base64.StdEncoding.DecodeString(set); err == nil {
				b.learn(unit)
			}
		}
	}
	return b
}

func (b *h264Builder) reset() {
	b.data = nil
	b.depacketizer = codecs.H264Packet{IsAVC: true}
}

func (b *h264Builder) add(payload []byte) error {
	data, err := b.depacketizer.Unmarshal(payload)
	if err != nil {
		return fmt.Errorf("H.264 payload: %w", err)
	}
	b.data = append(b.data, data...)
	return nil
}

// learn keeps a parameter set.
func (b *h264Builder) learn(unit []byte) {
	if len(unit) < 2 {
		return
	}
	switch unit[0] & 0x1F {
	case nalSPS:
		b.sps = bytes.Clone(unit)
	case nalPPS:
		b.pps = bytes.Clone(unit)
	}
}

func (b *h264Builder) finish() (frame, error) {
	f := frame{data: b.data}
	b.data = nil
	for rest := f.data; len(rest) > 0; {
		if len(rest) < 4 || int64(binary.BigEndian.Uint32(rest)) > int64(len(rest)-4) {
			return frame{}, errPayload
		}
		n := binary.BigEndian.Uint32(rest)
		unit := rest[4 : 4+n]
		rest = rest[4+n:]
		if len(unit) > 0 && unit[0]&0x1F == nalIDR {
			f.keyframe = true
		}
		b.learn(unit)
	}
	if !f.keyframe {
		return f, nil
	}
	width, height, ok := spsDimensions(b.sps)
	if !ok || len(b.pps) == 0 || len(b.sps) > 0xFFFF || len(b.pps) > 0xFFFF {
		return frame{}, fmt.Errorf("%w: keyframe without parameter sets", errPayload)
	}
	f.width, f.height, f.private = width, height, avcConfig(b.sps, b.pps)
	return f, nil
}

// avcConfig is the AVCDecoderConfigurationRecord (ISO/IEC 14496-15, 5.3.3).
func avcConfig(sps, pps []byte) []byte {
	c := []byte{1, sps[1], sps[2], sps[3], 0xFC | 3, 0xE0 | 1} // 4-byte lengths, one SPS
	c = binary.BigEndian.AppendUint16(c, uint16(len(sps)))
	c = append(append(c, sps...), 1)
	c = binary.BigEndian.AppendUint16(c, uint16(len(pps)))
	c = append(c, pps...)
	if highProfile(sps[1]) {
		c = append(c, 0xFC|1, 0xF8, 0xF8, 0) // 4:2:0, 8 bit, no SPS extension: all WebRTC sends
	}
	return c
}

func highProfile(profile byte) bool {
	switch profile {
	case 100, 110, 122, 244, 44, 83, 86, 118, 128:
		return true
	}
	return false
}

// spsDimensions reads the picture's size from a sequence parameter set
// (H.264, 7.3.2.1.1), cropping included.
func spsDimensions(sps []byte) (width, height int, ok bool) {
	if len(sps) < 4 {
		return 0, 0, false
	}
	r := &bitReader{b: bytes.ReplaceAll(sps[4:], []byte{0, 0, 3}, []byte{0, 0})} // emulation prevention
	r.prefixed()                                                                 // seq_parameter_set_id
	chroma := uint32(1)
	if highProfile(sps[1]) {
		if chroma = r.prefixed(); chroma == 3 {
			r.flag()
		}
		r.prefixed() // bit depths
		r.prefixed()
		r.flag()
		if r.flag() { // scaling lists: nobody sends them over WebRTC
			return 0, 0, false
		}
	}
	r.prefixed() // log2_max_frame_num_minus4
	switch r.prefixed() {
	case 0:
		r.prefixed()
	case 1:
		r.flag()
		r.signed()
		r.signed()
		for n := min(r.prefixed(), 255); n > 0; n-- {
			r.signed()
		}
	}
	r.prefixed() // max_num_ref_frames
	r.flag()
	wide, high := int(r.prefixed())+1, int(r.prefixed())+1
	fields := 2
	if r.flag() { // frame_mbs_only_flag
		fields = 1
	} else {
		r.flag()
	}
	r.flag() // direct_8x8_inference_flag
	width, height = wide*16, high*16*fields
	if r.flag() {
		left, right, top, bottom := int(r.prefixed()), int(r.prefixed()), int(r.prefixed()), int(r.prefixed())
		unitX, unitY := 2, 2*fields // 4:2:0
		if chroma == 0 || chroma == 3 {
			unitX, unitY = 1, fields
		}
		width -= (left + right) * unitX
		height -= (top + bottom) * unitY
	}
	return width, height, !r.over && width > 0 && height > 0 && width <= 16384 && height <= 16384
}
