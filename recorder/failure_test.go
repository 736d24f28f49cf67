package recorder

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"consilium/internal/event"
	"consilium/internal/leak"
	"consilium/internal/media"
	"consilium/internal/testmedia"
)

// faultyFile fails, or waits, when its fault says so.
type faultyFile struct {
	spoolFile
	fault func(written int) error
	n     int
}

func (f *faultyFile) Write(p []byte) (int, error) {
	if err := f.fault(f.n + len(p)); err != nil {
		n, _ := f.spoolFile.Write(p[:len(p)/2]) // a torn record
		return n, err
	}
	n, err := f.spoolFile.Write(p)
	f.n += n
	return n, err
}

// withFault puts a fault under the files whose path contains part.
func withFault(part string, fault func(written int) error) func(*Recorder) {
	return func(r *Recorder) {
		r.create = func(root *os.Root, name string) (spoolFile, error) {
			f, err := createFile(root, name)
			if err != nil || !strings.Contains(name, part) {
				return f, err
			}
			return &faultyFile{spoolFile: f, fault: fault}, nil
		}
	}
}

func TestAFailingWriterCostsOnlyItsSegment(t *testing.T) {
	for name, tc := range map[string]struct {
		err  error
		code event.Code
	}{
		"disk full": {syscall.ENOSPC, event.DiskFull},
		"I/O error": {syscall.EIO, event.RecorderFailed},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				var failed atomic.Bool
				s := newStudio(t, dir, withFault("spool/c0ffee/p1-cam", func(n int) error {
					if n > 60_000 && failed.CompareAndSwap(false, true) {
						return &fs.PathError{Op: "write", Path: "p", Err: tc.err}
					}
					return nil
				}))
				r := s.arm()
				begin := time.Now()
				done := make(chan struct{})
				go func() {
					defer close(done)
					sink := r.Track(micTrack("anna"), nil)
					play(sink, newSource(t, testmedia.Beep).between(0, 18*second), begin)
					sink.End(media.EndLeft, time.Now())
				}()
				sink := r.Track(camTrack("anna"), nil)
				play(sink, newSource(t, testmedia.LargeCamera).between(0, 18*second), begin)
				sink.End(media.EndLeft, time.Now())
				<-done
				r.End(time.Now())
				s.close()
				events := s.count(event.RecordingFailed)
				if len(events) != 1 || events[0].Code != tc.code || events[0].Participant != "anna" {
					t.Errorf("events are %+v", events)
				}
			})
			m, err := Show(dir, testCall)
			if err != nil {
				t.Fatal(err)
			}
			files := 0
			for _, s := range m.Segments {
				if s.State != Final {
					t.Errorf("%s is %s", s.File, s.State)
				}
				probe(t, filePath(dir, s))
				if s.Source == media.Camera {
					files++
				} else {
					near(t, "duration of the other track", float64(s.DurationMS), 18_000, 50)
				}
			}
			if files != 2 || m.State != Final {
				t.Errorf("%d files of the camera, state %s", files, m.State)
			}
		})
	}
}

func TestAWriterThatAlwaysFailsIsGivenUp(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := newStudio(t, dir, withFault("spool/", func(int) error { return syscall.EROFS }))
		r := s.arm()
		sink := r.Track(micTrack("anna"), nil)
		play(sink, newSource(t, testmedia.Beep).between(0, 200*second), time.Now())
		sink.End(media.EndLeft, time.Now())
		r.End(time.Now())
		s.close()
		if n := len(s.count(event.RecordingFailed)); n != reopenTries+1 {
			t.Errorf("%d events recording.failed", n)
		}
	})
	m, err := Show(dir, testCall)
	if err != nil || m.State != Final {
		t.Errorf("manifest is %+v, %v", m, err)
	}
	for _, s := range m.Segments {
		// What got to the disk before the error is kept.
		if s.Error != event.RecorderFailed || s.DurationMS > 500 {
			t.Errorf("segment is %+v", s)
		}
	}
}

