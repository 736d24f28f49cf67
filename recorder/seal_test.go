package recorder

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"filippo.io/age"

	"consilium/internal/event"
	"consilium/internal/media"
	"consilium/internal/seal"
	"consilium/internal/testmedia"
)

// archiveKey makes the key of an archive: the file with the private one, and
// the public one.
func archiveKey(t testing.TB) (file, public string) {
	t.Helper()
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "archive.txt")
	if err := os.WriteFile(file, []byte(identity.String()+"\n"), fileMode); err != nil {
		t.Fatal(err)
	}
	return file, identity.Recipient().String()
}

func newSealer(t testing.TB, c seal.AgeConfig) *seal.Age {
	t.Helper()
	s, err := seal.NewAge(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// call is one call of 9 s with anna's microphone and camera; look is called at
// its end, before the tracks have ended.
func recordCall(t *testing.T, dir string, change func(*Recorder), look func()) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newStudio(t, dir, change)
		r := s.arm()
		r.Note(event.Event{Type: event.ParticipantJoined, Participant: "anna", Data: map[string]any{"role": "patient", "name": "Anna Karenina"}})
		begin := time.Now()
		mic, cam := r.Track(micTrack("anna"), nil), r.Track(camTrack("anna"), nil)
		var wg sync.WaitGroup
		wg.Go(func() { play(mic, newSource(t, testmedia.Beep).between(0, 9*second), begin) })
		wg.Go(func() { play(cam, newSource(t, testmedia.Camera).between(0, 9*second), begin) })
		wg.Wait()
		<-time.After(second)
		synctest.Wait()
		if look != nil {
			look()
		}
		r.End(time.Now())
		synctest.Wait()
		s.close()
	})
}

// sealedCrash makes a data directory as kill -9 leaves it, with sealed spools.
func sealedCrash(t *testing.T, sealer seal.Sealer) string {
	t.Helper()
	dir, live := t.TempDir(), t.TempDir()
	recordCall(t, live, sealing(sealer), func() {
		if err := os.CopyFS(dir, os.DirFS(live)); err != nil {
			t.Fatal(err)
		}
	})
	return dir
}

func sealing(s seal.Sealer) func(*Recorder) { return func(r *Recorder) { r.config.Sealer = s } }

// restartSealed runs a recorder until it has nothing more to recover.
func restartSealed(t *testing.T, dir string, sealer seal.Sealer) *studio {
	t.Helper()
	var s *studio
	synctest.Test(t, func(t *testing.T) {
		s = newStudio(t, dir, sealing(sealer))
		synctest.Wait()
		s.close()
	})
	return s
}

// wantFiles checks that both files of recordCall are there, sealed, whole and
// play when they are opened.
func wantFiles(t *testing.T, dir string, sealer seal.Sealer, state State) {
	t.Helper()
	m, err := Show(dir, testCall)
	if err != nil || m.State != state {
		t.Fatalf("manifest is %s, %v", m.State, err)
	}
	for _, source := range []media.Source{media.Microphone, media.Camera} {
		s := segmentOf(t, m, source)
		if s.State != state || s.Sealed == nil || s.Participant != "anna" {
			t.Fatalf("segment is %+v", s)
		}
		opened, err := OpenMedia(dir, testCall, s.File, sealer)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(opened)
		if e := opened.Close(); err != nil || e != nil || hexSum(data) != s.SHA256 || opened.Size() != s.Bytes {
			t.Errorf("%s: %d bytes, %v", s.File, len(data), err)
		}
		plain := filepath.Join(t.TempDir(), s.File)
		if err := os.WriteFile(plain, data, fileMode); err != nil {
			t.Fatal(err)
		}
		near(t, "duration", probe(t, plain).duration, 9, 0.6)
	}
	if left, _ := os.ReadDir(filepath.Join(dir, spoolDir, testCall)); len(left) > 0 {
		t.Errorf("left in the spool: %v", left)
	}
}

