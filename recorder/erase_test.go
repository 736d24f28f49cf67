package recorder

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"consilium/internal/media"
	"consilium/internal/seal"
	"consilium/internal/testmedia"
)

// kept makes a recording, with a key as if it were sealed and an export.
func kept(t *testing.T) (dir string, m Manifest) {
	t.Helper()
	dir = t.TempDir()
	mic := micTrack("anna")
	m = record(t, dir, map[*media.Track][]sent{&mic: newSource(t, testmedia.Beep).between(0, 2*second)})
	call := filepath.Join(dir, recordingsDir, testCall)
	if err := os.MkdirAll(filepath.Join(call, ExportsDir), dirMode); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{keyName, "key-2.age", ExportsDir + "/p1-merged.webm"} {
		if err := os.WriteFile(filepath.Join(call, name), []byte("secret"), fileMode); err != nil {
			t.Fatal(err)
		}
	}
	return dir, m
}

// wantErased says what is left of a recording that should be gone.
func wantErased(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir, recordingsDir, testCall))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != tombstoneName {
			t.Errorf("%s is left", e.Name())
		}
	}
	if _, err := Show(dir, testCall); !errors.Is(err, fs.ErrNotExist) || !errors.Is(err, ErrErased) {
		t.Errorf("Show returned %v", err)
	}
	if list, err := List(dir); err != nil || len(list) != 1 || list[0].State != Erased {
		t.Errorf("the list is %+v, %v", list, err)
	}
	if r, err := Verify(t.Context(), dir, VerifyOptions{}); err != nil || len(r.Findings) > 0 || len(r.Erased) != 1 {
		t.Errorf("verify found %+v, %v", r, err)
	}
}

func TestAnErasedRecordingLeavesItsTombstone(t *testing.T) {
	dir, m := kept(t)
	stone, err := Erase(dir, testCall, "dr-who", "asked for by the patient")
	if err != nil {
		t.Fatal(err)
	}
	wantErased(t, dir)
	s := m.Segments[0]
	if stone.By != "dr-who" || stone.Reason != "asked for by the patient" || stone.Done == nil || stone.At.IsZero() ||
		stone.Call != testCall || !stone.Started.Equal(m.Started) || len(stone.ManifestSHA256) != 64 {
		t.Errorf("tombstone is %+v", stone)
	}
	if len(stone.Files) != 1 || stone.Files[0] != (ErasedFile{s.File, s.Bytes, s.SHA256}) {
		t.Errorf("files are %+v", stone.Files)
	}
	if _, err := Erase(dir, testCall, "somebody", "again"); !errors.Is(err, ErrErased) {
		t.Errorf("erased twice: %v", err)
	}
	if _, err := Hold(dir, testCall, "court", "case 7"); !errors.Is(err, ErrErased) {
		t.Errorf("held after it was erased: %v", err)
	}
}

