package recorder

import "time"

// Bounds of what timeline takes for a clock that stood still.
const (
	arrivalWindow = 2 * time.Second        // the first moment is the earliest seen in it
	holdGap       = 500 * time.Millisecond // a silence that makes it look twice
	holdTime      = time.Second            // how long it looks
	maxAhead      = 10 * time.Second       // an RTP clock further ahead of arrival has jumped
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
// the network held back come in a burst. So after a silence frames are held
// for a second before the difference is believed.
type timeline struct {
	rate int64 // Hz

	started bool
	origin  int64         // RTP time of file time 0, moved by every correction
	start   time.Time     // arrival of file time 0, at the least delay seen
	since   time.Time     // arrival of the first frame
	fixed   bool          // the arrival window is over: start is final
	moved   bool          // a correction was made: sender reports no longer apply
	delay   time.Duration // arrival less file time, recently
	last    frame

	held    []frame
	heldEnd time.Time
	gap     string
	out     []placed // what push or release returned last
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

// push takes the next frame in order of sequence and returns those whose place
// is known. They are valid until push or release is called again.
func (t *timeline) push(f frame) []placed {
	if !t.started {
		t.started, t.origin, t.start, t.since = true, f.rtp, f.arrival, f.arrival
		t.last = f
		return t.only(t.settle(f))
	}
	if len(t.held) > 0 {
		t.held = append(t.held, f)
		if f.arrival.Before(t.heldEnd) {
			return nil
		}
		return t.release()
	}
	passed := f.arrival.Sub(t.last.arrival)
	played := t.position(f.rtp) - t.position(t.last.rtp)
	switch {
	case played < 0 || played-max(passed, 0) > maxAhead:
		// The clock jumped: believe the time that passed here.
		t.shift(max(passed, 0) - played)
	case passed >= holdGap && passed-played >= holdGap:
		t.held = append(t.held, f)
		t.heldEnd = f.arrival.Add(holdTime)
		return nil
	}
	return t.only(t.settle(f))
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

// release decides about the held frames and returns them, as push does.
func (t *timeline) release() []placed {
	if len(t.held) == 0 {
		return nil
	}
	// How much later than before the gap the frames are, at best.
	late := time.Duration(1<<63 - 1)
	for _, f := range t.held {
		late = min(late, f.arrival.Sub(t.start)-t.position(f.rtp)-t.delay)
	}
	if late >= holdGap*3/5 {
		t.shift(late)
	}
	out := make([]placed, 0, len(t.held))
	for _, f := range t.held {
		if played := t.position(f.rtp) - t.position(t.last.rtp); played < 0 || played > t.last.since(f)+maxAhead {
			t.shift(t.last.since(f) - played)
		}
		out = append(out, t.settle(f))
	}
	t.held = nil
	return out
}

// since is the time between the arrivals of two frames.
func (f frame) since(next frame) time.Duration { return max(next.arrival.Sub(f.arrival), 0) }

// shift moves what follows by d.
func (t *timeline) shift(d time.Duration) {
	t.origin -= t.ticks(d)
	t.gap, t.moved = GapClock, true
}

// settle gives f its place and learns from its arrival.
func (t *timeline) settle(f frame) placed {
	p := placed{frame: f, pos: t.position(f.rtp), gap: t.gap}
	delay := f.arrival.Sub(t.start) - p.pos
	if !t.fixed && f.arrival.Sub(t.since) <= arrivalWindow {
		if delay < 0 {
			t.start, t.delay, delay = t.start.Add(delay), 0, 0
		}
	} else {
		t.fixed = true
	}
	// A slow average: what matters is a step of half a second.
	t.delay += (delay - t.delay) / 32
	t.gap, t.last = "", f
	return p
}
