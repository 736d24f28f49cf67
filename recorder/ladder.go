package recorder

import (
	"errors"
	"syscall"
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
		k.out.spool.err = err // what waits is not written any more
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

// finaliseTries is how often a file is finalised while the disk fails. Before
// each try the disk must have been found well.
const finaliseTries = 3

// finalise makes the final file of a segment and removes its spool, as soon as
// there is space for it besides what running calls need, and again when the
// disk failed at it. The spool is safe meanwhile; what is not done when the
// recorder stops is done at the next start.
func (r *Recorder) finalise(b *book, id, spool string, state State) error {
	for try := 1; ; try++ {
		if info, err := r.root.Stat(spoolPath(id, spool)); err == nil { // else it is said below
			if err := r.volume.room(r.work, r.closing, uint64(info.Size())); err != nil {
				return err
			}
		}
		err := r.finaliseNow(b, id, spool, state)
		if err == nil || try >= r.tries || !diskFailed(err) {
			return err
		}
		r.log.Warn("segment not finalised, trying again", "call", id, "file", spool, "error", err)
		r.volume.full()
		if err := r.volume.measured(r.work, r.closing); err != nil {
			return err
		}
	}
}

// diskFailed reports whether an error may be gone when the disk is well again.
func diskFailed(err error) bool {
	return codeOf(err) == event.DiskFull || errors.Is(err, syscall.EROFS) || errors.Is(err, syscall.EIO)
}
