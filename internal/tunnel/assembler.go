package tunnel

import (
	"time"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"

	"consilium/internal/codec"
	"consilium/internal/seq"
)

const (
	// gapPatience is how long a frame waits for a packet that is missing: the
	// publisher repeats it to the server, which passes it on late.
	gapPatience = 250 * time.Millisecond
	// maxHeld bounds the packets that wait for one before them.
	maxHeld = 1024
)

// assembler makes frames of the RTP packets of one m-line of video. Between the
// SFU and the peer nothing is lost, so what is missing has got lost at the
// publisher. It has no lock and no clock.
type assembler struct {
	drop func(reason string, n int)

	numbers seq.Unwrapper16
	started bool
	next    int64                 // number of the first packet that is not in a frame
	held    map[int64]*rtp.Packet // from next on
	gapAt   time.Time             // since when next is missing while others wait
	broken  bool                  // until a keyframe
}

func newAssembler(drop func(string, int)) *assembler {
	return &assembler{drop: drop, held: map[int64]*rtp.Packet{}, broken: true}
}

// assembled is a frame, whole.
type assembled struct {
	timestamp uint32
	key       bool
	payload   []byte
}

// add takes a packet, which must not be changed afterwards, and returns the
// frames that are whole now. lost says that a keyframe is needed.
func (a *assembler) add(p *rtp.Packet, c Codec, now time.Time) (frames []assembled, lost bool) {
	number := a.numbers.Unwrap(p.SequenceNumber)
	if !a.started {
		a.started, a.next = true, number
	}
	if number < a.next || len(a.held) >= maxHeld && number != a.next {
		a.drop(dropLate, 1)
	} else {
		a.held[number] = p
	}
	frames = a.whole(c, frames)
	if lost = a.skip(c, now); lost {
		frames = a.whole(c, frames)
	}
	return frames, a.broken
}

// whole appends the frames that are whole.
func (a *assembler) whole(c Codec, frames []assembled) []assembled {
	for {
		end, ok := a.last()
		if !ok {
			return frames
		}
		if f := a.cut(c, end); f.payload != nil {
			frames = append(frames, f)
		}
	}
}

// last returns the number of the last packet of the next frame, if all are here.
func (a *assembler) last() (int64, bool) {
	first := a.held[a.next]
	if first == nil {
		return 0, false
	}
	for n := a.next; ; n++ {
		p := a.held[n]
		switch {
		case p == nil:
			return 0, false
		case p.Timestamp != first.Timestamp: // the frame had no marker
			return n - 1, true
		case p.Marker:
			return n, true
		}
	}
}

// cut takes the next frame, to the packet end, off the packets. Its payload is
// nil if it is of no use.
func (a *assembler) cut(c Codec, end int64) assembled {
	first := a.held[a.next]
	f := assembled{timestamp: first.Timestamp}
	start := codec.StartOf(c.Name(), first.Payload)
	f.key = start == codec.Key
	good := true
	depacketizer := newDepacketizer(c)
	for ; a.next <= end; a.next++ {
		part, err := depacketizer.Unmarshal(a.held[a.next].Payload)
		delete(a.held, a.next)
		good = good && err == nil
		f.payload = append(f.payload, part...)
	}
	a.broken = a.broken && !f.key
	switch {
	case !good || start == codec.Middle || len(f.payload) == 0:
		a.broken = true
		a.drop(dropIncomplete, 1)
		f.payload = nil
	case a.broken:
		a.drop(dropNoKeyframe, 1)
		f.payload = nil
	case len(f.payload) > MaxPayload:
		a.broken = true
		a.drop(dropTooLarge, 1)
		f.payload = nil
	}
	return f
}

// skip gives up a gap that has lasted too long, and reports whether only a
// keyframe helps now. What is held goes on with its last keyframe, if any.
func (a *assembler) skip(c Codec, now time.Time) bool {
	highest, _ := a.numbers.Highest()
	if int64(len(a.held)) == highest-a.next+1 { // none is missing
		a.gapAt = time.Time{}
		return a.broken
	}
	if a.gapAt.IsZero() {
		a.gapAt = now
	}
	if len(a.held) < maxHeld && now.Sub(a.gapAt) <= gapPatience {
		return a.broken
	}
	resume := highest + 1
	for number, p := range a.held {
		if codec.StartOf(c.Name(), p.Payload) == codec.Key && (resume > highest || number > resume) {
			resume = number
		}
	}
	for number := range a.held {
		if number < resume {
			delete(a.held, number)
		}
	}
	a.next, a.broken, a.gapAt = resume, true, time.Time{}
	a.drop(dropIncomplete, 1)
	return true
}

// newDepacketizer strips what a codec's RTP payload format adds.
func newDepacketizer(c Codec) rtp.Depacketizer {
	switch c {
	case VP9:
		return &codecs.VP9Packet{}
	case H264:
		return &codecs.H264Packet{}
	default:
		return &codecs.VP8Packet{}
	}
}
