package recorder

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
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

func TestADirectoryThatVanishesInMidCallIsMadeAgain(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := newStudio(t, dir)
		r := s.arm()
		time.AfterFunc(5*second, func() {
			for _, sub := range []string{spoolDir, recordingsDir} {
				if err := os.RemoveAll(filepath.Join(dir, sub)); err != nil {
					t.Error(err)
				}
			}
		})
		sink := r.Track(micTrack("anna"), nil)
		play(sink, newSource(t, testmedia.Beep).between(0, 20*second), time.Now())
		sink.End(media.EndLeft, time.Now())
		r.End(time.Now())
		s.close()
		if e := s.count(event.RecordingFailed); len(e) == 0 || e[0].Code != event.RecorderFailed || e[0].Data["reason"] != "the file was removed" {
			t.Errorf("events are %+v", e)
		}
		if e := s.count(event.RecordingStarted); len(e) != 2 || e[1].Data["resumed"] != true {
			t.Errorf("events are %+v", e)
		}
	})
	m, err := Show(dir, testCall)
	if err != nil {
		t.Fatal(err)
	}
	last := m.Segments[len(m.Segments)-1]
	if len(m.Segments) != 2 || last.State != Final || m.Segments[0].Error != event.RecorderFailed {
		t.Fatalf("segments are %+v", m.Segments)
	}
	// Noticed at the next sync, tried again two seconds later.
	near(t, "end of the second file", last.T0MS+float64(last.DurationMS), 20_000, 100)
	if last.T0MS > 10_000 {
		t.Errorf("the second file begins at %.0f ms", last.T0MS)
	}
	probe(t, filePath(dir, last))
}

// unsyncable is a file whose Sync fails once, as the kernel tells it.
type unsyncable struct {
	spoolFile
	failed *atomic.Bool
}

func (f *unsyncable) Sync() error {
	if f.failed.CompareAndSwap(false, true) {
		return &os.PathError{Op: "sync", Path: "p", Err: syscall.EIO}
	}
	return f.spoolFile.Sync()
}

func TestAFailedSyncIsFinalForItsFile(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var failed atomic.Bool
		s := newStudio(t, dir, func(r *Recorder) {
			r.create = func(root *os.Root, name string) (spoolFile, error) {
				f, err := createFile(root, name)
				if err != nil || !strings.HasPrefix(name, spoolDir) {
					return f, err
				}
				return &unsyncable{f, &failed}, nil
			}
		})
		r := s.arm()
		sink := r.Track(micTrack("anna"), nil)
		play(sink, newSource(t, testmedia.Beep).between(0, 12*second), time.Now())
		sink.End(media.EndLeft, time.Now())
		r.End(time.Now())
		s.close()
		if e := s.count(event.RecordingFailed); len(e) != 1 || e[0].Code != event.RecorderFailed {
			t.Errorf("events are %+v", e)
		}
	})
	m, err := Show(dir, testCall)
	if err != nil || len(m.Segments) != 2 {
		t.Fatalf("%+v, %v", m.Segments, err)
	}
	if first := m.Segments[0]; first.Error != event.RecorderFailed || first.DurationMS > 2600 {
		t.Errorf("the file that could not be synced is %+v", first)
	}
	if second := m.Segments[1]; second.Error != "" || second.State != Final {
		t.Errorf("the next file is %+v", second)
	}
}

func TestADiskThatDoesNotAnswerRaisesAnAlarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		leak.Check(t)
		var stall atomic.Pointer[chan struct{}]
		wait := func() {
			if s := stall.Load(); s != nil {
				<-*s
			}
		}
		s := newStudio(t, t.TempDir(), withFault("spool/", func(int) error { wait(); return nil }), func(r *Recorder) {
			r.volume.write = func() error { wait(); return nil }
		})
		r := s.arm()
		sink := r.Track(camTrack("anna"), nil)
		begin := time.Now()
		time.AfterFunc(10*second, func() { c := make(chan struct{}); stall.Store(&c) })
		time.AfterFunc(180*second, func() { close(*stall.Swap(nil)) })
		play(sink, newSource(t, testmedia.LargeCamera).between(0, 200*second), begin)
		sink.End(media.EndLeft, time.Now())
		r.End(time.Now())
		s.close()
		space := s.count(event.RecordingSpace)
		if len(space) != 2 || space[0].Code != event.RecorderFailed || space[0].Data["level"] != "failed" || space[1].Data["level"] != "ok" {
			t.Fatalf("events are %+v", space)
		}
		if after := space[0].Time.Sub(begin); after < 20*second || after > 27*second {
			t.Errorf("the alarm came after %v", after)
		}
		failed := s.count(event.RecordingFailed)
		if len(failed) != 1 || failed[0].Track != camTrack("anna").ID || failed[0].Time.Sub(begin) > 180*second {
			t.Errorf("what was lost was told as %+v", failed)
		}
		started := s.count(event.RecordingStarted)
		if len(started) != 2 || started[1].Data["resumed"] != true {
			t.Errorf("the end was told as %+v", started)
		}
	})
}

