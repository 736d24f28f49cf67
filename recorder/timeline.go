package recorder

import (
	"math"
	"time"

	"consilium/internal/media"
)

// Bounds of what timeline takes for a clock that stood still.
const (
	arrivalWindow = 2 * time.Second        // the first moment is the earliest seen in it
	holdGap       = 500 * time.Millisecond // a silence that makes it look twice
	holdTime      = time.Second            // how long it looks
	stoodStill    = 300 * time.Millisecond // what a clock that only seems to stand still does not lose
	maxAhead      = 10 * time.Second       // an RTP clock further ahead of arrival has jumped
	maxStray      = 2 * time.Second        // of a sender report's word from arrival
	delayMemory   = 5 * time.Second        // how long a short way is remembered
)

// placed is a frame with its place in the file.
type placed struct {
	frame
	pos time.Duration // file time
	gap string        // reason, when the sender's clock had to be corrected before it
}

// timeline turns RTP time into file time. As long as the sender's RTP clock
// runs, file time is the pure RTP clock; nothing smooths it. A browser whose
// source is replaced, and a program that sends samples, stop that clock while
// they send nothing: then the time that passed here is put in.
//
// A clock that stood still looks like a network that did, until the packets
// the network held back come in a burst, or a sender report says that the clock
// ran on. So after a silence frames are held for a second before the difference
// is believed: it is put in for good.
//
// Another SSRC (another simulcast layer, a source that was replaced) has an
// RTP clock that begins anywhere. Its frames are held as well: until a sender
// report ties it to the same sender's clock as the one before or, after a
// second, by arrival.
type timeline struct {
	rate int64 // Hz

	started bool
	origin  int64         // RTP time of file time 0, moved by every correction
	start   time.Time     // arrival of file time 0, at the least delay seen
	since   time.Time     // arrival of the first frame
	fixed   bool          // the arrival window is over: start is final
	guesses int           // corrections by arrival: what reports said no longer fits exactly
	delay   time.Duration // arrival less file time, the least of late
	last    frame
	lastPos time.Duration // its place

	tie  tie                // of the stream of last
	next media.SenderReport // of another stream; zero Arrival: none

	held    []frame
	heldEnd time.Time
	gap     string
	out     []placed // what push or release returned last
}

// tie is one instant on the sender's clock and in the file.
type tie struct {
	ntp   int64 // ns since 1900
	pos   time.Duration
	known bool
}

func (t *timeline) position(rtp int64) time.Duration {
	ticks := rtp - t.origin
	// Split, so that days of a 90 kHz clock don't overflow.
	return time.Duration(ticks/t.rate)*time.Second + time.Duration(ticks%t.rate)*time.Second/time.Duration(t.rate)
}

// ticks turns a duration into RTP ticks.
func (t *timeline) ticks(d time.Duration) int64 {
	return int64(d/time.Second)*t.rate + int64(d%time.Second)*t.rate/int64(time.Second)
}

// now returns the file time of a frame that would arrive at the instant at and
// was on its way no longer than others lately.
func (t *timeline) now(at time.Time) time.Duration { return at.Sub(t.start) - t.delay }

// push takes the next frame in order of sequence and returns those whose place
// is known. They are valid until push, report or release is called again.
func (t *timeline) push(f frame) []placed {
	if !t.started {
		t.started, t.origin, t.start, t.since = true, f.rtp, f.arrival, f.arrival
		t.last = f
		return t.only(t.settle(f))
	}
	if len(t.held) > 0 {
		if f.ssrc == t.held[0].ssrc {
			t.held = append(t.held, f)
			if f.arrival.Before(t.heldEnd) {
				return nil
			}
			return t.release()
		}
		return append(t.release(), t.push(f)...)
	}
	if f.ssrc != t.last.ssrc {
		t.hold(f)
		if t.next.SSRC == f.ssrc && t.bridge(t.next) {
			return t.settleHeld()
		}
		return nil
	}
	passed := f.arrival.Sub(t.last.arrival)
	played := t.position(f.rtp) - t.lastPos
	switch {
	case played < 0 || played-max(passed, 0) > maxAhead:
		// The clock jumped: believe the time that passed here.
		t.guess(max(passed, 0) - played)
	case passed >= holdGap && passed-played >= holdGap:
		t.hold(f)
		return nil
	}
	return t.only(t.settle(f))
}

// hold keeps f, and what follows it, for a while.
func (t *timeline) hold(f frame) {
	t.held = append(t.held, f)
	t.heldEnd = f.arrival.Add(holdTime)
}

// due is when held frames should be asked for; zero if none are held.
func (t *timeline) due() time.Time {
	if len(t.held) == 0 {
		return time.Time{}
	}
	return t.heldEnd
}

func (t *timeline) only(p placed) []placed {
	t.out = append(t.out[:0], p)
	return t.out
}

