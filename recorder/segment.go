package recorder

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"sync/atomic"
	"syscall"
	"time"
)

// segmentWriter writes one file of a track: it turns frames with a place on
// the track's timeline into the blocks of a spool, fills sound without gaps
// and keeps the books of the segment. It belongs to the track's goroutine, but
// for sync.
type segmentWriter struct {
	track   *track
	spool   *spool
	file    spoolFile
	segment Segment
	format  format
	clock   senderClock
	arrived envelope // of frames: file time; session time less it
	guesses int      // the timeline's, when clock last heard of them

	since    time.Time             // when it was opened
	syncFail atomic.Pointer[error] // of sync; final for the file

	begin   time.Duration // place of file time 0 on the track's timeline
	opened  time.Time     // when the oldest unflushed block came; zero if none
	silence silenceFiller // audio
	loud    activityMeter // audio
	lastMS  int64
	end     time.Duration // of what is in the file, file time
	heard   time.Duration // of the last frame that was sent
	private []byte
	size    SizeAt // current picture size

	// Counters of the track when the segment began.
	packets0, lost0 int64
}

// newSegmentWriter opens a spool for the segment that begins with f.
func newSegmentWriter(k *track, f placed) (*segmentWriter, error) {
	r := k.recording
	w := &segmentWriter{
		track: k, since: time.Now(), begin: f.pos, private: f.private, guesses: k.timeline.guesses,
		format: format{
			Codec: k.Codec, Width: f.width, Height: f.height, CodecPrivate: f.private,
			TrackUID: newTrackUID(), WritingApp: "consilium " + r.recorder.config.Version,
		},
		size:     SizeAt{Width: f.width, Height: f.height},
		packets0: k.assembler.packetsN, lost0: k.assembler.lost,
	}
	if k.frames == 0 { // what came before the first frame belongs to it
		w.packets0, w.lost0 = 0, 0
	}
	w.segment = Segment{
		Participant: k.Participant, Session: k.Session, Track: k.ID, Source: k.Source, Codec: k.Codec,
		State: Live, Width: f.width, Height: f.height, Gaps: []Gap{},
	}
	w.segment.Clock = &Clock{ArrivalMS: w.arrivalMS()}
	w.segment.T0MS, w.segment.T0Source = w.segment.Clock.ArrivalMS, T0Arrival
	w.segment.File = r.book.begin(w.segment, k.number, w.format.extension())
	name := spoolPath(r.call.ID, spoolName(w.segment.File, r.key != nil))
	file, err := r.recorder.create(r.recorder.root, name)
	if errors.Is(err, fs.ErrNotExist) { // somebody removed the directory
		if err = r.recorder.root.MkdirAll(path.Join(spoolDir, r.call.ID), dirMode); err == nil {
			file, err = r.recorder.create(r.recorder.root, name)
		}
	}
	if err == nil {
		w.file = file
		w.spool, err = newSpool(file, spoolHeader{
			Version: spoolVersion, Call: r.call.ID, Room: r.call.Room, Format: w.format, Segment: w.segment,
		})
		if err == nil {
			w.spool.key = r.key
			err = syncDir(r.recorder.root, path.Join(spoolDir, r.call.ID))
		}
	}
	if err != nil {
		if file != nil {
			_ = file.Close()
			_ = r.recorder.root.Remove(name)
		}
		r.book.update(func(m *Manifest) {
			m.Segments = slices.DeleteFunc(m.Segments, func(s Segment) bool { return s.File == w.segment.File })
		})
		return nil, err
	}
	return w, nil
}

func newTrackUID() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.BigEndian.Uint64(b[:])>>8 | 1
}

// full reports whether f belongs into a new file.
func (w *segmentWriter) full(f placed) bool {
	if !f.keyframe {
		return false
	}
	pos := f.pos - w.begin
	return pos >= segmentDuration || w.spool.written >= segmentBytes || pos-w.heard > maxGapFill ||
		!bytes.Equal(f.private, w.private)
}

