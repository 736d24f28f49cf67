package recorder

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"consilium/internal/event"
	"consilium/internal/media"
	"consilium/internal/seal"
	"consilium/internal/testmedia"
)

// archived makes a data directory with three recordings, first, second and
// third, of a second of sound each.
func archived(t *testing.T, sealer seal.Sealer) string {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := newStudio(t, dir, sealing(sealer))
		for n, id := range []string{"first", "second", "third"} {
			r, err := s.recorder.Arm(context.Background(), media.Call{ID: id, Room: "room-1", Started: time.Now()})
			if err != nil {
				t.Fatal(err)
			}
			sink := r.Track(micTrack("anna"), nil)
			play(sink, newSource(t, testmedia.Beep).between(0, second), time.Now())
			sink.End(media.EndLeft, time.Now())
			r.End(time.Now())
			synctest.Wait()
			if got := len(s.count(event.RecordingReady)); got != n+1 {
				t.Fatalf("%d recordings are ready, not %d", got, n+1)
			}
		}
		s.close()
	})
	return dir
}

// signAgain signs a manifest as who has the key.
func signAgain(t *testing.T, name string, key ed25519.PrivateKey, change func(*Manifest)) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	m, err := decodeManifest(text)
	if err != nil {
		t.Fatal(err)
	}
	change(&m)
	if err := m.sign(key); err != nil {
		t.Fatal(err)
	}
	if text, err = m.encode(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, text, fileMode); err != nil {
		t.Fatal(err)
	}
}

func rewrite(t *testing.T, name string, change func([]byte) []byte) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err == nil {
		err = os.WriteFile(name, change(data), fileMode)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestVerifyFindsNothingWrongWithWhatIsWhole(t *testing.T) {
	server, public := archiveKey(t)
	for name, c := range map[string]struct {
		sealer seal.Sealer
		opened int
	}{
		"open":                  {nil, 0},
		"sealed, no key":        {newSealer(t, seal.AgeConfig{Recipients: []string{public}}), 0},
		"sealed, with a key":    {newSealer(t, seal.AgeConfig{IdentityFile: server}), 3},
		"sealed, keys shredded": {newSealer(t, seal.AgeConfig{IdentityFile: server, ShredKeys: true}), 3},
	} {
		t.Run(name, func(t *testing.T) {
			dir := archived(t, c.sealer)
			r, err := Verify(context.Background(), dir, VerifyOptions{Sealer: c.sealer})
			if err != nil || len(r.Findings) > 0 || r.Recordings != 3 || r.Files != 3 || r.Links != 3 || r.Opened != c.opened || !r.KeyTrusted {
				t.Errorf("report is %+v, %v", r, err)
			}
			_, fingerprint, err := PublicKey(dir)
			if err != nil || r.Key != fingerprint {
				t.Errorf("signed by %s, the key is %s, %v", r.Key, fingerprint, err)
			}
		})
	}
}

func TestVerifyNamesWhatIsWrong(t *testing.T) {
	server, _ := archiveKey(t)
	sealer := newSealer(t, seal.AgeConfig{IdentityFile: server})
	_, foreign, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	whole := archived(t, sealer)
	for name, c := range map[string]struct {
		spoil           func(t *testing.T, dir string) // dir of the recordings
		recording, file string
		problem         string
	}{
		"a flipped bit": {func(t *testing.T, dir string) {
			rewrite(t, dir+"/second/p1-mic-1.webm.age", func(b []byte) []byte { b[len(b)-100] ^= 4; return b })
		}, "second", "p1-mic-1.webm.age", "SHA-256"},
		"a cut file": {func(t *testing.T, dir string) {
			rewrite(t, dir+"/second/p1-mic-1.webm.age", func(b []byte) []byte { return b[:len(b)-1] })
		}, "second", "p1-mic-1.webm.age", "bytes, the manifest says"},
		"a missing file": {func(t *testing.T, dir string) {
			rm(t, dir+"/second/p1-mic-1.webm.age")
		}, "second", "p1-mic-1.webm.age", "missing"},
		"another file in its place, well sealed": {func(t *testing.T, dir string) {
			rewrite(t, dir+"/second/p1-mic-1.webm.age", func([]byte) []byte {
				return must(os.ReadFile(dir + "/first/p1-mic-1.webm.age"))
			})
		}, "second", "p1-mic-1.webm.age", "the manifest says"},
		"a file too many": {func(t *testing.T, dir string) {
			if err := os.WriteFile(dir+"/second/p9-cam-1.webm", []byte("x"), fileMode); err != nil {
				t.Fatal(err)
			}
		}, "second", "p9-cam-1.webm", "does not list"},
		"a changed manifest": {func(t *testing.T, dir string) {
			rewrite(t, dir+"/second/manifest.json", func(b []byte) []byte { return bytes.Replace(b, []byte("anna"), []byte("olga"), 1) })
		}, "second", manifestName, "changed after it was signed"},
		"a manifest without its signature": {func(t *testing.T, dir string) {
			rewrite(t, dir+"/second/manifest.json", func(b []byte) []byte {
				m := must(decodeManifest(b))
				m.Signature = nil
				return must(m.encode())
			})
		}, "second", manifestName, "not signed"},
		"a broken manifest": {func(t *testing.T, dir string) {
			rewrite(t, dir+"/second/manifest.json", func(b []byte) []byte { return b[:len(b)/2] })
		}, "second", manifestName, "decode manifest"},
		"a manifest signed by somebody else": {func(t *testing.T, dir string) {
			signAgain(t, dir+"/second/manifest.json", foreign, func(m *Manifest) { m.Room = "room-2" })
		}, "second", manifestName, "another key"},
		"a manifest changed by who has the server's key": {func(t *testing.T, dir string) {
			root := must(os.OpenRoot(filepath.Dir(dir)))
			defer root.Close()
			signAgain(t, dir+"/second/manifest.json", must(loadSigningKey(root)), func(m *Manifest) { m.Room = "room-2" })
		}, "second", manifestName, "not the one in the chain"},
		"a recording taken away": {func(t *testing.T, dir string) {
			if err := os.RemoveAll(dir + "/second"); err != nil {
				t.Fatal(err)
			}
		}, "second", "", "missing"},
		"a recording taken out of the chain too": {func(t *testing.T, dir string) {
			if err := os.RemoveAll(dir + "/second"); err != nil {
				t.Fatal(err)
			}
			rewrite(t, dir+"/chain", func(b []byte) []byte {
				lines := bytes.SplitAfter(b, []byte("\n"))
				return append(lines[0], lines[2]...)
			})
		}, "third", manifestName, "the chain is broken before it"},
		"a recording put in": {func(t *testing.T, dir string) {
			if err := os.CopyFS(dir+"/fourth", os.DirFS(dir+"/second")); err != nil {
				t.Fatal(err)
			}
		}, "fourth", manifestName, "not in the chain"},
		"a chain of nonsense": {func(t *testing.T, dir string) {
			rewrite(t, dir+"/chain", func(b []byte) []byte { return append([]byte("nonsense\n"), b...) })
		}, "", chainName, "line 1"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
				t.Fatal(err)
			}
			c.spoil(t, filepath.Join(dir, recordingsDir))
			r, err := Verify(context.Background(), dir, VerifyOptions{Sealer: sealer})
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range r.Findings {
				if f.Recording == c.recording && f.File == c.file && strings.Contains(f.Problem, c.problem) {
					return
				}
			}
			t.Errorf("findings are %+v", r.Findings)
		})
	}
}

