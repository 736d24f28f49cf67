package sfu

import (
	"time"

	"github.com/pion/rtp"

	"consilium/internal/codec"
	"consilium/internal/media"
)

// rewriter turns the packets of changing sources into one RTP stream without
// seams: sequence numbers, timestamps and VP8 picture ids go on where the last
// source stopped. It is pure: no clock, no output, no lock.
//
// Packets lost on the way in leave a hole, so that a late one finds its place
// and the subscriber may ask for it. Packets left out on purpose leave none.
//
// The stream is a list of segments. In each the difference between source and
// output is constant, so that a late packet, or an output number a subscriber
// asks for, is mapped by finding its segment.
type rewriter struct {
	clockRate uint32

	segments [segmentHistory]segment // a ring; the newest is at count-1
	count    int64

	fresh     bool  // the next packet begins a segment
	highestIn int64 // of the current source, 0 when nothing of it was forwarded
	skipped   int64 // highest of the current source that was left out

	started  bool
	sequence int64 // highest output sequence, unwrapped
	time     uint32
	timeAt   time.Time // arrival of the packet with that timestamp
	picture  uint16    // highest output picture id
	tl0      uint8
}

// segment is a stretch of the source, from a sequence number to the next
// segment's.
type segment struct {
	from    int64
	dropped bool  // left out: it has no output
	shift   int64 // output = source + shift
	time    uint32
	picture uint16
	tl0     uint8
}

// newRewriter begins at a given sequence number and timestamp, which should be
// random (RFC 3550, 5.1).
func newRewriter(clockRate uint32, sequence uint16, timestamp uint32) rewriter {
	return rewriter{clockRate: clockRate, fresh: true, sequence: 1<<16 + int64(sequence), time: timestamp}
}

// switchSource forgets the source: the next packet may be anything. Late
// packets of the old source have no place any more.
func (r *rewriter) switchSource() {
	r.count, r.highestIn, r.skipped, r.fresh = 0, 0, 0, true
}

// skip says that a packet of the source is left out on purpose.
func (r *rewriter) skip(sequence int64) {
	r.skipped = max(r.skipped, sequence)
	if r.fresh || sequence <= r.highestIn {
		return // before the start, or a hole that stays one
	}
	r.push(segment{from: r.highestIn + 1, dropped: true})
	r.fresh = true
}

// leaveOut says that one packet of a source that goes on will never come. It
// leaves no hole if nothing after it was forwarded.
func (r *rewriter) leaveOut(sequence int64) {
	if r.fresh || sequence != r.highestIn+1 {
		return
	}
	r.highestIn = sequence
	if s := r.current(); s.from == sequence { // nothing came since the last one
		s.from, s.shift = sequence+1, s.shift-1
		return
	}
	s := *r.current()
	r.push(segment{from: sequence, dropped: true})
	s.from, s.shift = sequence+1, s.shift-1
	r.push(s)
}

// leaveOutBefore leaves out all that is missing before sequence.
func (r *rewriter) leaveOutBefore(sequence int64) {
	for !r.fresh && r.highestIn+1 < sequence {
		r.leaveOut(r.highestIn + 1)
	}
}

// current is the newest segment.
func (r *rewriter) current() *segment { return &r.segments[(r.count-1)%segmentHistory] }

func (r *rewriter) push(s segment) {
	r.count++
	*r.current() = s
}

// find returns the segment of a source sequence number, or nil.
func (r *rewriter) find(sequence int64) *segment {
	for i := r.count - 1; i >= 0 && i > r.count-1-segmentHistory; i-- {
		if s := &r.segments[i%segmentHistory]; s.from <= sequence {
			return s
		}
	}
	return nil
}

// breaks reports whether p comes after so large a hole that the stream has to
// begin anew.
func (r *rewriter) breaks(p *media.Packet) bool {
	return !r.fresh && p.Sequence-r.highestIn > maxGap
}

// forward places a packet in the stream. It returns the segment by which to
// rewrite it, or nil when it has no place: it is late and belongs to what was
// left out or to a time before the source was taken.
func (r *rewriter) forward(p *media.Packet) *segment {
	if r.breaks(p) {
		r.skip(p.Sequence - 1)
	}
	if p.Sequence <= r.highestIn {
		return r.late(p.Sequence)
	}
	if r.fresh {
		// A keyframe's first packet may come after its second, which was left
		// out; anything else below what was left out is late.
		if p.Sequence <= r.skipped && !p.Keyframe {
			return nil
		}
		r.begin(p)
	}
	s := r.current()
	r.highestIn = p.Sequence
	r.sequence = p.Sequence + s.shift
	if ts := p.Header.Timestamp + s.time; int32(ts-r.time) > 0 || !r.started {
		r.time, r.timeAt = ts, p.Arrival
	}
	r.started = true
	return s
}

