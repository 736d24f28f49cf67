package recorder

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"consilium/internal/media"
	"consilium/internal/seal"
	"consilium/internal/testmedia"
)

// image is a data directory as a kill at one moment leaves it.
type image struct{ step, dir string }

// imaging takes an image of dir after every step of finalising.
func imaging(t *testing.T, dir string, images *[]image) func(*Recorder) {
	return func(r *Recorder) {
		r.step = func(step string) {
			i := image{step, filepath.Join(t.TempDir(), "image")}
			if err := os.CopyFS(i.dir, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			*images = append(*images, i)
		}
	}
}

// finalisedOnce records two seconds of one microphone: one track, so that its
// steps come one after the other.
func finalisedOnce(t *testing.T, dir string, change ...func(*Recorder)) Segment {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newStudio(t, dir, change...)
		r := s.arm()
		sink := r.Track(micTrack("anna"), nil)
		play(sink, newSource(t, testmedia.Beep).between(0, 2*second), time.Now())
		sink.End(media.EndLeft, time.Now())
		r.End(time.Now())
		synctest.Wait()
		s.close()
	})
	m, err := Show(dir, testCall)
	if err != nil || len(m.Segments) != 1 {
		t.Fatalf("manifest says %+v, %v", m, err)
	}
	return m.Segments[0]
}

// again restarts a recorder until it has nothing more to recover.
func restartWith(t *testing.T, dir string, change ...func(*Recorder)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newStudio(t, dir, change...)
		synctest.Wait()
		s.close()
	})
}

// wantOneFinal checks that a data directory holds one whole recording and
// nothing besides.
func wantOneFinal(t *testing.T, dir string, sealer seal.Sealer, want Segment) {
	t.Helper()
	m, err := Show(dir, testCall)
	if err != nil || len(m.Segments) != 1 {
		t.Fatalf("manifest says %+v, %v", m, err)
	}
	s := m.Segments[0]
	stored, _, _ := s.Stored()
	files := []string{manifestName, stored}
	if s.Sealed != nil {
		files = append(files, keyName)
	}
	var found []string
	for _, e := range must(os.ReadDir(filepath.Join(dir, recordingsDir, testCall))) {
		found = append(found, e.Name())
	}
	slices.Sort(files)
	slices.Sort(found)
	if !slices.Equal(files, found) {
		t.Errorf("files are %q, not %q", found, files)
	}
	if s.SHA256 != want.SHA256 || s.Frames != want.Frames || m.State != Final && m.State != Recovered {
		t.Errorf("recording is %s, segment %+v", m.State, s)
	}
	if left, _ := os.ReadDir(filepath.Join(dir, spoolDir, testCall)); len(left) > 0 {
		t.Errorf("left in the spool: %v", left)
	}
	report, err := Verify(context.Background(), dir, VerifyOptions{Sealer: sealer})
	if err != nil || len(report.Findings) > 0 || report.Recordings != 1 || len(report.Unfinished) > 0 {
		t.Errorf("Verify says %+v, %v", report, err)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestAKillAtAnyStepOfFinalisingLeavesOneFinalFile(t *testing.T) {
	server, _ := archiveKey(t)
	archive, public := archiveKey(t)
	for name, c := range map[string]struct{ sealer, repairs seal.Sealer }{
		"open":                     {},
		"sealed":                   {newSealer(t, seal.AgeConfig{Recipients: []string{public}, IdentityFile: server}), nil},
		"sealed, repaired offline": {newSealer(t, seal.AgeConfig{Recipients: []string{public}}), newSealer(t, seal.AgeConfig{IdentityFile: archive})},
	} {
		t.Run(name, func(t *testing.T) {
			var images []image
			dir := t.TempDir()
			want := finalisedOnce(t, dir, sealing(c.sealer), imaging(t, dir, &images))
			if len(images) != 8 {
				t.Fatalf("%d steps, not 8: %+v", len(images), images)
			}
			for _, i := range images {
				t.Run(i.step, func(t *testing.T) { wantRecovered(t, i, c.sealer, c.repairs, want) })
			}
		})
	}
}

// wantRecovered starts a server on an image, and kills that at every step too.
func wantRecovered(t *testing.T, i image, sealer, repairs seal.Sealer, want Segment) {
	hadSpool := spoolIn(i.dir)
	var second []image
	restartWith(t, i.dir, sealing(sealer), imaging(t, i.dir, &second))
	reader := sealer
	if repairs != nil {
		reader = repairs
		if locked := must(Show(i.dir, testCall)).State == Locked; locked != hadSpool || locked && !spoolIn(i.dir) {
			t.Fatalf("spool %t, locked %t", hadSpool, locked)
		}
		for range 2 { // the second has nothing to do
			if _, err := Repair(t.Context(), Config{Dir: i.dir, Sealer: repairs, Version: "test"}); err != nil {
				t.Fatal(err)
			}
		}
	}
	wantOneFinal(t, i.dir, reader, want)
	manifest := filepath.Join(i.dir, recordingsDir, testCall, manifestName)
	before := must(os.ReadFile(manifest))
	restartWith(t, i.dir, sealing(sealer))
	if !bytes.Equal(before, must(os.ReadFile(manifest))) {
		t.Error("another start changed a final manifest")
	}
	for n, s := range second {
		t.Run(fmt.Sprintf("killed again, %d %s", n, s.step), func(t *testing.T) {
			if repairs != nil {
				must(Repair(t.Context(), Config{Dir: s.dir, Sealer: repairs, Version: "test"}))
			} else {
				restartWith(t, s.dir, sealing(sealer))
			}
			wantOneFinal(t, s.dir, reader, want)
		})
	}
}

func spoolIn(dir string) bool {
	left, _ := os.ReadDir(filepath.Join(dir, spoolDir, testCall))
	return len(left) > 0
}

func TestSealingTurnedOnAfterACrashLeavesOneFile(t *testing.T) {
	_, public := archiveKey(t)
	var images []image
	dir := t.TempDir()
	want := finalisedOnce(t, dir, imaging(t, dir, &images))
	i := slices.IndexFunc(images, func(i image) bool { return i.step == "file renamed" })
	sealer := newSealer(t, seal.AgeConfig{Recipients: []string{public}})
	restartWith(t, images[i].dir, sealing(sealer))
	wantOneFinal(t, images[i].dir, sealer, want)
}

func TestATornLineOfTheChainIsWrittenAgain(t *testing.T) {
	var images []image
	dir := t.TempDir()
	want := finalisedOnce(t, dir, imaging(t, dir, &images))
	i := slices.IndexFunc(images, func(i image) bool { return i.step == "manifest signed" })
	name := filepath.Join(images[i].dir, recordingsDir, chainName)
	if err := os.WriteFile(name, []byte("0123456789abcdef"), fileMode); err != nil {
		t.Fatal(err)
	}
	restartWith(t, images[i].dir)
	wantOneFinal(t, images[i].dir, nil, want)
}
