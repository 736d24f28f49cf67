package recorder

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"consilium/internal/media"
	"consilium/internal/testmedia"
)

func TestRecordingsAreListedShownAndOpened(t *testing.T) {
	dir := t.TempDir()
	mic, track := newSource(t, testmedia.Beep), micTrack("anna")
	record(t, dir, map[*media.Track][]sent{&track: mic.between(0, second)})
	for name, content := range map[string]string{"broken": "{", "newer": `{"version": 99}`, "none": ""} {
		if err := os.Mkdir(filepath.Join(dir, recordingsDir, name), dirMode); err != nil {
			t.Fatal(err)
		}
		if content != "" {
			if err := os.WriteFile(filepath.Join(dir, recordingsDir, name, manifestName), []byte(content), fileMode); err != nil {
				t.Fatal(err)
			}
		}
	}
	list, err := List(dir)
	if err != nil || len(list) != 4 {
		t.Fatalf("List returned %+v, %v", list, err)
	}
	for _, s := range list {
		if whole := s.ID == testCall; whole != (s.Problem == "") || whole && (s.Files != 1 || s.Bytes == 0 || s.Participants != 1) {
			t.Errorf("summary says %+v", s)
		}
	}
	m, err := Show(dir, testCall)
	if err != nil {
		t.Fatal(err)
	}
	f, info, err := Open(dir, testCall, m.Segments[0].File)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if data, err := io.ReadAll(f); err != nil || int64(len(data)) != m.Segments[0].Bytes || info.Size() != m.Segments[0].Bytes {
		t.Errorf("file has %d bytes, %v", len(data), err)
	}
}

func TestAnEmptyDataDirectoryHasNoRecordings(t *testing.T) {
	if list, err := List(t.TempDir()); err != nil || list == nil || len(list) != 0 {
		t.Errorf("List returned %v, %v", list, err)
	}
}

func TestNamesLeadNowhereElse(t *testing.T) {
	dir := t.TempDir()
	mic, track := newSource(t, testmedia.Beep), micTrack("anna")
	record(t, dir, map[*media.Track][]sent{&track: mic.between(0, second)})
	secret := filepath.Join(dir, "p9-mic-9.webm")
	if err := os.WriteFile(secret, []byte("secret"), fileMode); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(secret, filepath.Join(dir, recordingsDir, testCall, "p9-mic-9.webm")); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"", ".", "..", "../recordings/" + testCall, "/etc", "a/b", "nobody", testCall + "\x00", strings.Repeat("a", 300)} {
		if _, err := Show(dir, id); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Show(%q) returned %v", id, err)
		}
		if _, _, err := Open(dir, id, "p1-mic-1.webm"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Open(%q) returned %v", id, err)
		}
	}
	for _, name := range []string{"", ".", "manifest.json", "../p9-mic-9.webm", "p1-mic-1.webm/..", "p1-mic-1.webm\x00", "p9-mic-9.webm", "p1-mic-2.webm", "P1-MIC-1.WEBM"} {
		if _, _, err := Open(dir, testCall, name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Open of %q returned %v", name, err)
		}
	}
}
