package recorder

import (
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"time"

	"consilium/internal/event"
	"consilium/internal/media"
)

// track records one published track. The forwarder puts packets into a bounded
// queue; one goroutine takes them out and is the only one that touches the
// rest. When the disk does not keep up the queue fills, packets are dropped
// and counted, and the forwarder notices nothing.
type track struct {
	recording *Recording
	media.Track
	number   int // of the participant, for file names
	keyframe func()

	packets  chan *media.Packet      // written by the forwarder; full: dropped, counted in overflow
	reports  chan media.SenderReport // full: dropped, the next one does as well
	mutes    chan bool               // full: dropped, a gap then has no reason
	overflow atomic.Int64
	stopped  chan struct{} // closed by stop, after ending is set
	stopping atomic.Bool
	ending   end

	live    atomic.Pointer[segmentWriter] // for sync
	alarmed atomic.Bool                   // a recording.failed of the track is not over
	backlog backlog                       // the watcher's own

	// Below: the goroutine's own.
	assembler *assembler
	timeline  timeline
	out       *segmentWriter
	started   time.Time
	muted     bool
	wasMuted  bool // since the last frame
	overflown int64
	asked     time.Time // last keyframe request
	askedAt   time.Time // newest packet at that request
	published time.Time // counters put into the manifest
	pending   []media.SenderReport
	frames    int64
	dropped   int64
	announced bool
	failures  int
	retryAt   time.Time
	withheld  bool // not recorded until the disk is well
}

type end struct {
	reason media.EndReason
	at     time.Time
}

// newTrack returns a track whose assembler is nil if its codec can't be
// recorded.
func newTrack(r *Recording, t media.Track, keyframe func()) *track {
	if keyframe == nil {
		keyframe = func() {}
	}
	k := &track{
		recording: r, Track: t, keyframe: keyframe,
		packets: make(chan *media.Packet, queueSize),
		reports: make(chan media.SenderReport, reportQueue),
		mutes:   make(chan bool, reportQueue),
		stopped: make(chan struct{}),
	}
	if t.Kind == media.Audio && t.ClockRate != opusRate || t.ClockRate == 0 {
		return k
	}
	a, err := newAssembler(t)
	if err != nil {
		return k
	}
	k.assembler, k.timeline.rate = a, int64(t.ClockRate)
	k.started = time.Now()
	return k
}

// WritePacket implements media.Sink.
func (k *track) WritePacket(p *media.Packet) {
	if k.stopping.Load() {
		return
	}
	p.Retain()
	select {
	case k.packets <- p:
	default:
		k.overflow.Add(1)
		p.Release()
	}
}

// WriteSenderReport implements media.Sink.
func (k *track) WriteSenderReport(r media.SenderReport) {
	select {
	case k.reports <- r:
	default:
	}
}

// SetMuted implements media.Sink.
func (k *track) SetMuted(muted bool, _ time.Time) {
	select {
	case k.mutes <- muted:
	default:
	}
}

// End implements media.Sink.
func (k *track) End(reason media.EndReason, at time.Time) { k.stop(reason, at) }

// stop ends the track; only the first call counts.
func (k *track) stop(reason media.EndReason, at time.Time) {
	if k.stopping.Swap(true) {
		return
	}
	k.ending = end{reason, at}
	close(k.stopped)
}

// run is the goroutine of the track.
func (k *track) run() {
	defer k.recording.done(k)
	defer k.finish()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for running := true; running; {
		select {
		case p := <-k.packets:
			k.guard(func() { k.take(p) })
		case r := <-k.reports:
			k.guard(func() { k.report(r) })
		case m := <-k.mutes:
			k.muted = m
			k.wasMuted = k.wasMuted || m
		case <-timer.C:
		case <-k.stopped:
			running = false
		}
		now := time.Now()
		k.guard(func() { k.advance(now) })
		timer.Reset(max(time.Until(k.due(now)), time.Millisecond))
	}
}

