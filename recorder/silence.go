package recorder

import "time"

// While nothing is sent, silence is written that much behind the clock, so
// that also a file that a kill ends lasts as long as the call did. It must not
// take the place of sound that a stalled network will still bring: after so
// long a sender that is not muted has sent nothing.
const (
	muteLag    = time.Second
	silenceLag = 5 * time.Second
	silentTick = time.Second // how often
)

// keepUp fills sound with silence up to a little before now. A file that was
// filled for long enough is closed: the sound that comes next begins another.
func (k *track) keepUp(now time.Time) {
	w := k.out
	if !w.format.audio() || now.Before(w.silentAt()) {
		return
	}
	to := k.timeline.now(now) - w.begin - w.lag()
	if to = min(to, w.heard+maxGapFill); to > w.end {
		if w.opened.IsZero() {
			w.opened = now
		}
		if err := w.fill(k.timeline.ticks(to) / 960 * 960); err != nil {
			k.failed(err)
			return
		}
		w.end = samplesToDuration(w.silence.cursor)
	}
	if w.silentSince(now) > maxGapFill+w.lag() {
		k.closeSegment()
	}
}

// lag is by how much silence is behind the clock.
func (w *segmentWriter) lag() time.Duration {
	if w.track.muted {
		return muteLag
	}
	return silenceLag
}

// silentAt is when keepUp has something to do; zero if never.
func (w *segmentWriter) silentAt() time.Time {
	if w == nil || !w.format.audio() {
		return time.Time{}
	}
	t := &w.track.timeline
	return t.start.Add(t.delay + w.begin + w.end + w.lag() + silentTick)
}

// silentSince is for how long nothing was heard.
func (w *segmentWriter) silentSince(now time.Time) time.Duration {
	return w.track.timeline.now(now) - w.begin - w.heard
}

// fill puts silence between what was written and pos, in samples of file time.
func (w *segmentWriter) fill(pos int64) error {
	var err error
	w.silence.before(pos, func(at int64, packet []byte) bool {
		err = w.writeSound(at, packet)
		return err == nil
	})
	return err
}

// writeSound writes one packet of sound; at is its place in samples.
func (w *segmentWriter) writeSound(at int64, packet []byte) error {
	w.segment.Frames++
	return w.spool.write(block{ms: samplesToMS(at), keyframe: true, data: packet})
}

func samplesToDuration(n int64) time.Duration {
	return time.Duration(n/opusRate)*time.Second + time.Duration(n%opusRate)*time.Second/opusRate
}