func rm(t *testing.T, name string) {
	t.Helper()
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
}

func TestAnErasedRecordingIsNoFault(t *testing.T) {
	dir := archived(t, nil)
	stone, err := Erase(dir, "second", "olga", "asked for")
	if err != nil {
		t.Fatal(err)
	}
	r, err := Verify(context.Background(), dir, VerifyOptions{})
	if err != nil || len(r.Findings) > 0 || len(r.Erased) != 1 || r.Recordings != 2 {
		t.Errorf("report is %+v, %v", r, err)
	}
	second := filepath.Join(dir, recordingsDir, "second")
	for name, spoil := range map[string]func(){
		"a file that is still there": func() {
			if err := os.WriteFile(filepath.Join(second, "p1-mic-1.webm"), []byte("x"), fileMode); err != nil {
				t.Fatal(err)
			}
		},
		"a tombstone of nothing": func() {
			stone.ManifestSHA256 = hexSum(nil)
			if err := os.WriteFile(filepath.Join(second, tombstoneName), must(json.Marshal(stone)), fileMode); err != nil {
				t.Fatal(err)
			}
		},
		"no tombstone at all": func() {
			if err := os.WriteFile(filepath.Join(second, tombstoneName), nil, fileMode); err != nil {
				t.Fatal(err)
			}
		},
	} {
		saved := must(os.ReadFile(filepath.Join(second, tombstoneName)))
		spoil()
		if r, err = Verify(context.Background(), dir, VerifyOptions{}); err != nil || len(r.Findings) != 1 {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
		if err := os.WriteFile(filepath.Join(second, tombstoneName), saved, fileMode); err != nil {
			t.Fatal(err)
		}
		_ = os.Remove(filepath.Join(second, "p1-mic-1.webm"))
	}
}

func TestFilesThatLieInAnotherStoreAreNotMissing(t *testing.T) {
	dir := archived(t, nil)
	rm(t, filepath.Join(dir, recordingsDir, "second", "p1-mic-1.webm"))
	r, err := Verify(context.Background(), dir, VerifyOptions{Away: func(id string) bool { return id == "second" }})
	if err != nil || len(r.Findings) > 0 || r.Away != 1 || r.Files != 2 {
		t.Errorf("report is %+v, %v", r, err)
	}
	if r, err = Verify(context.Background(), dir, VerifyOptions{Away: func(id string) bool { return id == "first" }}); err != nil || len(r.Findings) != 1 {
		t.Errorf("another recording is away: %+v, %v", r, err)
	}
}

func TestTheFingerprintOfAnotherDayIsWhatCounts(t *testing.T) {
	dir := archived(t, nil)
	r, err := Verify(context.Background(), dir, VerifyOptions{IDs: []string{"first"}, Fingerprint: strings.Repeat("0", 64)})
	if err != nil || len(r.Findings) != 1 || !strings.Contains(r.Findings[0].Problem, "another key") {
		t.Errorf("report is %+v, %v", r, err)
	}
	// A copy without the private key: all signed by one key, which nobody vouches for.
	rm(t, filepath.Join(dir, signingKeyName))
	if r, err = Verify(context.Background(), dir, VerifyOptions{}); err != nil || len(r.Findings) > 0 || r.KeyTrusted || len(r.Key) != 64 {
		t.Errorf("report is %+v, %v", r, err)
	}
	if _, err := Verify(context.Background(), dir, VerifyOptions{IDs: []string{"../.."}}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an id that is none: %v", err)
	}
}

func TestWhatIsSignedDoesNotDependOnLayoutOrUnknownMembers(t *testing.T) {
	a, err := canonical([]byte(`{"b": [1.50, {"y":1, "x":"<&>"}], "a": null, "signature": {"value": "x"}, "new": 1e3}`))
	if err != nil || string(a) != `{"a":null,"b":[1.50,{"x":"<&>","y":1}],"new":1e3}` {
		t.Errorf("canonical is %s, %v", a, err)
	}
	dir := archived(t, nil)
	name := filepath.Join(dir, recordingsDir, "first", manifestName)
	text := must(os.ReadFile(name))
	var compact bytes.Buffer
	if err := json.Compact(&compact, text); err != nil {
		t.Fatal(err)
	}
	if _, err := verifySignature(compact.Bytes()); err != nil {
		t.Errorf("without white space: %v", err)
	}
	if _, err := verifySignature(bytes.Replace(text, []byte("{"), []byte(`{"more": 1,`), 1)); !errors.Is(err, errBadSignature) {
		t.Errorf("with a member more: %v", err)
	}
}

func TestTheSigningKeyIsMadeOnceAndForNobodyElse(t *testing.T) {
	dir := archived(t, nil)
	_, first, err := PublicKey(dir)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, signingKeyName))
	if err != nil || info.Mode() != fileMode {
		t.Errorf("mode is %v, %v", info.Mode(), err)
	}
	restartWith(t, dir)
	if _, again, err := PublicKey(dir); err != nil || again != first {
		t.Errorf("key is %s, was %s, %v", again, first, err)
	}
	if err := os.WriteFile(filepath.Join(dir, signingKeyName), []byte("nonsense"), fileMode); err != nil {
		t.Fatal(err)
	}
	r, err := New(Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Run(t.Context()); err == nil || !strings.Contains(err.Error(), signingKeyName) {
		t.Errorf("Run with a broken key returned %v", err)
	}
}