func TestASealedRecordingOpensWithTheStockProgram(t *testing.T) {
	program, err := exec.LookPath("age")
	if err != nil {
		t.Fatal("this test needs the program age (Debian package age)")
	}
	archive, public := archiveKey(t)
	dir := t.TempDir()
	recordCall(t, dir, sealing(newSealer(t, seal.AgeConfig{Recipients: []string{public}})), nil)
	wantFiles(t, dir, newSealer(t, seal.AgeConfig{IdentityFile: archive}), Final)
	m, err := Show(dir, testCall)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range m.Segments {
		stored, bytes, sum := s.Stored()
		out, err := exec.Command(program, "-d", "-i", archive, filepath.Join(dir, recordingsDir, testCall, stored)).Output()
		if err != nil || hexSum(out) != s.SHA256 {
			t.Errorf("age gave %d bytes of %s, %v", len(out), stored, err)
		}
		opened := filepath.Join(t.TempDir(), s.File)
		if err := os.WriteFile(opened, out, fileMode); err != nil {
			t.Fatal(err)
		}
		near(t, "duration of what age opened", probe(t, opened).duration, 9, 0.6)
		if onDisk, err := os.ReadFile(filepath.Join(dir, recordingsDir, testCall, stored)); err != nil || hexSum(onDisk) != sum || int64(len(onDisk)) != bytes {
			t.Errorf("%s: %d bytes on the disk, %v", stored, len(onDisk), err)
		}
	}
}

// markers are what must be nowhere on a sealed disk: the name of a person, and
// bytes out of the middle of frames of sound and picture.
func markers(t *testing.T) map[string][]byte {
	t.Helper()
	found := map[string][]byte{"name": []byte("Karenina"), "EBML": {0x1A, 0x45, 0xDF, 0xA3}, "codec": []byte("V_VP8")}
	for name, prepared := range map[string]func() (*testmedia.Clip, error){"sound": testmedia.Beep, "picture": testmedia.Camera} {
		for _, f := range newSource(t, prepared).between(0, second) {
			if payload := f.packet.Payload; len(payload) > 40 {
				found[name] = bytes.Clone(payload[len(payload)-24:])
			}
		}
	}
	return found
}

func TestAStolenDiskTellsOnlyIdentifiers(t *testing.T) {
	_, public := archiveKey(t)
	sealed := newSealer(t, seal.AgeConfig{Recipients: []string{public}})
	finished := t.TempDir()
	recordCall(t, finished, sealing(sealed), nil)
	plain := t.TempDir()
	recordCall(t, plain, func(*Recorder) {}, nil)
	for name, marker := range markers(t) {
		if n := count(t, plain, marker); n == 0 {
			t.Fatalf("the marker %s is not in a recording that is not sealed: the test is blind", name)
		}
		for where, dir := range map[string]string{"final files": finished, "after a crash": sealedCrash(t, sealed)} {
			if n := count(t, dir, marker); n > 0 {
				t.Errorf("%s: %s found in %d files", where, name, n)
			}
		}
	}
}