// late returns the segment of a packet that came after its successors.
func (r *rewriter) late(sequence int64) *segment {
	s := r.find(sequence)
	if s == nil || s.dropped {
		return nil
	}
	return s
}

// begin opens a segment with p as its first packet.
func (r *rewriter) begin(p *media.Packet) {
	s := segment{from: p.Sequence, shift: r.sequence + 1 - p.Sequence}
	switch {
	case r.highestIn != 0: // the same source goes on: its clock is still right
		prev := r.lastKept()
		s.time = prev.time
	case r.started:
		s.time = r.time + r.elapsed(p.Arrival) - p.Header.Timestamp
	default:
		s.time = r.time - p.Header.Timestamp
	}
	if d, err := codec.ParseVP8(p.Payload); err == nil {
		s.picture = r.picture + 1 - d.PictureID
		s.tl0 = r.tl0 + 1 - d.TL0
	}
	r.push(s)
	r.fresh = false
}

// lastKept is the newest segment that was not left out. There is one: a source
// that has sent something has begun with one.
func (r *rewriter) lastKept() *segment {
	for i := r.count - 1; i > r.count-1-segmentHistory && i >= 0; i-- {
		if s := &r.segments[i%segmentHistory]; !s.dropped {
			return s
		}
	}
	return &segment{}
}

// elapsed is the time since the last packet in units of the RTP clock, and at
// least a sixtieth of a second.
func (r *rewriter) elapsed(now time.Time) uint32 {
	ticks := now.Sub(r.timeAt).Microseconds() * int64(r.clockRate) / 1_000_000
	return uint32(max(ticks, int64(r.clockRate)/60))
}

// timestamp maps an RTP timestamp of the current source; false when it has
// sent nothing yet.
func (r *rewriter) timestamp(source uint32) (uint32, bool) {
	if r.highestIn == 0 || r.count == 0 {
		return 0, false
	}
	return source + r.lastKept().time, true
}

// source maps an output sequence number a subscriber asks for to the source's;
// nil when it is unknown or too old.
func (r *rewriter) source(output uint16) (int64, *segment) {
	long := r.sequence - int64(uint16(r.sequence)-output)
	end := r.highestIn + 1 // source sequence at which the segment ends
	for i := r.count - 1; i >= 0 && i > r.count-1-segmentHistory; i-- {
		s := &r.segments[i%segmentHistory]
		if in := long - s.shift; !s.dropped && in >= s.from && in < end {
			return in, s
		}
		end = s.from
	}
	return 0, nil
}

// apply writes sequence number and timestamp of p, by its segment, to h.
func (s *segment) apply(h *rtp.Header, p *media.Packet) {
	h.SequenceNumber = uint16(p.Sequence + s.shift)
	h.Timestamp = p.Header.Timestamp + s.time
	h.Marker = p.Header.Marker
}

// vp8 returns the payload of p with its picture id and TL0PICIDX moved on by
// its segment. It is built in scratch when there is anything to change.
func (r *rewriter) vp8(s *segment, p *media.Packet, scratch []byte) []byte {
	d, err := codec.ParseVP8(p.Payload)
	if err != nil || !d.HasPictureID && !d.HasTL0 {
		return p.Payload
	}
	id := d.PictureID + s.picture
	if d.HasPictureID && !d.LongID { // 7 bits: the id nearest to the last one
		id = r.picture + uint16(int16((id-r.picture)<<9)>>9)
	}
	d.PictureID = id & 0x7FFF
	d.TL0 += s.tl0
	return append(d.AppendTo(scratch[:0]), p.Payload[d.Size:]...)
}

// notePicture remembers the highest picture id and TL0PICIDX sent.
func (r *rewriter) notePicture(payload []byte) {
	d, err := codec.ParseVP8(payload)
	if err != nil {
		return
	}
	if d.HasPictureID && int16(d.PictureID<<1-r.picture<<1) > 0 {
		r.picture = d.PictureID
	}
	if d.HasTL0 && int8(d.TL0-r.tl0) > 0 {
		r.tl0 = d.TL0
	}
}
