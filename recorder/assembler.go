package recorder

import (
	"cmp"
	"slices"
	"time"

	"consilium/internal/codec"
	"consilium/internal/media"
	"consilium/internal/seq"
)

// frame is one picture or one audio packet, as a decoder wants it.
type frame struct {
	data          []byte
	rtp           int64  // unwrapped RTP timestamp
	ssrc          uint32 // whose RTP clock rtp is
	arrival       time.Time
	keyframe      bool
	width, height int    // of a keyframe, 0 if not known
	private       []byte // CodecPrivate that holds from this keyframe on
	after         string // reason, when packets or frames are missing before it
	level         uint8  // of sound, see media.Packet
	hasLevel      bool
}

// assembler puts packets in order and makes frames of them. It waits for a
// missing packet by time; when it is lost, video is dropped up to the next
// picture that refers to nothing missing, mostly a keyframe, because every
// picture until then would be damaged. It is pure: it starts nothing and asks
// no clock.
//
// An assembler owns the packets given to it until it releases them.
type assembler struct {
	name  string // codec
	wait  time.Duration
	build builder
	time  seq.Unwrapper32

	packets map[int64]*media.Packet
	started bool
	startAt time.Time
	next    int64  // sequence number that comes next
	missing string // reason for what is missing before the next frame
	// lossReason, if set, is the reason for the next loss.
	lossReason string

	inFrame  bool
	complete bool // the packet before next ended a frame
	current  frame
	size     int
	needKey  bool
	unsure   bool // packets are missing; the next picture tells what they were
	picture  pictureState

	lastKey  time.Time // arrival of the last keyframe
	newest   time.Time // arrival of the newest packet
	packetsN int64
	lost     int64
	dropped  int64   // frames not put out
	ready    []frame // two at most
	sound    frameBuffer
}

// builder makes the frames of one codec out of payloads.
type builder interface {
	// add takes the next payload of a frame. An error spoils the frame.
	add(payload []byte) error
	// finish returns the frame and is ready for the next one.
	finish() (frame, error)
	reset()
}

func newAssembler(t media.Track) (*assembler, error) {
	b, err := newBuilder(t)
	if err != nil {
		return nil, err
	}
	a := &assembler{
		name: t.Codec, build: b, wait: videoWait,
		packets: make(map[int64]*media.Packet), needKey: true, sound: frameBuffer{size: audioBlock},
	}
	if t.Kind == media.Audio {
		a.wait, a.needKey = audioWait, false
	}
	return a, nil
}

func (a *assembler) audio() bool { return a.name == media.Opus }

// push takes a packet, with the reference to it.
func (a *assembler) push(p *media.Packet) {
	a.packetsN++
	a.newest = p.Arrival
	if !a.started {
		a.started, a.next, a.startAt = true, p.Sequence, p.Arrival.Add(startDelay)
	}
	if p.Sequence < a.next && a.pristine() && a.next-p.Sequence < reorderSize {
		a.next = p.Sequence // the first packet was not the first
	}
	_, twice := a.packets[p.Sequence]
	if twice || p.Sequence < a.next {
		a.packetsN--
		p.Release()
		return
	}
	a.packets[p.Sequence] = p
}

// pristine reports whether nothing was consumed yet.
func (a *assembler) pristine() bool { return !a.startAt.IsZero() }

// pop returns the next frame, if one is complete at now.
func (a *assembler) pop(now time.Time) (frame, bool) { return a.advance(now, false) }

// flush returns the next frame without waiting for what is missing.
func (a *assembler) flush() (frame, bool) { return a.advance(time.Time{}, true) }

func (a *assembler) advance(now time.Time, flush bool) (frame, bool) {
	if a.pristine() {
		if !flush && now.Before(a.startAt) {
			return frame{}, false
		}
		a.startAt = time.Time{}
	}
	for len(a.ready) == 0 {
		if p, ok := a.packets[a.next]; ok {
			delete(a.packets, a.next)
			a.next++
			a.feed(p)
			p.Release()
			continue
		}
		if len(a.packets) == 0 {
			if flush && a.inFrame {
				a.spoil("") // half a frame is no frame
			}
			return frame{}, false
		}
		if !a.skipHole(now, flush) {
			return frame{}, false
		}
	}
	f := a.ready[0]
	a.ready = slices.Delete(a.ready, 0, 1)
	return f, true
}

// skipHole goes on after missing packets when they are lost, or were none.
func (a *assembler) skipHole(now time.Time, flush bool) bool {
	first := a.lowest()
	if a.complete && !a.inFrame && first.Sequence-a.next < maxPadding && a.picture.follows(a.name, a.nextPayload()) {
		// Only numbers are missing: padding that was lost.
		a.next = first.Sequence
		return true
	}
	if first.Sequence-a.next >= streamJump {
		// The publisher began a new stream (RFC 3550, 8.2): nothing is lost.
		a.next = first.Sequence
		a.spoil("")
		return true
	}
	if !flush && len(a.packets) < reorderSize && now.Before(first.Arrival.Add(a.wait)) {
		return false
	}
	a.lost += first.Sequence - a.next
	a.next = first.Sequence
	a.lose(cmp.Or(a.lossReason, GapLost))
	a.lossReason = ""
	return true
}

