package recorder

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestMediaOfWhichThereIsACopyGoesAndComesBack(t *testing.T) {
	dir, m := kept(t)
	stored, err := StoredFiles(dir, testCall)
	if err != nil || len(stored) != len(m.Segments)+3 || stored[len(stored)-1].Name != manifestName {
		t.Fatalf("media, two keys and the manifest: %+v, %v", stored, err)
	}
	call := filepath.Join(dir, recordingsDir, testCall)
	media, other := stored[0].Name, "p9-cam-9.webm" // one that no manifest lists: nobody copied it
	data, err := os.ReadFile(filepath.Join(call, media))
	if err == nil {
		err = os.WriteFile(filepath.Join(call, other), data, fileMode)
	}
	if err != nil {
		t.Fatal(err)
	}

	if _, err := Hold(dir, testCall, "court", "file 7"); err != nil {
		t.Fatal(err)
	}
	if err := RemoveMedia(dir, testCall); !errors.Is(err, ErrHeld) || MediaRemovable(dir, testCall) {
		t.Errorf("on hold: %v", err)
	}
	if err := Release(dir, testCall); err != nil {
		t.Fatal(err)
	}
	if !MediaRemovable(dir, testCall) {
		t.Error("there is nothing to remove")
	}
	if err := RemoveMedia(dir, testCall); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(call, media)); !errors.Is(err, fs.ErrNotExist) || MediaRemovable(dir, testCall) {
		t.Errorf("after the removal: %v", err)
	}
	for _, name := range []string{other, keyName, manifestName} {
		if _, err := os.Stat(filepath.Join(call, name)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}

	if err := Restore(t.Context(), dir, testCall, media, bytes.NewReader(data[:len(data)-1])); err == nil {
		t.Error("a file that is not what the manifest says came back")
	}
	if _, err := os.Stat(filepath.Join(call, media)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("and was left there: %v", err)
	}
	for _, name := range []string{other, "../x", manifestName} {
		if err := Restore(t.Context(), dir, testCall, name, bytes.NewReader(data)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s came back: %v", name, err)
		}
	}
	if err := Restore(t.Context(), dir, testCall, media, bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(call, media)); err != nil || !bytes.Equal(got, data) {
		t.Errorf("what came back is another: %v", err)
	}
}

func TestACopyCanTellAnErasedRecordingFromALostOne(t *testing.T) {
	dir, _ := kept(t)
	if IsErased(dir, testCall) {
		t.Error("before it is erased")
	}
	if _, err := Erase(dir, testCall, "doctor", "asked"); err != nil {
		t.Fatal(err)
	}
	if !IsErased(dir, testCall) {
		t.Error("after it was erased")
	}
	if err := os.RemoveAll(filepath.Join(dir, recordingsDir, testCall)); err != nil {
		t.Fatal(err)
	}
	if IsErased(dir, testCall) {
		t.Error("it is just not there")
	}
	if err := Restore(t.Context(), dir, testCall, "p1-mic-1.webm", bytes.NewReader(nil)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("restored into nothing: %v", err)
	}
}
