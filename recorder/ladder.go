package recorder

import (
	"time"

	"consilium/internal/event"
)

// steadyAfter is how long a segment must be written without a failure for the
// failures before it to be forgotten.
const steadyAfter = time.Minute

// obey does what the state of the disk demands of a track: it gives up a file
// whose contents could not be made durable, ends the segment of a medium that
// is not recorded any more for want of space, and lets a track that was
// withheld begin as if it had never failed. It ends the alarm of a track that
// is recorded again. It belongs to the track's goroutine.
func (k *track) obey(now time.Time) {
	if k.out == nil {
		if code, _ := k.forbidden(); k.withheld && code == "" {
			k.withheld, k.failures, k.retryAt = false, 0, time.Time{}
		}
		return
	}
	if err := k.out.syncError(); err != nil {
		k.failed(err)
		return
	}
	if s := k.recording.recorder.volume.get(); !s.records(k.Kind) {
		k.out.segment.Error = event.DiskFull
		k.closeSegment()
		k.withhold(event.DiskFull, s.words())
		return
	}
	if k.failures > 0 && now.Sub(k.out.since) >= steadyAfter {
		k.failures = 0
	}
	if k.out.spool.written > 0 && k.alarmed.Swap(false) {
		k.announced = true
		k.announce(true)
	}
}

// forbidden says why no segment of the track may begin; "" if one may. What is
// being written goes on until it fails itself.
func (k *track) forbidden() (event.Code, string) {
	s := k.recording.recorder.volume.get()
	switch {
	case s.Err != nil:
		return codeOf(s.Err), s.words()
	case !s.records(k.Kind):
		return event.DiskFull, s.words()
	default:
		return "", ""
	}
}

// mayOpen reports whether a segment may begin; if not, the track is withheld.
func (k *track) mayOpen() bool {
	code, why := k.forbidden()
	if code != "" {
		k.withhold(code, why)
	}
	return code == ""
}

// withhold keeps a track from being recorded until the disk is well, and says
// so unless the alarm of the failure that led here stands.
func (k *track) withhold(code event.Code, why string) {
	k.withheld = true
	if k.alarmed.Swap(true) {
		return
	}
	k.recording.recorder.log.Error("track is not recorded", "call", k.recording.call.ID, "track", k.ID, "reason", why)
	k.recording.fail(k.Track, code, why)
}
