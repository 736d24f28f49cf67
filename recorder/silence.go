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
	if w.opened.IsZero() {
		w.opened = now
	}
	due := k.timeline.now(now) - w.lag()
	k.failed(w.fillTo(min(due-w.begin, w.heard+maxGapFill)))
	if k.out != nil && due-w.begin-w.heard > maxGapFill {
		k.closeSegment()
	}
}

// fillUp fills the short silence before the file ends, which goes on to pos on
// the track's timeline.
func (k *track) fillUp(pos time.Duration) {
	if w := k.out; w != nil && w.format.audio() && pos-w.begin-w.end <= silenceLag {
		k.failed(w.fillTo(pos - w.begin))
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

// fillTo puts silence up to a file time, in whole packets.
func (w *segmentWriter) fillTo(pos time.Duration) error {
	if pos <= w.end {
		return nil
	}
	cursor := w.silence.cursor
	err := w.fill(cursor + (w.track.timeline.ticks(pos)-cursor)/960*960)
	w.end = samplesToDuration(w.silence.cursor)
	return err
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