func TestADiskThatCantBeWrittenToTakesNoCall(t *testing.T) {
	dir := t.TempDir()
	s := newStudio(t, dir, func(r *Recorder) { r.volume.write = func() error { return syscall.EROFS } })
	defer s.close()
	<-s.recorder.ready
	for s.recorder.Space().Measured.IsZero() {
		<-time.After(time.Millisecond)
	}
	_, err := s.recorder.Arm(t.Context(), media.Call{ID: testCall, Started: time.Now()})
	var coded *Error
	if !errors.As(err, &coded) || coded.Code != event.RecorderFailed || !errors.Is(err, syscall.EROFS) {
		t.Errorf("Arm returned %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, recordingsDir, testCall)); err == nil {
		t.Error("a half-made directory is left")
	}
}

// command runs a program that the test needs.
func command(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v: %s (the test needs root, loop devices and util-linux)", name, strings.Join(args, " "), err, out)
	}
}

// failingDisk mounts an ext4 of 64 MiB that has 16 MiB behind it: what is
// written beyond fails as a bad disk does, when the kernel writes it back.
func failingDisk(t *testing.T) string {
	t.Helper()
	behind, dir := t.TempDir(), t.TempDir()
	command(t, "mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", behind)
	t.Cleanup(func() { command(t, "umount", "--lazy", behind) }) // the loop device lets go of it a moment later
	image := filepath.Join(behind, "image")
	command(t, "truncate", "-s", "64M", image)
	command(t, "mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=0", image)
	command(t, "mount", "-o", "loop,errors=remount-ro", image, dir)
	t.Cleanup(func() { command(t, "umount", dir) })
	return dir
}

// A real disk that fails, in real time: the writes of the track succeed, into
// memory, and the error comes with a sync.
func TestARealDiskThatFailsCostsNothingButTheRecording(t *testing.T) {
	dir := failingDisk(t)
	s := newStudio(t, dir, func(r *Recorder) { r.volume.write = r.volume.probe })
	r := s.arm()
	sink := r.Track(micTrack("anna"), nil)
	ctx, stop := context.WithCancel(t.Context())
	played := make(chan struct{})
	go func() {
		defer close(played)
		begin := time.Now()
		for _, p := range newSource(t, testmedia.Beep).between(0, 60*second) {
			select {
			case <-time.After(time.Until(begin.Add(p.at))):
			case <-ctx.Done():
				return
			}
			p.packet.Arrival = time.Now()
			before := time.Now()
			sink.WritePacket(p.packet)
			if d := time.Since(before); d > 500*time.Millisecond { // on a loaded machine
				t.Errorf("the forwarder waited %v", d)
			}
		}
	}()
	until := func(what string, done func() bool) {
		t.Helper()
		for deadline := time.Now().Add(40 * second); !done(); <-time.After(50 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("no %s within 40 s", what)
			}
		}
	}
	until("frame", func() bool { return len(s.count(event.RecordingStarted)) == 1 })
	// Somebody else fills what is behind the disk, which still has room.
	other, err := os.Create(filepath.Join(dir, "other"))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := other.Write(make([]byte, 20*mib)); err != nil {
		t.Fatal(err)
	}
	if err := other.Sync(); err == nil {
		t.Fatal("the disk did not fail")
	}
	until("alarm of the track", func() bool { return len(s.count(event.RecordingFailed)) > 0 })
	until("alarm of the disk", func() bool {
		e := s.count(event.RecordingSpace)
		return len(e) > 0 && e[len(e)-1].Code == event.RecorderFailed
	})
	if _, err := s.recorder.Arm(t.Context(), media.Call{ID: "next", Started: time.Now()}); err == nil {
		t.Error("a call begins on a disk that fails")
	}
	stop()
	<-played
	sink.End(media.EndLeft, time.Now())
	r.End(time.Now())
	s.close()
	t.Logf("the disk: %v", s.recorder.Space().Err)
}