// lowest returns the waiting packet with the lowest sequence number.
func (a *assembler) lowest() *media.Packet {
	var low *media.Packet
	for _, p := range a.packets {
		if low == nil || p.Sequence < low.Sequence {
			low = p
		}
	}
	return low
}

// nextPayload returns the payload of the first waiting packet that has one.
func (a *assembler) nextPayload() []byte {
	var low *media.Packet
	for _, p := range a.packets {
		if len(p.Payload) > 0 && (low == nil || p.Sequence < low.Sequence) {
			low = p
		}
	}
	if low == nil {
		return nil
	}
	return low.Payload
}

// due is when a missing packet is given up, or the start is over; zero if
// nothing is waited for.
func (a *assembler) due() time.Time {
	if len(a.packets) == 0 {
		return time.Time{}
	}
	if a.pristine() {
		return a.startAt
	}
	return a.lowest().Arrival.Add(a.wait)
}

// feed takes the next packet in order.
func (a *assembler) feed(p *media.Packet) {
	if len(p.Payload) == 0 {
		return // padding only: it is here, that is all
	}
	rtp := a.time.Unwrap(p.Header.Timestamp)
	if a.audio() {
		a.feedAudio(p, rtp)
		return
	}
	if a.inFrame && rtp != a.current.rtp {
		a.finish() // the marker is only a hint (RFC 3550, 5.1)
	}
	if !a.inFrame {
		if !a.begins(p.Payload) {
			a.complete = p.Header.Marker
			return
		}
		a.inFrame, a.unsure, a.size = true, false, 0
		a.current = frame{rtp: rtp, ssrc: p.Header.SSRC, arrival: p.Arrival}
	}
	a.complete = false
	a.size += len(p.Payload)
	if err := a.build.add(p.Payload); err != nil || a.size > maxFrameSize {
		a.spoil(GapLost)
		return
	}
	if p.Header.Marker {
		a.finish()
	}
}

// begins reports whether a frame that can be decoded begins with payload.
func (a *assembler) begins(payload []byte) bool {
	start := codec.StartOf(a.name, payload)
	a.picture.begin(a.name, payload)
	switch {
	case start == codec.Key:
		return true
	case a.needKey:
	case start == codec.Middle && a.unsure:
		// The rest of a picture whose begin is missing.
		a.picture.spoiled()
		return false
	case start == codec.Middle && !a.complete:
		a.needKey = true
		return false
	default:
		switch a.picture.judge(a.name, payload, a.unsure) {
		case sound:
			return true
		case skip:
			a.unsure = true // it will not be the last one
		case broken:
			a.needKey = true
		}
	}
	if start == codec.Frame {
		a.dropped++
	}
	return false
}

func (a *assembler) feedAudio(p *media.Packet, rtp int64) {
	if opusDuration(p.Payload) == 0 {
		a.dropped++
		return
	}
	a.sound.add(p.Payload)
	a.put(frame{
		data: a.sound.take(), rtp: rtp, ssrc: p.Header.SSRC, arrival: p.Arrival, keyframe: true, level: p.Level, hasLevel: p.HasLevel,
	})
}

// finish ends the current frame.
func (a *assembler) finish() {
	f, err := a.build.finish()
	a.inFrame, a.complete = false, true
	if err != nil || len(f.data) == 0 || (a.needKey && !f.keyframe) {
		a.spoil(GapLost)
		a.complete = true
		return
	}
	f.rtp, f.ssrc, f.arrival = a.current.rtp, a.current.ssrc, a.current.arrival
	a.picture.finished(f.keyframe)
	a.put(f)
}

func (a *assembler) put(f frame) {
	if f.keyframe {
		a.needKey, a.lastKey = false, f.arrival
	}
	f.after, a.missing = a.missing, ""
	a.ready = append(a.ready, f)
}

// spoil drops the current frame; video then needs a keyframe.
func (a *assembler) spoil(reason string) {
	if a.inFrame {
		a.dropped++
	}
	a.build.reset()
	a.inFrame, a.complete, a.unsure, a.picture = false, false, false, pictureState{}
	a.needKey = !a.audio()
	if reason != "" {
		a.missing = reason
	}
}

// lose drops the current frame because packets are missing. Where pictures
// tell what they refer to, the next one decides what can be decoded.
func (a *assembler) lose(reason string) {
	if a.needKey || !a.picture.known {
		a.spoil(reason)
		return
	}
	if a.inFrame {
		a.dropped++
		a.picture.spoiled()
	}
	a.build.reset()
	a.inFrame, a.complete, a.unsure, a.missing = false, false, true, reason
}

// wantsKeyframe reports whether a keyframe should be asked for: none to go on
// from, or the last is so old that damage would last too long.
func (a *assembler) wantsKeyframe() bool {
	if a.audio() || !a.started || a.pristine() {
		return false
	}
	return a.needKey || a.newest.Sub(a.lastKey) >= keyframePeriod
}

// close releases what is left.
func (a *assembler) close() {
	for n, p := range a.packets {
		p.Release()
		delete(a.packets, n)
	}
}
