package recorder

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"consilium/internal/event"
	"consilium/internal/media"
	"consilium/internal/seal"
	"consilium/internal/testmedia"
)

// stalled makes the disk of a recorder stand still until stall is closed.
func stalled(stall <-chan struct{}) func(*Recorder) {
	return func(r *Recorder) {
		r.volume.statfs = func(*os.Root) (free, total uint64, err error) { <-stall; return 1 << 40, 1 << 40, nil }
	}
}

// armFor arms the call of the tests for at most d.
func (s *studio) armFor(d time.Duration) (*Recording, error) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	return s.recorder.Arm(ctx, media.Call{ID: testCall, Room: "room-1", Started: time.Now()})
}

func TestWhoArmsAgainAfterAStallIsNotTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stall := make(chan struct{})
		s := newStudio(t, t.TempDir(), stalled(stall))
		if _, err := s.armFor(3 * second); err == nil {
			t.Fatal("armed on a disk that stands still")
		}
		time.AfterFunc(second, func() { close(stall) })
		r, err := s.armFor(3 * second)
		if err != nil {
			t.Fatalf("the first retry: %v", err)
		}
		r.End(time.Now())
		synctest.Wait()
		s.close()
		if armed, ready := len(s.count(event.RecordingArmed)), len(s.count(event.RecordingReady)); armed != 1 || ready != 1 {
			t.Errorf("%d armed, %d ready", armed, ready)
		}
	})
}

func TestOfTwoWhoArmAtOnceOneIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stall := make(chan struct{})
		s := newStudio(t, t.TempDir(), stalled(stall))
		type result struct {
			recording *Recording
			err       error
		}
		results := make(chan result, 2)
		for range 2 {
			go func() {
				r, err := s.armFor(3 * second)
				results <- result{r, err}
			}()
		}
		synctest.Wait()
		close(stall)
		armed := 0
		for range 2 {
			if got := <-results; got.err == nil {
				armed++
				defer got.recording.End(time.Now())
			}
		}
		if armed != 1 {
			t.Errorf("%d of two were given a recording", armed)
		}
		s.stop()
		<-s.done
	})
}

func TestWhatWasArmedTooLateLeavesNothing(t *testing.T) {
	archive, _ := archiveKey(t)
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		stall := make(chan struct{})
		s := newStudio(t, dir, stalled(stall), sealing(newSealer(t, seal.AgeConfig{IdentityFile: archive})))
		if _, err := s.armFor(3 * second); err == nil {
			t.Fatal("armed on a disk that stands still")
		}
		close(stall)
		synctest.Wait()
		for _, top := range []string{recordingsDir, spoolDir} {
			if _, err := os.Lstat(filepath.Join(dir, top, testCall)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: %v", top, err)
			}
		}
		s.close()
		if len(s.count(event.RecordingReady)) > 0 {
			t.Error("a recording that nobody made is ready")
		}
	})
}

func TestAnErasedCallIsNotRecordedAgain(t *testing.T) {
	dir := t.TempDir()
	recordCall(t, dir, func(*Recorder) {}, nil)
	if _, err := Erase(dir, testCall, "dr-who", "asked for"); err != nil {
		t.Fatal(err)
	}
	s := newStudio(t, dir)
	defer s.close()
	if _, err := s.armFor(3 * second); !errors.Is(err, ErrErased) {
		t.Errorf("Arm returned %v", err)
	}
	if _, err := os.Lstat(filepath.Join(dir, spoolDir, testCall)); err == nil {
		t.Error("the call has a spool")
	}
}

// goOn starts a recorder that can't recover anything until free is called, and
// records anna's microphone in the call that a crash has left.
func goOn(t *testing.T, dir string) (s *studio, r *Recording, free func()) {
	t.Helper()
	s = newStudio(t, dir, func(r *Recorder) {
		for range finaliseAtOnce {
			r.slots <- struct{}{}
		}
	})
	r = s.arm()
	sink := r.Track(micTrack("anna"), nil)
	play(sink, newSource(t, testmedia.Beep).between(0, 3*second), time.Now())
	<-time.After(second)
	synctest.Wait()
	return s, r, func() {
		for range finaliseAtOnce {
			<-s.recorder.slots
		}
		synctest.Wait()
	}
}

func TestNoFileTakesTheNameOfOneThatNoManifestLists(t *testing.T) {
	dir, spools := crashed(t)
	if err := os.Remove(filepath.Join(dir, recordingsDir, testCall, manifestName)); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		s, r, free := goOn(t, dir)
		left, err := os.ReadFile(filepath.Join(dir, spoolDir, testCall, "p1-mic-1.webm"))
		if err != nil || !bytes.Equal(left, spools["p1-mic-1.webm"]) {
			t.Errorf("of the spool %d bytes of %d are left, %v", len(left), len(spools["p1-mic-1.webm"]), err)
		}
		free()
		r.End(time.Now())
		synctest.Wait()
		s.close()
	})
	m, err := Show(dir, testCall)
	if err != nil {
		t.Fatal(err)
	}
	states := map[string]State{}
	for _, g := range m.Segments {
		states[g.File] = g.State
	}
	if len(states) != 3 || states["p1-mic-1.webm"] != Recovered || states["p1-mic-2.webm"] != Final {
		t.Errorf("files are %v", states)
	}
}

