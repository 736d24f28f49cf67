package recorder

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"consilium/internal/media"
	"consilium/internal/seal"
	"consilium/internal/testmedia"
)

func TestWhatIsExportedOfASealedRecordingIsSealed(t *testing.T) {
	archive, public := archiveKey(t)
	dir := t.TempDir()
	sealed := newSealer(t, seal.AgeConfig{Recipients: []string{public}})
	recordCall(t, dir, sealing(sealed), nil)
	m, err := Show(dir, testCall)
	if err != nil {
		t.Fatal(err)
	}
	keyed := newSealer(t, seal.AgeConfig{Recipients: []string{public}, IdentityFile: archive})
	place := func(with seal.Sealer) (Merge, Exported, error) {
		open := func(file string) (io.ReadSeekCloser, error) { return OpenMedia(dir, testCall, file, with) }
		all, err := Merges(m, "anna", media.Camera, open)
		if err != nil {
			return Merge{}, Exported{}, err
		}
		e, err := PlaceExport(dir, testCall, all[0].Name, with, func(w io.Writer) error {
			_, err := all[0].Write(t.Context(), w, open)
			return err
		})
		return all[0], e, err
	}
	for name, with := range map[string]seal.Sealer{"no sealing": nil, "no private key": sealed} {
		if _, _, err := place(with); !errors.Is(err, seal.ErrNoIdentity) {
			t.Errorf("%s: %v", name, err)
		}
	}
	g, e, err := place(keyed)
	if err != nil {
		t.Fatal(err)
	}
	for name, marker := range markers(t) {
		if n := count(t, dir, marker); n > 0 {
			t.Errorf("%s found in %d files", name, n)
		}
	}
	f, err := OpenMedia(dir, testCall, g.Name, keyed)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	data, err := io.ReadAll(f)
	if err != nil || hexSum(data) != e.SHA256 || int64(len(data)) != e.Bytes {
		t.Errorf("%d bytes, %v; exported were %+v", len(data), err, e)
	}
	if _, _, err := Open(dir, testCall, g.Name+sealedExtension); err != nil {
		t.Errorf("the sealed file: %v", err)
	}
	if err := RemoveExport(dir, testCall, g.Name); err != nil {
		t.Error(err)
	}
	if _, err := OpenMedia(dir, testCall, g.Name, keyed); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after it was removed: %v", err)
	}
	into := t.TempDir()
	done, err := CopyMerged(t.Context(), dir, testCall, into, keyed)
	if err != nil || len(done) != 1 || done[0].Bytes != e.Bytes {
		t.Fatalf("copied %+v, %v", done, err)
	}
	if plain, err := os.ReadFile(filepath.Join(into, done[0].File)); err != nil || hexSum(plain) != e.SHA256 {
		t.Errorf("the copy is another file: %v", err)
	}
}

func TestExportsHaveNamesOfOurs(t *testing.T) {
	dir := t.TempDir()
	mic := micTrack("anna")
	record(t, dir, map[*media.Track][]sent{&mic: newSource(t, testmedia.Beep).between(0, 2*second)})
	for name, want := range map[string]bool{
		"p1-cam-merged-1.webm": true, "p12-screen-merged-3.mkv": true, "call-composed-1.mp4": true, "p1-cam-merged-1.webm.age": true,
		"p1-cam-1.webm": false, "../manifest.json": false, "exports.json": false, "call-composed-1.mp4.tmp": false, "anna-cam-merged-1.webm": false,
	} {
		if ValidExportName(name) != want {
			t.Errorf("%s is taken: %v", name, !want)
		}
		if want {
			continue
		}
		if _, err := PlaceExport(dir, testCall, name, nil, func(io.Writer) error { return nil }); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("place %s: %v", name, err)
		}
		if err := RemoveExport(dir, testCall, name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("remove %s: %v", name, err)
		}
	}
	if _, err := PlaceExport(dir, "nobody", "call-composed-1.mp4", nil, func(io.Writer) error { return nil }); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an export of no recording: %v", err)
	}
}

func TestNothingIsExportedIntoAnErasedRecording(t *testing.T) {
	dir := t.TempDir()
	mic := micTrack("anna")
	record(t, dir, map[*media.Track][]sent{&mic: newSource(t, testmedia.Beep).between(0, 2*second)})
	recording := filepath.Join(dir, recordingsDir, testCall)
	_, err := PlaceExport(dir, testCall, "call-composed-1.webm", nil, func(w io.Writer) error {
		// Erased while the file is being written.
		return errors.Join(os.RemoveAll(filepath.Join(recording, ExportsDir)), os.Remove(filepath.Join(recording, manifestName)))
	})
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("place: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(recording, ExportsDir, "*")); len(left) > 0 {
		t.Errorf("left are %v", left)
	}
}

// A file may have been changed by whoever has the disk.
func FuzzReadFormat(f *testing.F) {
	entry, err := streamHead(format{Codec: media.VP8, Width: 320, Height: 180, TrackUID: 7})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(entry)
	f.Add(entry[:len(entry)-3])
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := readFormat(bytes.NewReader(data))
		if err == nil && got.Codec == "" {
			t.Error("a format without a codec")
		}
	})
}
