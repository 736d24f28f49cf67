package recorder

import (
	"bytes"
	"fmt"

	"github.com/pion/rtp/codecs"
	"github.com/pion/rtp/codecs/av1/obu"
)

// av1Builder makes temporal units in the low-overhead format without temporal
// delimiters, as Matroska wants them, of RTP payloads (AV1 RTP specification).
type av1Builder struct {
	depacketizer codecs.AV1Depacketizer
	data         []byte
}

func (b *av1Builder) reset() {
	b.data = nil
	b.depacketizer = codecs.AV1Depacketizer{}
}

func (b *av1Builder) add(payload []byte) error {
	data, err := b.depacketizer.Unmarshal(payload)
	if err != nil {
		return fmt.Errorf("AV1 payload: %w", err)
	}
	b.data = append(b.data, data...)
	return nil
}

func (b *av1Builder) finish() (frame, error) {
	f := frame{data: b.data}
	b.data = nil
	for rest := f.data; len(rest) > 0; {
		unit, body, err := nextOBU(rest)
		if err != nil {
			return frame{}, err
		}
		if obu.Type(unit[0]>>3&0x0F) == obu.OBUSequenceHeader && !f.keyframe {
			s, ok := parseSequenceHeader(body)
			if !ok {
				return frame{}, fmt.Errorf("%w: sequence header", errPayload)
			}
			f.keyframe, f.width, f.height = true, s.width, s.height
			f.private = append(s.config(), unit...)
		}
		rest = rest[len(unit):]
	}
	return f, nil
}

// nextOBU returns the first OBU, which has a size field, and its body.
func nextOBU(b []byte) (unit, body []byte, err error) {
	header, err := obu.ParseOBUHeader(b)
	if err != nil || !header.HasSizeField {
		return nil, nil, errPayload
	}
	start := header.Size()
	size, n, err := obu.ReadLeb128(b[start:])
	if err != nil {
		return nil, nil, fmt.Errorf("AV1 OBU: %w", err)
	}
	start += int(n)
	if uint64(size) > uint64(len(b)-start) {
		return nil, nil, errPayload
	}
	end := start + int(size)
	return bytes.Clone(b[:end]), b[start:end], nil
}

// sequenceHeader is what av1C repeats of an AV1 sequence header.
type sequenceHeader struct {
	profile, level, tier       uint32
	highDepth, twelveBit, mono bool
	subsampleX, subsampleY     bool
	samplePosition             uint32
	width, height              int
	decoderModel               bool
	delayLength                int // bits
}

// config is the AV1CodecConfigurationRecord without its OBUs (AV1 in ISO BMFF,
// 2.3.3).
func (s sequenceHeader) config() []byte {
	bit := func(b bool, shift int) byte {
		if b {
			return 1 << shift
		}
		return 0
	}
	return []byte{
		0x81,
		byte(s.profile<<5 | s.level),
		byte(s.tier<<7) | bit(s.highDepth, 6) | bit(s.twelveBit, 5) | bit(s.mono, 4) |
			bit(s.subsampleX, 3) | bit(s.subsampleY, 2) | byte(s.samplePosition),
		0,
	}
}

// parseSequenceHeader reads a sequence_header_obu (AV1, 5.5.1).
func parseSequenceHeader(b []byte) (sequenceHeader, bool) {
	var s sequenceHeader
	r := &bitReader{b: b}
	s.profile = r.bits(3)
	r.flag()      // still_picture
	if r.flag() { // reduced_still_picture_header: not video
		return s, false
	}
	s.timing(r)
	s.operatingPoints(r)
	widthBits, heightBits := int(r.bits(4))+1, int(r.bits(4))+1
	s.width, s.height = int(r.bits(widthBits))+1, int(r.bits(heightBits))+1
	if r.flag() { // frame_id_numbers_present_flag
		r.bits(4 + 3)
	}
	r.bits(3)     // superblocks, filter intra, intra edge filter
	r.bits(4)     // interintra, masked, warped, dual filter
	if r.flag() { // enable_order_hint
		r.bits(2)
		s.screenTools(r)
		r.bits(3)
	} else {
		s.screenTools(r)
	}
	r.bits(3) // superres, cdef, restoration
	s.color(r)
	return s, !r.over && s.profile <= 2
}

func (s *sequenceHeader) timing(r *bitReader) {
	if !r.flag() { // timing_info_present_flag
		return
	}
	r.bits(32)
	r.bits(32)
	if r.flag() { // equal_picture_interval
		r.prefixed()
	}
	if s.decoderModel = r.flag(); s.decoderModel {
		s.delayLength = int(r.bits(5)) + 1
		r.bits(32)
		r.bits(10)
	}
}

func (s *sequenceHeader) operatingPoints(r *bitReader) {
	display := r.flag()
	for i := range int(r.bits(5)) + 1 {
		r.bits(12)
		level, tier := r.bits(5), uint32(0)
		if level > 7 {
			tier = r.bits(1)
		}
		if i == 0 {
			s.level, s.tier = level, tier
		}
		if s.decoderModel && r.flag() {
			r.bits(s.delayLength)
			r.bits(s.delayLength)
			r.flag()
		}
		if display && r.flag() {
			r.bits(4)
		}
	}
}

// screenTools reads jnt_comp and ref_frame_mvs when order hints are on (two
// bits, read by the caller) and then the screen content tools.
func (s *sequenceHeader) screenTools(r *bitReader) {
	force := uint32(2)
	if !r.flag() { // seq_choose_screen_content_tools
		force = r.bits(1)
	}
	if force > 0 && !r.flag() { // seq_choose_integer_mv
		r.flag()
	}
}

func (s *sequenceHeader) color(r *bitReader) {
	s.highDepth = r.flag()
	if s.profile == 2 && s.highDepth {
		s.twelveBit = r.flag()
	}
	if s.profile != 1 {
		s.mono = r.flag()
	}
	identity := false
	if r.flag() { // color_description_present_flag
		primaries, transfer, matrix := r.bits(8), r.bits(8), r.bits(8)
		identity = primaries == 1 && transfer == 13 && matrix == 0 // sRGB
	}
	switch {
	case s.mono:
		r.flag()
		s.subsampleX, s.subsampleY = true, true
	case identity:
	default:
		r.flag() // color_range
		s.subsampling(r)
	}
}

func (s *sequenceHeader) subsampling(r *bitReader) {
	switch s.profile {
	case 0:
		s.subsampleX, s.subsampleY = true, true
	case 2:
		s.subsampleX = true
		if s.twelveBit {
			if s.subsampleX = r.flag(); s.subsampleX {
				s.subsampleY = r.flag()
			}
		}
	}
	if s.subsampleX && s.subsampleY {
		s.samplePosition = r.bits(2)
	}
}