func TestARecordingOnHoldIsNotErased(t *testing.T) {
	dir, m := kept(t)
	first, err := Hold(dir, testCall, "court", "case 7")
	if err != nil {
		t.Fatal(err)
	}
	if again, err := Hold(dir, testCall, "other", "case 8"); err != nil || again.By != first.By {
		t.Errorf("the second hold is %+v, %v", again, err)
	}
	if _, err := Erase(dir, testCall, "dr-who", "no space"); !errors.Is(err, ErrHeld) {
		t.Errorf("Erase returned %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, recordingsDir, testCall, holdName), []byte("{torn"), fileMode); err != nil {
		t.Fatal(err)
	}
	if _, err := Erase(dir, testCall, "dr-who", "no space"); !errors.Is(err, ErrHeld) {
		t.Errorf("with a damaged hold Erase returned %v", err)
	}
	if _, err := os.Stat(filePath(dir, m.Segments[0])); err != nil {
		t.Error(err)
	}
	if err := Release(dir, testCall); err != nil {
		t.Fatal(err)
	}
	if _, err := Erase(dir, testCall, "dr-who", "no space"); err != nil {
		t.Error(err)
	}
	wantErased(t, dir)
}

func TestOnlyWhatIsThereAndFinishedIsErased(t *testing.T) {
	dir, _ := kept(t)
	if err := os.MkdirAll(filepath.Join(dir, spoolDir, testCall), dirMode); err != nil {
		t.Fatal(err)
	}
	if _, err := Erase(dir, testCall, "x", "y"); !errors.Is(err, ErrUnfinished) {
		t.Errorf("Erase of a live call returned %v", err)
	}
	for _, id := range []string{"nobody", "../" + testCall, ""} {
		if _, err := Erase(dir, id, "x", "y"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Erase of %q returned %v", id, err)
		}
		if _, err := Hold(dir, id, "x", "y"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Hold of %q returned %v", id, err)
		}
		if err := Release(dir, id); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Release of %q returned %v", id, err)
		}
	}
}

// A crash at any point of erasing leaves a tombstone and some of the files.
func TestErasingThatWasCutOffIsFinishedByTheNextStart(t *testing.T) {
	files := []string{keyName, "key-2.age", ExportsDir, manifestName, "p1-mic-1.webm"}
	for cut := 0; cut <= len(files); cut++ {
		dir, _ := kept(t)
		root, unlock, err := lockCall(dir, testCall)
		if err != nil {
			t.Fatal(err)
		}
		if err := newTombstone(root, testCall, "dr-who", "cut off").save(root); err != nil {
			t.Fatal(err)
		}
		for _, name := range files[:cut] {
			if err := root.RemoveAll(name); err != nil {
				t.Fatal(err)
			}
		}
		unlock()
		if _, err := Show(dir, testCall); !errors.Is(err, ErrErased) {
			t.Errorf("half erased, it is shown: %v", err)
		}
		synctest.Test(t, func(t *testing.T) {
			s := newStudio(t, dir)
			<-time.After(second)
			s.close()
		})
		wantErased(t, dir)
		root, unlock, err = lockCall(dir, testCall)
		if err != nil {
			t.Fatal(err)
		}
		if stone, err := loadTombstone(root); err != nil || stone.By != "dr-who" || stone.Done == nil {
			t.Errorf("after %d files the tombstone is %+v, %v", cut, stone, err)
		}
		unlock()
	}
}

func TestRetentionErasesWhatWasKeptLongEnough(t *testing.T) {
	for name, tc := range map[string]struct {
		keep   time.Duration
		hold   bool
		erased bool
	}{
		"not yet":    {10 * time.Hour, false, false},
		"after that": {2 * time.Hour, false, true},
		"on hold":    {2 * time.Hour, true, false},
		"for ever":   {0, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			dir, _ := kept(t)
			if tc.hold {
				if _, err := Hold(dir, testCall, "court", "case 7"); err != nil {
					t.Fatal(err)
				}
			}
			var stones []Tombstone
			synctest.Test(t, func(t *testing.T) {
				s := newStudio(t, dir, func(r *Recorder) {
					r.config.Keep = tc.keep
					r.config.Erased = func(stone Tombstone) { stones = append(stones, stone) }
				})
				<-time.After(4 * time.Hour)
				s.close()
			})
			if !tc.erased {
				if _, err := Show(dir, testCall); err != nil || len(stones) > 0 {
					t.Errorf("it was erased: %v, %+v", err, stones)
				}
				return
			}
			wantErased(t, dir)
			if len(stones) != 1 || stones[0].By != RetentionBy {
				t.Errorf("told were %+v", stones)
			}
		})
	}
}

// A backup of the files, without keys: with the key of the recording it opens,
// and when that is destroyed nothing opens it, the archive's key included.
func TestWithItsKeyEveryCopyOfASealedFileIsGone(t *testing.T) {
	archive, public := archiveKey(t)
	sealer := newSealer(t, seal.AgeConfig{Recipients: []string{public}, IdentityFile: archive, ShredKeys: true})
	dir := t.TempDir()
	recordCall(t, dir, sealing(sealer), nil)
	wantFiles(t, dir, sealer, Final)
	copies, err := filepath.Glob(filepath.Join(dir, recordingsDir, testCall, "*.webm"+sealedExtension))
	if err != nil || len(copies) != 2 {
		t.Fatalf("files are %v, %v", copies, err)
	}
	backup, err := os.ReadFile(copies[0])
	if err != nil {
		t.Fatal(err)
	}
	root, unlock, err := lockCall(dir, testCall)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := loadKeys(root, ".", sealer)
	unlock()
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := sealer.OpenFile(bytes.NewReader(backup), int64(len(backup)), keys...); err != nil {
		t.Fatalf("with its key it does not open: %v", err)
	}
	if _, err := Erase(dir, testCall, "dr-who", "asked for"); err != nil {
		t.Fatal(err)
	}
	wantErased(t, dir)
	if _, _, err := sealer.OpenFile(bytes.NewReader(backup), int64(len(backup))); !errors.Is(err, seal.ErrNoIdentity) {
		t.Errorf("the copy opens all the same: %v", err)
	}
}
