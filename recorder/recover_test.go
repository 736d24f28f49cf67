package recorder

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"consilium/internal/event"
	"consilium/internal/media"
	"consilium/internal/testmedia"
)

// crashed makes a data directory as kill -9 leaves it after 9 s of media, and
// returns the spools by name.
func crashed(t *testing.T) (dir string, spools map[string][]byte) {
	t.Helper()
	dir = t.TempDir()
	live := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := newStudio(t, live)
		r := s.arm()
		begin := time.Now()
		mic := r.Track(micTrack("anna"), nil)
		cam := r.Track(camTrack("anna"), nil)
		done := make(chan struct{})
		go func() {
			defer close(done)
			play(mic, newSource(t, testmedia.Beep).between(0, 9*second), begin)
		}()
		play(cam, newSource(t, testmedia.Camera).between(0, 9*second), begin)
		<-done
		<-time.After(second)
		synctest.Wait()
		if err := os.CopyFS(dir, os.DirFS(live)); err != nil {
			t.Fatal(err)
		}
		r.End(time.Now())
		s.close()
	})
	spools = map[string][]byte{}
	for _, name := range []string{"p1-mic-1.webm", "p1-cam-1.webm"} {
		data, err := os.ReadFile(filepath.Join(dir, spoolDir, testCall, name))
		if err != nil {
			t.Fatal(err)
		}
		spools[name] = data
	}
	return dir, spools
}

// restart runs a recorder until it has recovered what is left in dir.
func restart(t *testing.T, dir string) *studio {
	t.Helper()
	ready := make(chan struct{}, 1)
	s := newStudio(t, dir, func(r *Recorder) {
		inner := r.events
		r.events = event.Func(func(e event.Event) {
			inner.Emit(e)
			if e.Type == event.RecordingReady {
				ready <- struct{}{}
			}
		})
	})
	<-ready
	s.close()
	return s
}

func TestACrashIsRecoveredAtTheNextStart(t *testing.T) {
	dir, _ := crashed(t)
	s := restart(t, dir)
	m, err := Show(dir, testCall)
	if err != nil {
		t.Fatal(err)
	}
	if m.State != Recovered || m.Ended == nil || m.Room != "room-1" || m.ExternalID != "visit-7" {
		t.Errorf("manifest says %+v", m)
	}
	for source, frames := range map[media.Source]int{media.Microphone: 450, media.Camera: 135} {
		g := segmentOf(t, m, source)
		got := probe(t, filePath(dir, g))
		near(t, "duration", got.duration, 9, 0.6)
		if g.State != Recovered || got.frames < frames*15/16 || g.SHA256 == "" || g.Participant != "anna" {
			t.Errorf("%d frames, segment %+v", got.frames, g)
		}
	}
	if e := s.count(event.RecordingReady); len(e) != 1 || e[0].ExternalID != "visit-7" {
		t.Errorf("events are %+v", e)
	}
	if left, _ := os.ReadDir(filepath.Join(dir, spoolDir)); len(left) > 0 {
		t.Error("the spool is not empty")
	}
}

func TestRecoveryNeedsNoManifest(t *testing.T) {
	for name, spoil := range map[string]func(name string) error{
		"missing": os.Remove,
		"half":    func(name string) error { return os.Truncate(name, 200) },
		"empty":   func(name string) error { return os.Truncate(name, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			dir, _ := crashed(t)
			if err := spoil(filepath.Join(dir, recordingsDir, testCall, manifestName)); err != nil {
				t.Fatal(err)
			}
			restart(t, dir)
			m, err := Show(dir, testCall)
			if err != nil {
				t.Fatal(err)
			}
			for _, source := range []media.Source{media.Microphone, media.Camera} {
				g := segmentOf(t, m, source)
				if g.Participant != "anna" || g.Track == "" || g.State != Recovered || g.DurationMS < 8000 {
					t.Errorf("segment is %+v", g)
				}
			}
			if len(m.Participants) != 1 {
				t.Errorf("participants are %+v", m.Participants)
			}
		})
	}
}