func TestAStalledDiskDoesNotBlockTheForwarder(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		stall := make(chan struct{})
		first := true
		s := newStudio(t, dir, withFault("spool/", func(n int) error {
			if n > 20_000 && first {
				first = false
				<-stall
			}
			return nil
		}))
		r := s.arm()
		asked := 0
		sink := r.Track(camTrack("anna"), func() { asked++ })
		begin := time.Now()
		packets := newSource(t, testmedia.LargeCamera).between(0, 200*second)
		for i, p := range packets {
			<-time.After(time.Until(begin.Add(p.at)))
			before := time.Now()
			p.packet.Arrival = before
			sink.WritePacket(p.packet)
			if d := time.Since(before); d != 0 { // the bubble's clock stands still while anything runs
				t.Fatalf("WritePacket took %v", d)
			}
			if i == len(packets)*3/4 {
				close(stall)
			}
		}
		sink.End(media.EndLeft, time.Now())
		r.End(time.Now())
		s.close()
		if asked == 0 {
			t.Error("no keyframe was asked for")
		}
	})
	m, err := Show(dir, testCall)
	if err != nil {
		t.Fatal(err)
	}
	s := segmentOf(t, m, media.Camera)
	near(t, "duration", probe(t, filePath(dir, s)).duration, 200, 0.2)
	if m.Tracks[0].Overflowed == 0 || s.PacketsLost < m.Tracks[0].Overflowed {
		t.Errorf("track says %+v", m.Tracks[0])
	}
	found := false
	for _, g := range s.Gaps {
		found = found || g.Reason == GapOverflow
	}
	if !found {
		t.Errorf("gaps are %+v", s.Gaps)
	}
}

func TestArmFailsClosed(t *testing.T) {
	for name, tc := range map[string]struct {
		call    string
		prepare func(t *testing.T, dir string) func(*Recorder)
		code    event.Code
	}{
		"too little space": {testCall, func(*testing.T, string) func(*Recorder) {
			return func(r *Recorder) {
				r.volume.marks.Hard.Bytes = 1
				r.volume.statfs = func(*os.Root) (free, total uint64, err error) { return 0, 1 << 40, nil }
			}
		}, event.DiskFull},
		"call id that leaves the directory": {"../x", nil, event.RecorderFailed},
		"empty call id":                     {"", nil, event.RecorderFailed},
		"a file is where the directory goes": {testCall, func(t *testing.T, dir string) func(*Recorder) {
			if err := os.MkdirAll(filepath.Join(dir, recordingsDir), dirMode); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, recordingsDir, testCall), nil, fileMode); err != nil {
				t.Fatal(err)
			}
			return func(*Recorder) {}
		}, event.RecorderFailed},
		"a link leads out": {testCall, func(t *testing.T, dir string) func(*Recorder) {
			if err := os.MkdirAll(filepath.Join(dir, recordingsDir), dirMode); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(t.TempDir(), filepath.Join(dir, recordingsDir, testCall)); err != nil {
				t.Fatal(err)
			}
			return func(*Recorder) {}
		}, event.RecorderFailed},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			var change []func(*Recorder)
			if tc.prepare != nil {
				change = append(change, tc.prepare(t, dir))
			}
			s := newStudio(t, dir, change...)
			defer s.close()
			_, err := s.recorder.Arm(t.Context(), media.Call{ID: tc.call, Room: "r", Started: time.Now()})
			var coded *Error
			if !errors.As(err, &coded) || coded.Code != tc.code {
				t.Fatalf("Arm returned %v", err)
			}
			if _, err := os.Stat(filepath.Join(dir, spoolDir, testCall)); tc.code == event.DiskFull && err == nil {
				t.Error("a half-made directory is left")
			}
		})
	}
}