func TestRecoveryLeavesACallThatGoesOnLive(t *testing.T) {
	dir, _ := crashed(t)
	synctest.Test(t, func(t *testing.T) {
		s, r, free := goOn(t, dir)
		free()
		m, err := Show(dir, testCall)
		if err != nil || m.State != Live || m.Ended != nil {
			t.Errorf("the call is %s and ended at %v, %v", m.State, m.Ended, err)
		}
		for _, g := range m.Segments {
			if want := map[bool]State{true: Live, false: Recovered}[g.File == "p1-mic-2.webm"]; g.State != want {
				t.Errorf("%s is %s, not %s", g.File, g.State, want)
			}
		}
		r.End(time.Now())
		synctest.Wait()
		s.close()
	})
}

// The last step of a recovery and the arming of the call that goes on meet.
func TestACallArmedWhileItsPastBecomesFinalIsLive(t *testing.T) {
	dir, _ := crashed(t)
	armed := make(chan *Recording, 1)
	s := newStudio(t, dir, func(r *Recorder) {
		r.step = func(step string) {
			if step != "manifest signed" || len(armed) > 0 {
				return
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				if again, err := r.Arm(context.Background(), media.Call{ID: testCall, Started: time.Now()}); err == nil {
					armed <- again
				}
			}()
			select {
			case <-done: // it did not wait for the recovery
			case <-time.After(200 * time.Millisecond):
			}
		}
	})
	r := <-armed
	m, err := Show(dir, testCall)
	if err != nil || m.State != Live || m.Signature != nil {
		t.Errorf("the call is %s, signed %v, %v", m.State, m.Signature != nil, err)
	}
	if _, err := os.Lstat(filepath.Join(dir, spoolDir, testCall)); err != nil {
		t.Errorf("nothing marks it as unfinished: %v", err)
	}
	armed <- r // not once more
	r.End(time.Now())
	s.close()
	if m, err = Show(dir, testCall); err != nil || m.State != Final || m.Signature == nil {
		t.Errorf("at the end the call is %s, %v", m.State, err)
	}
}

// edit changes the manifest of the call of the tests.
func edit(t *testing.T, dir string, change func(*Manifest)) {
	t.Helper()
	name := filepath.Join(dir, recordingsDir, testCall, manifestName)
	text, err := os.ReadFile(name)
	var m Manifest
	if err == nil {
		err = json.Unmarshal(text, &m)
	}
	if err != nil {
		t.Fatal(err)
	}
	change(&m)
	if text, err = m.encode(); err == nil {
		err = os.WriteFile(name, text, fileMode)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestAClockSetBackBetweenTwoRunsPutsNothingBeforeTheBeginning(t *testing.T) {
	dir, _ := crashed(t)
	edit(t, dir, func(m *Manifest) { m.Started = m.Started.Add(time.Hour) })
	synctest.Test(t, func(t *testing.T) {
		s, r, free := goOn(t, dir)
		free()
		r.End(time.Now())
		synctest.Wait()
		s.close()
	})
	m, err := Show(dir, testCall)
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range m.Segments {
		if g.File == "p1-mic-2.webm" && (g.T0MS < 0 || g.T0MS > 12_000) {
			t.Errorf("%s begins at %v ms", g.File, g.T0MS)
		}
	}
}

func TestAManifestThatIsLostCostsNoKey(t *testing.T) {
	archive, public := archiveKey(t)
	sealer := newSealer(t, seal.AgeConfig{Recipients: []string{public}, IdentityFile: archive, ShredKeys: true})
	dir := t.TempDir()
	recordCall(t, dir, sealing(sealer), nil)
	if err := os.Remove(filepath.Join(dir, recordingsDir, testCall, manifestName)); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, spoolDir, testCall), dirMode); err != nil {
		t.Fatal(err)
	}
	restartSealed(t, dir, sealer)
	if _, err := OpenMedia(dir, testCall, "p1-mic-1.webm", sealer); err != nil {
		t.Errorf("the files can't be opened any more: %v", err)
	}
}

func TestAManifestOfANewerVersionStaysWhereItIs(t *testing.T) {
	dir, _ := crashed(t)
	edit(t, dir, func(m *Manifest) { m.Version = ManifestVersion + 1 })
	name := filepath.Join(dir, recordingsDir, testCall, manifestName)
	before, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		s := newStudio(t, dir)
		if _, err := s.armFor(3 * second); err == nil {
			t.Error("a call was armed whose manifest nobody understands")
		}
		synctest.Wait()
		s.close()
	})
	if after, err := os.ReadFile(name); err != nil || !bytes.Equal(before, after) {
		t.Errorf("it was changed, %v", err)
	}
	if spools, err := os.ReadDir(filepath.Join(dir, spoolDir, testCall)); err != nil || len(spools) != 2 {
		t.Errorf("%d spools are left, %v", len(spools), err)
	}
}

