package recorder

import (
	"time"

	"consilium/internal/event"
)

// noteStep is the least step of the server's wall clock that is noted: NTP
// corrects smaller ones all the time.
const noteStep = time.Second

// wallClock watches the server's wall clock for steps. Nothing in a recording
// hangs on it: session time is monotonic. But who compares the recording with
// other records of the day must know.
type wallClock struct{ last time.Time }

// stepped returns by how much the wall clock was set since it was last asked;
// zero if it just went on.
func (c *wallClock) stepped(now time.Time) time.Duration {
	last := c.last
	c.last = now
	if last.IsZero() {
		return 0
	}
	// Round(0) takes the monotonic reading off; Sub uses it where it can.
	step := now.Round(0).Sub(last.Round(0)) - now.Sub(last)
	if step.Abs() < noteStep {
		return 0
	}
	return step
}

// noteClock enters a step of the wall clock into every recording.
func (r *Recorder) noteClock(step time.Duration) {
	if step == 0 {
		return
	}
	r.log.Warn("the server's wall clock was set", "step", step)
	for _, c := range r.calls() {
		if c.recording != nil {
			c.recording.Note(event.Event{
				Type: event.NoteClock, Time: time.Now(), Data: map[string]any{"step_ms": step.Milliseconds()},
			})
		}
	}
}