// guard keeps a fault in one track from ending every call of the server.
func (k *track) guard(do func()) {
	defer func() {
		if p := recover(); p != nil {
			k.recording.recorder.log.Error("recorder fault", "track", k.ID, "panic", p, "stack", string(debug.Stack()))
			k.failed(fmt.Errorf("fault: %v", p))
		}
	}()
	do()
}

// take puts p, and all that wait behind it, into the assembler.
func (k *track) take(p *media.Packet) {
	k.assembler.push(p)
	for range len(k.packets) {
		k.assembler.push(<-k.packets)
	}
	if n := k.overflow.Load(); n != k.overflown {
		k.overflown = n
		k.assembler.lossReason = GapOverflow
		k.ask(time.Now())
	}
}

// advance writes every frame that is complete and does what time demands.
func (k *track) advance(now time.Time) {
	for {
		f, ok := k.assembler.pop(now)
		if !ok {
			break
		}
		k.write(k.timeline.push(f))
	}
	if due := k.timeline.due(); !due.IsZero() && now.After(due) {
		k.write(k.timeline.release())
	}
	k.takeReports()
	if k.out != nil && len(k.assembler.packets) == 0 && k.timeline.due().IsZero() {
		k.keepUp(now)
	}
	if k.out != nil && !now.Before(k.out.flushAt()) {
		k.failed(k.out.flush())
	}
	k.obey(now)
	if !k.withheld && k.assembler.wantsKeyframe() && k.assembler.newest != k.askedAt && now.Sub(k.asked) >= keyframeRetry {
		k.ask(now)
	}
	if now.Sub(k.published) >= publishPeriod {
		k.publish(now)
	}
}

// due is when advance has something to do without a packet.
func (k *track) due(now time.Time) time.Time {
	due := now.Add(publishPeriod)
	for _, t := range [...]time.Time{k.assembler.due(), k.timeline.due(), k.out.flushAt(), k.out.silentAt()} {
		if !t.IsZero() && t.Before(due) {
			due = t
		}
	}
	return due
}

func (k *track) ask(now time.Time) {
	if k.Kind == media.Video {
		k.asked, k.askedAt = now, k.assembler.newest
		k.keyframe()
	}
}

// report keeps a sender report until file time has begun.
func (k *track) report(r media.SenderReport) {
	if len(k.pending) < reportQueue {
		k.pending = append(k.pending, r)
	}
}

func (k *track) takeReports() {
	if k.out == nil && k.timeline.due().IsZero() {
		return
	}
	for _, r := range k.pending {
		frames, pos, ok := k.timeline.report(r)
		k.write(frames)
		if ok && k.out != nil {
			k.out.report(r, pos)
		}
	}
	k.pending = k.pending[:0]
}

// write puts frames into the current segment, opening and closing segments as
// needed.
func (k *track) write(frames []placed) {
	for _, f := range frames {
		if k.out != nil && k.out.full(f) {
			k.fillUp(f.pos)
			k.closeSegment()
		}
		if k.out == nil && !k.openSegment(f) {
			k.dropped++
			continue
		}
		if err := k.out.write(f, k.wasMuted); err != nil {
			k.dropped++
			k.failed(err)
			continue
		}
		k.frames++
		k.wasMuted = k.muted
		if !k.announced {
			k.announced = true
			k.alarmed.Store(false)
			k.announce(false)
		}
	}
}

// openSegment begins a file with f, if it can begin with it.
func (k *track) openSegment(f placed) bool {
	if !f.keyframe || !k.mayOpen() || k.failures > reopenTries || time.Now().Before(k.retryAt) {
		k.assembler.needKey = k.Kind == media.Video
		return false
	}
	w, err := newSegmentWriter(k, f)
	if err != nil {
		k.failed(err)
		return false
	}
	k.out = w
	k.live.Store(w)
	k.publish(time.Now())
	if err := k.recording.book.saveIfDue(); err != nil {
		// The spool describes itself, so this loses nothing.
		k.recording.recorder.log.Error("manifest not written", "call", k.recording.call.ID, "error", err)
	}
	return true
}