// count returns how many files below dir hold the marker.
func count(t *testing.T, dir string, marker []byte) int {
	t.Helper()
	n := 0
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(name)
		if bytes.Contains(data, marker) {
			n++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestASealedCrashIsRecoveredWithTheServersKey(t *testing.T) {
	_, public := archiveKey(t)
	server, _ := archiveKey(t)
	sealer := newSealer(t, seal.AgeConfig{Recipients: []string{public}, IdentityFile: server})
	dir := sealedCrash(t, sealer)
	restartSealed(t, dir, sealer)
	wantFiles(t, dir, sealer, Recovered)
}

func TestASealedCrashWithoutAKeyWaitsForRepair(t *testing.T) {
	archive, public := archiveKey(t)
	sealer := newSealer(t, seal.AgeConfig{Recipients: []string{public}})
	dir := sealedCrash(t, sealer)
	for range 2 { // every start finds it again
		s := restartSealed(t, dir, sealer)
		m, err := Show(dir, testCall)
		if err != nil || m.State != Locked || segmentOf(t, m, media.Camera).State != Locked {
			t.Fatalf("manifest says %+v, %v", m, err)
		}
		if len(s.count(event.RecordingFailed)) != 2 || len(s.count(event.RecordingReady)) != 0 {
			t.Errorf("events are %+v", s.events)
		}
	}
	stranger, _ := archiveKey(t)
	for _, c := range []struct {
		file    string
		problem bool
	}{{stranger, true}, {archive, false}, {archive, false}} {
		done, err := Repair(context.Background(), Config{Dir: dir, Version: "test", Sealer: newSealer(t, seal.AgeConfig{IdentityFile: c.file})})
		if err != nil || len(done) > 1 || c.problem && (len(done) != 1 || done[0].Problem == "") || !c.problem && len(done) == 1 && done[0].Problem != "" {
			t.Fatalf("Repair returned %+v, %v", done, err)
		}
	}
	wantFiles(t, dir, newSealer(t, seal.AgeConfig{IdentityFile: archive}), Recovered)
}

func TestACallGoesOnBesideItsSealedPast(t *testing.T) {
	archive, public := archiveKey(t)
	sealer := newSealer(t, seal.AgeConfig{Recipients: []string{public}})
	dir := sealedCrash(t, sealer)
	recordCall(t, dir, sealing(sealer), nil)
	m, err := Show(dir, testCall)
	if err != nil || m.State != Locked {
		t.Fatalf("manifest is %s, %v", m.State, err)
	}
	reader := newSealer(t, seal.AgeConfig{IdentityFile: archive})
	if _, err := Repair(context.Background(), Config{Dir: dir, Sealer: reader}); err != nil {
		t.Fatal(err)
	}
	m, err = Show(dir, testCall)
	if err != nil || len(m.Segments) != 4 {
		t.Fatalf("manifest says %+v, %v", m, err)
	}
	for _, s := range m.Segments {
		if f, err := OpenMedia(dir, testCall, s.File, reader); err != nil {
			t.Errorf("%s: %v", s.File, err)
		} else if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestAnErasedRecordingIsUnreadableInBackupsThatLeaveOutKeys(t *testing.T) {
	archive, public := archiveKey(t)
	dir, backup := t.TempDir(), t.TempDir()
	recordCall(t, dir, sealing(newSealer(t, seal.AgeConfig{Recipients: []string{public}, ShredKeys: true})), nil)
	reader := newSealer(t, seal.AgeConfig{IdentityFile: archive})
	if err := os.CopyFS(backup, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	rm(t, filepath.Join(backup, recordingsDir, testCall, keyName))
	wantFiles(t, dir, reader, Final)
	if _, err := Erase(dir, testCall, "olga", "asked for"); err != nil {
		t.Fatal(err)
	}
	if left := must(os.ReadDir(filepath.Join(dir, recordingsDir, testCall))); len(left) != 1 || left[0].Name() != tombstoneName {
		t.Errorf("left behind: %v", left)
	}
	m, err := Show(backup, testCall)
	if err != nil || len(m.Segments) != 2 {
		t.Fatalf("the backup's manifest: %+v, %v", m, err)
	}
	for _, s := range m.Segments {
		if _, err := OpenMedia(backup, testCall, s.File, reader); !errors.Is(err, seal.ErrNoIdentity) {
			t.Errorf("%s: %v", s.File, err)
		}
	}
}

func TestSealedFilesWithoutAKeyAreGivenSealedOnly(t *testing.T) {
	_, public := archiveKey(t)
	dir := t.TempDir()
	sealer := newSealer(t, seal.AgeConfig{Recipients: []string{public}})
	recordCall(t, dir, sealing(sealer), nil)
	for name, s := range map[string]seal.Sealer{"no sealing": nil, "no private key": sealer} {
		if _, err := OpenMedia(dir, testCall, "p1-mic-1.webm", s); !errors.Is(err, seal.ErrNoIdentity) {
			t.Errorf("%s: %v", name, err)
		}
		f, err := OpenMedia(dir, testCall, "p1-mic-1.webm.age", s)
		if err != nil {
			t.Fatal(err)
		}
		head := make([]byte, 21)
		if _, err := io.ReadFull(f, head); err != nil || !strings.HasPrefix(string(head), "age-encryption.org/v1") {
			t.Errorf("%s: %q, %v", name, head, err)
		}
		_ = f.Close()
	}
	if _, err := OpenMedia(dir, testCall, "p9-mic-1.webm", sealer); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}

// sealedSpools returns the sealed spools of a crash by the name of the file, and
// their keys.
func sealedSpools(t *testing.T) (map[string][]byte, []seal.Key) {
	t.Helper()
	server, _ := archiveKey(t)
	sealer := newSealer(t, seal.AgeConfig{IdentityFile: server})
	dir := sealedCrash(t, sealer)
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	keys, err := loadKeys(root, recordingsDir+"/"+testCall, sealer)
	if err != nil {
		t.Fatal(err)
	}
	spools := map[string][]byte{}
	for _, name := range []string{"p1-mic-1.webm", "p1-cam-1.webm"} {
		if spools[name], err = os.ReadFile(filepath.Join(dir, spoolDir, testCall, name+sealedExtension)); err != nil {
			t.Fatal(err)
		}
	}
	return spools, keys
}

// salvaged returns what can be had of a sealed spool: frames but silence.
func salvaged(t *testing.T, name string, data []byte, keys []seal.Key) ([]block, error) {
	t.Helper()
	src, err := openSealedSpool(bytes.NewReader(data), int64(len(data)), keys)
	if err != nil {
		return nil, err
	}
	if _, _, err := planFile(context.Background(), src, name, nil); err != nil {
		return nil, err
	}
	s, err := newSalvage(src, nil)
	if err != nil {
		return nil, err
	}
	var blocks []block
	for {
		b, err := s.next()
		if errors.Is(err, io.EOF) {
			return blocks, nil
		}
		if err != nil {
			return nil, err
		}
		if !bytes.Equal(b.data, opusSilence(960)) {
			blocks = append(blocks, b)
		}
	}
}

func TestSealedSpoolsDamagedAnywhereGiveWhatIsAuthentic(t *testing.T) {
	spools, keys := sealedSpools(t)
	random := rand.New(rand.NewPCG(5, 6))
	for name, data := range spools {
		whole, err := salvaged(t, name, data, keys)
		if err != nil {
			t.Fatal(err)
		}
		genuine := map[string]bool{}
		for _, b := range whole {
			genuine[string(b.data)] = true
		}
		// 500 of each kind for each of the two spools.
		for i := range often(1000) {
			bad, kept, what := data, 0.0, "cut"
			if i%2 == 0 {
				bad = data[:random.IntN(len(data))]
				kept = float64(len(bad))/float64(len(data)) - 0.1
			} else {
				what = "flipped"
				bad = bytes.Clone(data)
				bad[random.IntN(len(bad))] ^= 1 << random.IntN(8)
				kept = 0.8
			}
			got, err := salvaged(t, name, bad, keys)
			if err != nil {
				// The first record describes the spool; without it, and without
				// a manifest, nobody knows what it was.
				if !errors.Is(err, ErrDamaged) && !errors.Is(err, errNoFrames) && !errors.Is(err, seal.ErrNoIdentity) || what == "cut" && kept > 0.1 {
					t.Fatalf("%s %s (%d of %d bytes): %v", name, what, len(bad), len(data), err)
				}
				continue
			}
			if name == "p1-mic-1.webm" && float64(len(got)) < kept*float64(len(whole)) || len(got) > len(whole) {
				t.Errorf("%s %s (%d of %d bytes): %d frames of %d", name, what, len(bad), len(data), len(got), len(whole))
			}
			for _, b := range got {
				if !genuine[string(b.data)] {
					t.Fatalf("%s %s: a frame that was never recorded", name, what)
				}
			}
		}
	}
}
