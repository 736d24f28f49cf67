package recorder

import "io"

// salvage reads the blocks of a spool as they go into the final file: in order
// of time, without what can't be decoded after damage, and with silence where
// sound is missing.
type salvage struct {
	reader     *blockReader
	known      *spoolHeader // for a spool that does not say itself what it holds
	held       *block       // comes after the silence before it
	needKey    bool
	started    bool
	cursor     int64 // ms: end of the last block (audio), its time (video)
	insertedMS int64
	skipped    int64 // blocks that are whole and can't be used
	cut        bool  // after damage: sound may be missing
}

func newSalvage(src io.ReadSeeker, known *spoolHeader) (*salvage, error) {
	r, err := newBlockReader(src)
	if err != nil {
		return nil, err
	}
	return &salvage{reader: r, known: known, needKey: true}, nil
}

// header describes the spool; nil if nobody knows. It is complete after the
// first call of next.
func (s *salvage) header() *spoolHeader {
	if s.reader.header != nil {
		return s.reader.header
	}
	return s.known
}

func (s *salvage) next() (block, error) {
	for {
		if s.held != nil {
			return s.fill(), nil
		}
		b, err := s.reader.next()
		if err != nil {
			return block{}, err
		}
		if s.reader.damaged {
			s.needKey, s.cut = true, true
		}
		if s.header() == nil {
			s.skipped++
			continue // damaged head: the caller finds out
		}
		if s.header().Format.audio() {
			if s.audio(b) {
				continue
			}
			return block{}, io.EOF
		}
		if s.needKey && !b.keyframe || s.started && b.ms < s.cursor {
			s.skipped++
			continue
		}
		s.needKey, s.started, s.cursor = false, true, b.ms
		return b, nil
	}
}

// audio holds b until the gap before it is filled. It reports false when what
// follows can't be right: a clock that damage set far ahead.
func (s *salvage) audio(b block) bool {
	if !s.started {
		s.started, s.cursor = true, b.ms
	}
	if s.cut && b.ms-s.cursor > maxGapFill.Milliseconds() {
		return false
	}
	if b.ms < s.cursor-60 { // time runs back: not from our writer
		return true
	}
	if !s.cut {
		s.cursor = max(s.cursor, b.ms) // the writer has left no gap
	}
	s.held = &b
	return true
}

// fill returns a block of silence if one fits before the held block, or that.
func (s *salvage) fill() block {
	if s.held.ms-s.cursor >= 20 {
		b := block{ms: s.cursor, keyframe: true, data: opusSilence(960)}
		s.cursor += 20
		s.insertedMS += 20
		return b
	}
	b := *s.held
	b.ms = max(b.ms, s.cursor-19)
	s.held, s.cut = nil, false
	s.cursor = b.ms + opusDuration(b.data)/48
	return b
}