func TestACallGoesOnWhileItsPastIsRecovered(t *testing.T) {
	dir, _ := crashed(t)
	synctest.Test(t, func(t *testing.T) {
		s := newStudio(t, dir)
		r := s.arm()
		sink := r.Track(micTrack("anna"), nil)
		play(sink, newSource(t, testmedia.Beep).between(0, 3*second), time.Now())
		sink.End(media.EndLeft, time.Now())
		r.End(time.Now())
		synctest.Wait()
		s.close()
		if n := len(s.count(event.RecordingReady)); n != 1 {
			t.Errorf("%d events recording.ready", n)
		}
	})
	m, err := Show(dir, testCall)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]State{}
	for _, g := range m.Segments {
		files[g.File] = g.State
		probe(t, filePath(dir, g))
	}
	if len(files) != 3 || files["p1-mic-1.webm"] != Recovered || files["p1-mic-2.webm"] != Final || files["p1-cam-1.webm"] != Recovered {
		t.Errorf("files are %v", files)
	}
}

// finaliseBytes runs the finaliser over a spool with the given content.
func finaliseBytes(t testing.TB, name string, content []byte) (final, string, error) {
	t.Helper()
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if err := os.WriteFile(filepath.Join(dir, name), content, fileMode); err != nil {
		t.Fatal(err)
	}
	if err := root.Mkdir("out", dirMode); err != nil {
		t.Fatal(err)
	}
	result, err := finaliser{root: root, create: createFile}.run(context.Background(), name, "out", nil)
	return result, filepath.Join(dir, "out", name), err
}

func TestATornSpoolGivesEverythingBeforeTheTear(t *testing.T) {
	_, spools := crashed(t)
	random := rand.New(rand.NewPCG(1, 2))
	for name, data := range spools {
		whole, _, err := finaliseBytes(t, name, data)
		if err != nil {
			t.Fatal(err)
		}
		for i := range often(500) { // of each of the two spools
			cut := random.IntN(len(data))
			got, out, err := finaliseBytes(t, name, data[:cut])
			if err != nil {
				if !errors.Is(err, errNoFrames) && !errors.Is(err, ErrDamaged) || cut > len(data)/10 {
					t.Fatalf("%s cut at %d of %d: %v", name, cut, len(data), err)
				}
				if _, err := os.Stat(out); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%s cut at %d: a file without frames", name, cut)
				}
				continue
			}
			if want := float64(whole.frames) * float64(cut) / float64(len(data)); float64(got.frames) < want*0.6-20 {
				t.Errorf("%s cut at %d of %d: %d frames of %d", name, cut, len(data), got.frames, whole.frames)
			}
			if i%50 == 0 {
				probe(t, out)
			}
		}
	}
}

func TestFlippedBitsNeverStopTheFinaliser(t *testing.T) {
	_, spools := crashed(t)
	random := rand.New(rand.NewPCG(3, 4))
	for name, data := range spools {
		whole, _, err := finaliseBytes(t, name, data)
		if err != nil {
			t.Fatal(err)
		}
		for range often(500) { // of each of the two spools
			bad := bytes.Clone(data)
			for range 3 {
				bad[random.IntN(len(bad))] ^= 1 << random.IntN(8)
			}
			got, out, err := finaliseBytes(t, name, bad)
			if err != nil {
				if !errors.Is(err, ErrDamaged) && !errors.Is(err, errNoFrames) {
					t.Fatalf("%s: %v", name, err)
				}
				continue
			}
			blocksOf(t, out)
			if name == "p1-mic-1.webm" && got.durationMS > whole.durationMS+maxGapFill.Milliseconds()+60_000 {
				t.Errorf("%s lasts %d ms, not %d", name, got.durationMS, whole.durationMS)
			}
		}
	}
}

func TestTheFinaliserGivesTheSameBytesEveryTime(t *testing.T) {
	_, spools := crashed(t)
	for name, data := range spools {
		a, _, err1 := finaliseBytes(t, name, data)
		b, _, err2 := finaliseBytes(t, name, data)
		if err1 != nil || err2 != nil || a.sha256 != b.sha256 {
			t.Errorf("%s: %s and %s (%v, %v)", name, a.sha256, b.sha256, err1, err2)
		}
	}
}

func TestACrashBetweenRenameAndManifestIsHarmless(t *testing.T) {
	dir, spools := crashed(t)
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	f := finaliser{root: root, create: createFile}
	for name := range spools {
		if _, err := f.run(context.Background(), spoolPath(testCall, name), recordingsDir+"/"+testCall, nil); err != nil {
			t.Fatal(err)
		}
	}
	restart(t, dir)
	m, err := Show(dir, testCall)
	if err != nil || len(m.Segments) != 2 || m.State != Recovered {
		t.Errorf("manifest says %+v, %v", m, err)
	}
}