// write puts f into the file, after the silence that belongs before it.
func (w *segmentWriter) write(f placed, muted bool) error {
	pos := f.pos - w.begin
	if w.heard > 0 {
		w.note(f, pos, muted)
	}
	w.arrive(f, pos)
	if w.opened.IsZero() {
		w.opened = time.Now()
	}
	if w.format.audio() {
		return w.writeAudio(f, pos)
	}
	w.lastMS = max(w.lastMS, pos.Milliseconds())
	w.end = time.Duration(w.lastMS) * time.Millisecond
	w.heard = w.end
	if f.keyframe && (f.width != w.size.Width || f.height != w.size.Height) {
		w.size = SizeAt{MS: w.lastMS, Width: f.width, Height: f.height}
		if len(w.segment.Sizes) < maxGaps {
			w.segment.Sizes = append(slices.Clip(w.segment.Sizes), w.size)
		}
	}
	w.segment.Frames++
	return w.spool.write(block{ms: w.lastMS, keyframe: f.keyframe, data: f.data})
}

func (w *segmentWriter) writeAudio(f placed, pos time.Duration) error {
	due := w.track.timeline.ticks(pos)
	err := w.fill(due)
	if err != nil {
		return err
	}
	if at, ok := w.silence.place(due, opusDuration(f.data)); ok {
		w.loud.guess(samplesToMS(at), f.data)
		if f.hasLevel {
			w.loud.state(samplesToMS(at), f.level)
		}
		err = w.writeSound(at, f.data)
	} else {
		w.track.dropped++ // it came after its time was filled
	}
	w.end = samplesToDuration(w.silence.cursor)
	w.heard = w.end
	return err
}

func samplesToMS(samples int64) int64 { return (samples + opusRate/2000) * 1000 / opusRate }

// note lists the gap before f, if there is one worth it.
func (w *segmentWriter) note(f placed, pos time.Duration, muted bool) {
	gap := Gap{MS: w.heard.Milliseconds(), DurationMS: (pos - w.heard).Milliseconds(), Reason: GapSilent}
	least := noteGap
	switch {
	case muted:
		gap.Reason = GapMuted
	case f.after != "":
		gap.Reason, least = f.after, noteLoss
	case f.gap != "":
		gap.Reason = f.gap
	}
	if pos-w.heard < least {
		return
	}
	if len(w.segment.Gaps) >= maxGaps {
		w.segment.GapsDropped++
		return
	}
	w.segment.Gaps = append(slices.Clip(w.segment.Gaps), gap)
}

// flushAt is when the pending blocks must be written; zero if there are none.
func (w *segmentWriter) flushAt() time.Time {
	if w == nil || w.opened.IsZero() {
		return time.Time{}
	}
	return w.opened.Add(spoolRecord)
}

func (w *segmentWriter) flush() error {
	if w.opened.IsZero() {
		return nil
	}
	w.opened = time.Time{}
	return w.spool.flush()
}

// sync makes what was written durable. It may be called while the track's
// goroutine writes, and after close.
func (w *segmentWriter) sync() {
	err := w.file.Sync()
	if err == nil {
		err = linked(w.file)
	}
	// The kernel tells an error of a sync once and forgets what it could not
	// write: nothing that follows in this file would be safe.
	if err != nil && !errors.Is(err, fs.ErrClosed) {
		err = fmt.Errorf("sync spool: %w", err)
		w.syncFail.CompareAndSwap(nil, &err)
	}
}

// linked returns an error if an open file has no name any more: it would be
// gone when it is closed.
func linked(f spoolFile) error {
	named, ok := f.(interface{ Stat() (fs.FileInfo, error) })
	if !ok {
		return nil
	}
	info, err := named.Stat()
	if err != nil {
		return err
	}
	if s, ok := info.Sys().(*syscall.Stat_t); ok && s.Nlink == 0 {
		return errors.New("the file was removed")
	}
	return nil
}

// syncError returns the first error of sync.
func (w *segmentWriter) syncError() error {
	if err := w.syncFail.Load(); err != nil {
		return *err
	}
	return nil
}

func (w *segmentWriter) close() error { return w.spool.close() }

// snapshot describes the segment as it is now.
func (w *segmentWriter) snapshot() Segment {
	s := w.segment
	s.Clock = w.describeClock()
	s.DurationMS = w.end.Milliseconds()
	s.Bytes = w.spool.written
	s.Packets, s.PacketsLost = w.track.assembler.packetsN-w.packets0, w.track.assembler.lost-w.lost0
	s.SilenceFilledMS = w.silence.filled * 1000 / opusRate
	return s
}