func TestCopyOpensWhatAKeyOpensAndLeavesTheRestSealed(t *testing.T) {
	archive, public := archiveKey(t)
	dir := archived(t, newSealer(t, seal.AgeConfig{Recipients: []string{public}}))
	for name, c := range map[string]struct {
		sealer seal.Sealer
		files  []string
	}{
		"with the key":    {newSealer(t, seal.AgeConfig{IdentityFile: archive}), []string{manifestName, "p1-mic-1.webm"}},
		"without the key": {newSealer(t, seal.AgeConfig{}), []string{keyName, manifestName, "p1-mic-1.webm.age"}},
	} {
		out := t.TempDir()
		if _, err := Copy(context.Background(), dir, "first", out, c.sealer); err != nil {
			t.Fatal(err)
		}
		var found []string
		for _, e := range must(os.ReadDir(out)) {
			found = append(found, e.Name())
		}
		if strings.Join(found, " ") != strings.Join(c.files, " ") {
			t.Errorf("%s: files are %q", name, found)
		}
	}
	rewrite(t, filepath.Join(dir, recordingsDir, "first", "p1-mic-1.webm.age"), func(b []byte) []byte { b[len(b)-1] ^= 1; return b })
	out := t.TempDir()
	if _, err := Copy(context.Background(), dir, "first", out, newSealer(t, seal.AgeConfig{})); err == nil || !strings.Contains(err.Error(), "recordings verify") {
		t.Errorf("a damaged file was copied: %v", err)
	}
	if left := must(os.ReadDir(out)); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