func TestAnUnreadableSpoolIsPutAside(t *testing.T) {
	dir, _ := crashed(t)
	name := filepath.Join(dir, spoolDir, testCall, "p1-mic-1.webm")
	if err := os.WriteFile(name, bytes.Repeat([]byte("no webm "), 1000), fileMode); err != nil {
		t.Fatal(err)
	}
	s := restart(t, dir)
	if _, err := os.Stat(filepath.Join(dir, quarantineDir, testCall, "p1-mic-1.webm")); err != nil {
		t.Error(err)
	}
	m, err := Show(dir, testCall)
	if err != nil || segmentOf(t, m, media.Microphone).State != Failed || segmentOf(t, m, media.Camera).State != Recovered {
		t.Errorf("manifest says %+v, %v", m, err)
	}
	if len(s.count(event.RecordingFailed)) != 1 {
		t.Error("nobody was told")
	}
}

func TestADamagedDescriptionIsMadeUpForByTheManifest(t *testing.T) {
	dir, spools := crashed(t)
	for name, data := range spools {
		i := bytes.Index(data, []byte(`"participant"`))
		data[i+16] ^= 1
		if err := os.WriteFile(filepath.Join(dir, spoolDir, testCall, name), data, fileMode); err != nil {
			t.Fatal(err)
		}
	}
	restart(t, dir)
	m, err := Show(dir, testCall)
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range m.Segments {
		if g.State != Recovered || g.Participant != "anna" {
			t.Errorf("segment is %+v", g)
		}
		probe(t, filePath(dir, g))
	}
}

func TestAnInterruptedFinaliserLeavesTheSpool(t *testing.T) {
	dir, spools := crashed(t)
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for name := range spools {
		if _, err := (finaliser{root: root, create: createFile}).run(ctx, spoolPath(testCall, name), recordingsDir+"/"+testCall, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("run returned %v", err)
		}
		if _, err := os.Stat(filepath.Join(dir, spoolDir, testCall, name)); err != nil {
			t.Error(err)
		}
	}
	files, _ := os.ReadDir(filepath.Join(dir, recordingsDir, testCall))
	if len(files) != 1 {
		t.Errorf("left behind: %v", files)
	}
}

func TestWhatShutdownHasNoTimeForIsRecovered(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := newStudio(t, dir, func(r *Recorder) {
			r.create = func(root *os.Root, name string) (spoolFile, error) {
				if filepath.Ext(name) == ".tmp" { // a disk too slow to finalise
					<-r.work.Done()
					return nil, r.work.Err()
				}
				return createFile(root, name)
			}
		})
		r := s.arm()
		sink := r.Track(micTrack("anna"), nil)
		play(sink, newSource(t, testmedia.Beep).between(0, 3*second), time.Now())
		begin := time.Now()
		s.close()
		near(t, "shutdown in seconds", time.Since(begin).Seconds(), defaultGrace.Seconds(), 0.1)
		if n := len(s.count(event.RecordingReady)) + len(s.count(event.RecordingFailed)); n != 0 {
			t.Errorf("events are %+v", s.events)
		}
	})
	if m, err := Show(dir, testCall); err != nil || m.State != Live {
		t.Errorf("manifest says %+v, %v", m, err)
	}
	restart(t, dir)
	m, err := Show(dir, testCall)
	if err != nil || m.State != Recovered || segmentOf(t, m, media.Microphone).DurationMS != 3000 {
		t.Errorf("manifest says %+v, %v", m, err)
	}
}

func TestACallThatDiedWhileArmingLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{recordingsDir, spoolDir} {
		if err := os.MkdirAll(filepath.Join(dir, d, "dead"), dirMode); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		s := newStudio(t, dir)
		synctest.Wait()
		s.close()
	})
	if list, err := List(dir); err != nil || len(list) != 0 {
		t.Errorf("List returned %+v, %v", list, err)
	}
	if left, _ := os.ReadDir(filepath.Join(dir, spoolDir)); len(left) > 0 {
		t.Errorf("left in the spool: %v", left)
	}
}