func TestArmDoesNotOutlastItsContext(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		stall := make(chan struct{})
		s := newStudio(t, dir, func(r *Recorder) {
			r.volume.statfs = func(*os.Root) (free, total uint64, err error) { <-stall; return 1 << 40, 1 << 40, nil }
		})
		ctx, cancel := context.WithTimeout(t.Context(), 3*second)
		defer cancel()
		begin := time.Now()
		_, err := s.recorder.Arm(ctx, media.Call{ID: testCall, Started: time.Now()})
		var coded *Error
		if !errors.As(err, &coded) || coded.Code != event.RecorderFailed || time.Since(begin) != 3*second {
			t.Errorf("Arm returned %v after %v", err, time.Since(begin))
		}
		close(stall)
		synctest.Wait()
		// What it began is undone: the call can be armed.
		r := s.arm()
		r.End(time.Now())
		s.close()
		if len(s.count(event.RecordingArmed)) != 1 {
			t.Errorf("events are %+v", s.events)
		}
	})
}

func TestACallIsRecordedOnceAtATime(t *testing.T) {
	s := newStudio(t, t.TempDir())
	defer s.close()
	r := s.arm()
	if _, err := s.recorder.Arm(t.Context(), media.Call{ID: testCall, Started: time.Now()}); err == nil {
		t.Error("armed twice")
	}
	r.End(time.Now())
}

func TestAfterShutdownNothingIsArmed(t *testing.T) {
	s := newStudio(t, t.TempDir())
	r := s.arm()
	s.close()
	if _, err := s.recorder.Arm(t.Context(), media.Call{ID: "other", Started: time.Now()}); err == nil {
		t.Error("armed after shutdown")
	}
	sink := r.Track(micTrack("late"), nil) // must not panic
	sink.WritePacket(media.NewPacket(nil))
	sink.End(media.EndLeft, time.Now())
}

func TestAnUnknownCodecIsReportedAndIgnored(t *testing.T) {
	s := newStudio(t, t.TempDir())
	defer s.close()
	r := s.arm()
	track := camTrack("anna")
	track.Codec = "h266"
	sink := r.Track(track, nil)
	sink.WritePacket(media.NewPacket(nil))
	sink.SetMuted(true, time.Now())
	sink.WriteSenderReport(media.SenderReport{})
	sink.End(media.EndLeft, time.Now())
	r.End(time.Now())
	if e := s.count(event.RecordingFailed); len(e) != 1 || e[0].Track != track.ID {
		t.Errorf("events are %+v", e)
	}
}

func TestFourHundredRecordingsLeaveNothingBehind(t *testing.T) {
	leak.Check(t)
	s := newStudio(t, t.TempDir())
	mic := newSource(t, testmedia.Beep).between(0, 200*time.Millisecond)
	for i := range 400 {
		r, err := s.recorder.Arm(t.Context(), media.Call{ID: "call-" + strconv.Itoa(i), Started: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		sink := r.Track(micTrack("anna"), nil)
		for _, p := range mic {
			packet := again(p.packet)
			packet.Arrival = time.Now()
			sink.WritePacket(packet)
		}
		sink.End(media.EndLeft, time.Now())
		r.End(time.Now())
	}
	s.close()
	if n := len(s.count(event.RecordingReady)); n != 400 {
		t.Errorf("%d recordings are ready", n)
	}
	list, err := List(s.dir)
	if err != nil || len(list) != 400 || list[0].Files != 1 {
		t.Errorf("%d recordings listed, %v", len(list), err)
	}
}

func TestEveryPacketIsReleased(t *testing.T) {
	dir := t.TempDir()
	var free atomic.Int64
	packets := newSource(t, testmedia.Camera).between(0, 5*second)
	var counted []sent
	for i, p := range packets {
		if i%9 == 4 {
			continue // holes leave packets waiting
		}
		c := media.NewPacket(func(*media.Packet) { free.Add(1) })
		c.Header, c.Payload, c.Sequence, c.Keyframe = p.packet.Header, p.packet.Payload, p.packet.Sequence, p.packet.Keyframe
		counted = append(counted, sent{at: p.at, packet: c})
	}
	track := camTrack("anna")
	record(t, dir, map[*media.Track][]sent{&track: counted})
	for _, p := range counted {
		p.packet.Release() // the test's own reference
	}
	if free.Load() != int64(len(counted)) {
		t.Errorf("%d of %d packets were released", free.Load(), len(counted))
	}
}