func TestASpoolOfWhichNothingCanBeDecodedIsKept(t *testing.T) {
	dir, spools := crashed(t)
	r, err := newBlockReader(bytes.NewReader(spools["p1-cam-1.webm"]))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.next(); err != nil {
		t.Fatal(err)
	}
	file := &memoryFile{}
	spool, err := newSpool(file, *r.header)
	if err != nil {
		t.Fatal(err)
	}
	for ms := range int64(20) {
		if err := spool.write(block{ms: 40 * ms, data: []byte("no keyframe")}); err != nil {
			t.Fatal(err)
		}
	}
	if err := spool.close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, spoolDir, testCall, "p1-cam-1.webm"), file.Bytes(), fileMode); err != nil {
		t.Fatal(err)
	}
	restart(t, dir)
	kept, err := os.ReadFile(filepath.Join(dir, quarantineDir, testCall, "p1-cam-1.webm"))
	if err != nil || !bytes.Equal(kept, file.Bytes()) {
		t.Errorf("%d bytes are kept, %v", len(kept), err)
	}
}

func TestASealedFileThatNeverGotARecordHoldsUpNothing(t *testing.T) {
	archive, _ := archiveKey(t)
	dir := t.TempDir()
	fault := withFault("spool/c0ffee/p1-cam", func(int) error { return &fs.PathError{Op: "write", Path: "p", Err: syscall.EIO} })
	recordCall(t, dir, func(r *Recorder) {
		sealing(newSealer(t, seal.AgeConfig{IdentityFile: archive}))(r)
		fault(r)
	}, nil)
	m, err := Show(dir, testCall)
	if err != nil || m.State != Final {
		t.Errorf("the recording is %s, %v", m.State, err)
	}
	if s := segmentOf(t, m, media.Microphone); s.State != Final {
		t.Errorf("the microphone's file is %s", s.State)
	}
	if _, err := os.Lstat(filepath.Join(dir, spoolDir, testCall)); err == nil {
		t.Error("the call counts as unfinished")
	}
}

func TestAManifestThatCantBeWrittenIsWrittenWhenItCan(t *testing.T) {
	dir := t.TempDir()
	obstacle := filepath.Join(dir, recordingsDir, testCall, tempName(manifestName))
	synctest.Test(t, func(t *testing.T) {
		s := newStudio(t, dir)
		r := s.arm()
		if err := os.Mkdir(obstacle, dirMode); err != nil {
			t.Fatal(err)
		}
		r.End(time.Now())
		<-time.After(time.Minute)
		if failed, ready := len(s.count(event.RecordingFailed)), len(s.count(event.RecordingReady)); failed != 1 || ready != 0 {
			t.Errorf("%d alarms, %d ready", failed, ready)
		}
		if err := os.Remove(obstacle); err != nil {
			t.Fatal(err)
		}
		<-time.After(2 * spaceInterval)
		if len(s.count(event.RecordingReady)) != 1 {
			t.Error("the recording is not ready")
		}
		s.close()
	})
	report, err := Verify(t.Context(), dir, VerifyOptions{})
	if err != nil || report.Recordings != 1 || len(report.Findings) > 0 {
		t.Errorf("verify says %+v, %v", report, err)
	}
}

func TestRepairOnAFullDiskEndsAndSaysSo(t *testing.T) {
	dir, spools := crashed(t)
	r, err := New(Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	withFault(".tmp", func(int) error { return &fs.PathError{Op: "write", Path: "p", Err: syscall.ENOSPC} })(r)
	ctx, cancel := context.WithTimeout(t.Context(), 20*second)
	defer cancel()
	done, err := r.repair(ctx, nil)
	if err != nil || ctx.Err() != nil || len(done) != 1 || done[0].Problem == "" {
		t.Errorf("repair returned %+v, %v, %v", done, err, ctx.Err())
	}
	for name := range spools {
		if _, err := os.Lstat(filepath.Join(dir, spoolDir, testCall, name)); err != nil {
			t.Errorf("its spool is gone: %v", err)
		}
	}
}

func TestAChangedLineOfTheChainStopsNoServer(t *testing.T) {
	dir := t.TempDir()
	recordCall(t, dir, func(*Recorder) {}, nil)
	name := filepath.Join(dir, recordingsDir, chainName)
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	text[3] = 'X'
	if err := os.WriteFile(name, text, fileMode); err != nil {
		t.Fatal(err)
	}
	s := newStudio(t, dir)
	r, err := s.recorder.Arm(t.Context(), media.Call{ID: "next", Started: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	r.End(time.Now())
	s.close()
	report, err := Verify(t.Context(), dir, VerifyOptions{})
	if err != nil || report.Links != 1 || len(report.Findings) == 0 {
		t.Errorf("verify says %+v, %v", report, err)
	}
}