// report takes a sender report. It returns frames as push does, when the
// report ties a new stream to the one before, and the file time of its RTP
// timestamp, when it is about the stream of the frames placed last.
func (t *timeline) report(r media.SenderReport) (frames []placed, pos time.Duration, ok bool) {
	if !t.started || r.NTP == 0 {
		return nil, 0, false
	}
	if r.SSRC != 0 && r.SSRC != t.last.ssrc {
		t.next = r
		if len(t.held) == 0 || t.held[0].ssrc != r.SSRC || !t.bridge(r) {
			return nil, 0, false
		}
		frames = t.settleHeld()
	}
	if len(t.held) > 0 {
		if !t.ranOn(r) {
			return nil, 0, false // not sure what the clock did
		}
		frames = t.settleHeld()
	}
	pos = t.position(nearest(t.last.rtp, r.RTP))
	t.tie = tie{ntp: ntpNanoseconds(r.NTP), pos: pos, known: true}
	return frames, pos, true
}

// ranOn reports whether r, which came while frames are held after a silence,
// says that their clock has run since the last report: the network stood still,
// and does so yet. How long a clock stood that did not run is left to arrival.
func (t *timeline) ranOn(r media.SenderReport) bool {
	first := t.held[0]
	if !t.tie.known || first.ssrc != t.last.ssrc || nearest(first.rtp, r.RTP) < first.rtp {
		return false
	}
	passed := time.Duration(ntpNanoseconds(r.NTP) - t.tie.ntp)
	stood := passed - (t.position(nearest(first.rtp, r.RTP)) - t.tie.pos)
	return stood.Abs() < stoodStill
}

// nearest returns the unwrapped form of an RTP timestamp that is nearest to
// another one.
func nearest(to int64, rtp uint32) int64 { return to + int64(int32(rtp-uint32(to))) }

// bridge moves the origin so that the held frames, of a new stream, follow the
// old one as r, a report about the new one, says. It reports false, and moves
// nothing, if nothing ties the old one or if arrival contradicts.
func (t *timeline) bridge(r media.SenderReport) bool {
	if !t.tie.known {
		return false
	}
	want := t.tie.pos + time.Duration(ntpNanoseconds(r.NTP)-t.tie.ntp)
	first := t.held[0]
	move := want - t.position(nearest(first.rtp, r.RTP))
	pos := t.position(first.rtp) + move
	if stray := pos - t.now(first.arrival); stray < -maxStray || stray > maxStray || pos < t.lastPos {
		return false
	}
	t.origin -= t.ticks(move)
	t.tie = tie{ntp: ntpNanoseconds(r.NTP), pos: want, known: true}
	return true
}

// release decides about the held frames and returns them, as push does.
func (t *timeline) release() []placed {
	if len(t.held) == 0 {
		return nil
	}
	// How much later than before the gap the frames are, at best.
	late := time.Duration(math.MaxInt64)
	for _, f := range t.held {
		late = min(late, t.now(f.arrival)-t.position(f.rtp))
	}
	if t.held[0].ssrc != t.last.ssrc {
		t.guess(max(late, t.lastPos-t.position(t.held[0].rtp)))
		t.tie = tie{}
	} else if late >= stoodStill {
		t.guess(late)
	}
	return t.settleHeld()
}

// settleHeld gives the held frames their places.
func (t *timeline) settleHeld() []placed {
	out := make([]placed, 0, len(t.held))
	t.last.ssrc = t.held[0].ssrc
	for _, f := range t.held {
		passed, played := max(f.arrival.Sub(t.last.arrival), 0), t.position(f.rtp)-t.lastPos
		if played < 0 || played > passed+maxAhead {
			t.guess(passed - played)
		}
		out = append(out, t.settle(f))
	}
	t.held = nil
	return out
}

// guess moves what follows by d, because arrival says so.
func (t *timeline) guess(d time.Duration) {
	t.origin -= t.ticks(d)
	t.gap, t.guesses = GapClock, t.guesses+1
}

// settle gives f its place and learns from its arrival.
func (t *timeline) settle(f frame) placed {
	// Corrections are whole ticks: one may come out a tick too early.
	p := placed{frame: f, pos: max(t.position(f.rtp), t.lastPos), gap: t.gap}
	delay := f.arrival.Sub(t.start) - p.pos
	if !t.fixed && f.arrival.Sub(t.since) <= arrivalWindow {
		if delay < 0 {
			t.start, t.delay, delay = t.start.Add(delay), 0, 0
		}
	} else {
		t.fixed = true
	}
	// The least delay of late: it falls at once and rises slowly, so that it
	// follows two clocks that drift apart, and a longer way.
	passed := min(max(f.arrival.Sub(t.last.arrival), 0), delayMemory)
	t.delay = min(t.delay+time.Duration(float64(delay-t.delay)*passed.Seconds()/delayMemory.Seconds()), delay)
	t.gap, t.last, t.lastPos = "", f, p.pos
	return p
}