// announce reports that the track is being recorded: a frame was written.
// resumed: it was not for a while, although it should have been.
func (k *track) announce(resumed bool) {
	k.recording.recorder.emit(k.recording.book, event.RecordingStarted, func(e *event.Event) {
		e.Participant, e.Session, e.Track = k.Participant, k.Session, k.ID
		e.Data["source"], e.Data["codec"] = string(k.Source), k.Codec
		if resumed {
			e.Data["resumed"] = true
		}
	})
}

// failed ends a segment that can't be written. Another one is tried later; a
// track gives up after a few.
func (k *track) failed(err error) {
	if err == nil {
		return
	}
	k.failures++
	k.retryAt = time.Now().Add(reopenBackoff << min(k.failures-1, 4))
	k.recording.recorder.log.Error("track not recorded", "call", k.recording.call.ID, "track", k.ID, "error", err)
	if codeOf(err) == event.DiskFull {
		k.recording.recorder.volume.full()
	}
	k.alarmed.Store(true)
	k.recording.fail(k.Track, codeOf(err), reason(err))
	k.assembler.needKey = k.Kind == media.Video
	if k.out != nil {
		k.out.segment.Error = codeOf(err)
	}
	k.closeSegment()
}

// closeSegment ends the current file and has it finalised.
func (k *track) closeSegment() {
	w := k.out
	if w == nil {
		return
	}
	w.segment.Activity = w.loud.result()
	k.publish(time.Now())
	k.out = nil
	k.live.Store(nil)
	r := k.recording
	if err := w.close(); err != nil && w.segment.Error == "" { // else it has been said
		r.book.update(func(m *Manifest) {
			if s := m.segment(w.segment.File); s != nil {
				s.Error = codeOf(err)
			}
		})
		k.failed(err)
	}
	r.wg.Go(func() {
		if err := r.recorder.finalise(r.book, r.call.ID, spoolName(w.segment.File, r.key != nil), Final); err != nil {
			r.recorder.log.Error("segment not finalised, its spool stays", "call", r.call.ID, "file", w.segment.File, "error", err)
			if r.recorder.work.Err() == nil {
				r.fail(k.Track, codeOf(err), reason(err))
			}
		}
	})
}

// finish writes what is left when the track has ended.
func (k *track) finish() {
	k.guard(func() {
		for range len(k.packets) {
			k.assembler.push(<-k.packets)
		}
		for {
			f, ok := k.assembler.flush()
			if !ok {
				break
			}
			k.write(k.timeline.push(f))
		}
		k.write(k.timeline.release())
		k.takeReports()
	})
	k.guard(k.closeSegment)
	k.assembler.close()
	ended := k.recording.sessionMS(k.ending.at)
	k.recording.book.update(func(m *Manifest) {
		t := k.info(k.started)
		t.EndedMS, t.EndReason = &ended, k.ending.reason
		if old := m.track(k.ID); old != nil {
			*old = t
		}
	})
}

// info sums the track up.
func (k *track) info(started time.Time) TrackInfo {
	a := k.assembler
	return TrackInfo{
		Track: k.ID, Participant: k.Participant, Session: k.Session, Source: k.Source, Codec: k.Codec,
		StartedMS: k.recording.sessionMS(started), Packets: a.packetsN, PacketsLost: a.lost,
		Overflowed: k.overflow.Load(), Frames: k.frames, FramesDropped: k.dropped + a.dropped,
	}
}

// publish puts the counters into the manifest, so that a crash loses few.
func (k *track) publish(now time.Time) {
	k.published = now
	k.recording.book.update(func(m *Manifest) {
		if t := m.track(k.ID); t != nil {
			*t = k.info(k.started)
		}
		if k.out == nil {
			return
		}
		s := k.out.snapshot()
		if old := m.segment(s.File); old != nil {
			*old = s
		}
	})
}
