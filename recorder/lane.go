package recorder

import (
	"errors"
	"fmt"
	"io"
)

// Opener opens a file of a recording for reading, in the clear. Who gets it
// closes it.
type Opener func(file string) (io.ReadSeekCloser, error)

// lane gives the blocks of one kind of an exported file in order of time. At
// its end it returns io.EOF.
type lane interface {
	next() (block, error)
	close()
}

// clipReader reads the blocks of clips one after the other. It holds one file
// open.
type clipReader struct {
	open  Opener
	clips []clip // not done yet

	file   io.Closer // of clips[0]
	blocks *blockReader
	fresh  bool // nothing of clips[0] was returned yet
}

// next returns a block, the clip it belongs to and whether it is its first.
func (r *clipReader) next() (c clip, b block, first bool, err error) {
	for len(r.clips) > 0 {
		c = r.clips[0]
		if r.blocks == nil {
			if err := r.openFile(c.File); err != nil {
				return clip{}, block{}, false, err
			}
		}
		b, err = r.blocks.next()
		if err != nil && !errors.Is(err, io.EOF) {
			return clip{}, block{}, false, fmt.Errorf("read %s: %w", c.File, err)
		}
		if r.blocks.damage > 0 {
			return clip{}, block{}, false, fmt.Errorf("read %s: %w", c.File, ErrDamaged)
		}
		if err != nil || c.SessionMS(float64(b.ms)) >= c.to {
			r.close()
			r.clips = r.clips[1:]
			continue
		}
		if c.SessionMS(float64(b.ms)) < c.from {
			continue
		}
		first, r.fresh = r.fresh, false
		return c, b, first, nil
	}
	return clip{}, block{}, false, io.EOF
}

func (r *clipReader) openFile(name string) error {
	file, err := r.open(name)
	if err != nil {
		return fmt.Errorf("open %s: %w", name, err)
	}
	r.file, r.fresh = file, true
	if r.blocks, err = newBlockReader(file); err != nil {
		r.close()
		return fmt.Errorf("read %s: %w", name, err)
	}
	return nil
}

func (r *clipReader) close() {
	if r.file != nil {
		_ = r.file.Close() // it was only read
	}
	r.file, r.blocks = nil, nil
}

// pictureLane puts pictures on an axis.
type pictureLane struct {
	clipReader
	axis    axis
	track   int64
	needKey bool
	last    int64
}

func (l *pictureLane) next() (block, error) {
	for {
		c, b, first, err := l.clipReader.next()
		if err != nil {
			return block{}, err
		}
		l.needKey = first || l.needKey
		if l.needKey && !b.keyframe {
			continue // the clip begins amid a file
		}
		l.needKey = false
		l.last = max(l.last, l.axis.ms(c.SessionMS(float64(b.ms))))
		b.ms, b.track = l.last, l.track
		return b, nil
	}
}

// soundLane puts sound on an axis, from file time 0 on and without a gap.
type soundLane struct {
	clipReader
	axis  axis
	track int64
	// stamped: blocks carry session time, for a decoder that stretches sound;
	// then only what is between clips is filled.
	stamped bool

	cursor  int64 // end of what was returned, in samples
	held    *block
	heldPos int64 // where the held block belongs, in samples
	fill    bool  // silence goes before the held block
}

func (l *soundLane) next() (block, error) {
	for {
		if l.held == nil {
			c, b, first, err := l.clipReader.next()
			if err != nil {
				return block{}, err
			}
			l.held, l.heldPos = &b, l.axis.samples(c.SessionMS(float64(b.ms)))
			l.fill = first || !l.stamped
		}
		if gap := l.heldPos - l.cursor; l.fill && gap >= opusShortest {
			return l.silence(gap), nil
		}
		b, pos := *l.held, l.cursor
		l.held = nil
		if l.cursor-l.heldPos >= opusRegular {
			continue // the time is taken: clips overlap by rounding
		}
		if l.stamped {
			pos = max(l.heldPos, l.cursor-opusRegular)
		}
		l.cursor = pos + opusDuration(b.data)
		b.ms, b.track = samplesToMS(pos), l.track
		return b, nil
	}
}

// silence returns the longest block of silence that fits into a gap.
func (l *soundLane) silence(gap int64) block {
	length := int64(opusRegular)
	for length > gap {
		length /= 2
	}
	b := block{ms: samplesToMS(l.cursor), keyframe: true, data: opusSilence(length), track: l.track}
	l.cursor += length
	return b
}

// Lengths of Opus packets, in samples at 48 kHz.
const (
	opusShortest = 120 // 2.5 ms
	opusRegular  = 960 // 20 ms
)

// interleaver joins lanes in order of time; at the same time sound comes
// first (RFC 9559 leaves it open, players expect it).
type interleaver struct {
	lanes []lane // sound before pictures
	heads []*block
}

func newInterleaver(lanes ...lane) *interleaver {
	return &interleaver{lanes: lanes, heads: make([]*block, len(lanes))}
}

func (i *interleaver) next() (block, error) {
	best := -1
	for n, l := range i.lanes {
		if i.heads[n] == nil && l != nil {
			b, err := l.next()
			if errors.Is(err, io.EOF) {
				i.lanes[n] = nil
				continue
			}
			if err != nil {
				return block{}, err
			}
			i.heads[n] = &b
		}
		if h := i.heads[n]; h != nil && (best < 0 || h.ms < i.heads[best].ms) {
			best = n
		}
	}
	if best < 0 {
		return block{}, io.EOF
	}
	b := *i.heads[best]
	i.heads[best] = nil
	return b, nil
}

func (i *interleaver) close() {
	for _, l := range i.lanes {
		if l != nil {
			l.close()
		}
	}
}
