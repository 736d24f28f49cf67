package seal

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"filippo.io/age"
)

// identity makes a private key in a file and returns its name and public key.
func identity(t testing.TB) (file, public string) {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "key.txt")
	if err := os.WriteFile(file, []byte("# made by a test\n"+id.String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, id.Recipient().String()
}

func newAge(t testing.TB, c AgeConfig) *Age {
	t.Helper()
	a, err := NewAge(c)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func newKey(t testing.TB, a *Age) (Key, []byte) {
	t.Helper()
	key, sealed, err := a.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return key, sealed
}

func sealFile(t testing.TB, a *Age, key Key, content []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := a.SealFile(&out, key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func openFile(a *Age, sealed []byte, keys ...Key) ([]byte, error) {
	r, size, err := a.OpenFile(bytes.NewReader(sealed), int64(len(sealed)), keys...)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.NewSectionReader(r, 0, size))
}

func TestAFileOpensWithTheArchivesKeyTheServersAndNoOther(t *testing.T) {
	archiveFile, archive := identity(t)
	serverFile, _ := identity(t)
	strangerFile, _ := identity(t)
	server := newAge(t, AgeConfig{Recipients: []string{archive}, IdentityFile: serverFile})
	key, _ := newKey(t, server)
	content := bytes.Repeat([]byte("medical data "), 20_000)
	sealed := sealFile(t, server, key, content)
	for name, c := range map[string]struct {
		file string
		want error
	}{
		"archive":  {archiveFile, nil},
		"server":   {serverFile, nil},
		"stranger": {strangerFile, ErrNoIdentity},
		"nobody":   {"", ErrNoIdentity},
	} {
		got, err := openFile(newAge(t, AgeConfig{IdentityFile: c.file}), sealed)
		if !errors.Is(err, c.want) || c.want == nil && !bytes.Equal(got, content) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	if got, err := openFile(newAge(t, AgeConfig{}), sealed, key); err != nil || !bytes.Equal(got, content) {
		t.Errorf("with the key of the recording: %d bytes, %v", len(got), err)
	}
}

func TestAnyPlaceOfASealedFileCanBeRead(t *testing.T) {
	file, _ := identity(t)
	a := newAge(t, AgeConfig{IdentityFile: file})
	key, _ := newKey(t, a)
	content := make([]byte, 300_001)
	random := rand.New(rand.NewPCG(1, 1))
	for i := range content {
		content[i] = byte(random.Uint32())
	}
	sealed := sealFile(t, a, key, content)
	r, size, err := a.OpenFile(bytes.NewReader(sealed), int64(len(sealed)))
	if err != nil || size != int64(len(content)) {
		t.Fatalf("%d bytes, %v", size, err)
	}
	for range 100 {
		from := random.IntN(len(content))
		part := make([]byte, 1+random.IntN(min(len(content)-from, 100_000)))
		if _, err := r.ReadAt(part, int64(from)); err != nil && !errors.Is(err, io.EOF) || !bytes.Equal(part, content[from:from+len(part)]) {
			t.Fatalf("%d bytes from %d: %v", len(part), from, err)
		}
	}
}

func TestAChangedOrCutFileIsRefused(t *testing.T) {
	file, _ := identity(t)
	a := newAge(t, AgeConfig{IdentityFile: file})
	key, _ := newKey(t, a)
	sealed := sealFile(t, a, key, make([]byte, 200_000))
	random := rand.New(rand.NewPCG(2, 2))
	for range 200 {
		bad := bytes.Clone(sealed)
		i := random.IntN(len(bad))
		bad[i] ^= 1 << random.IntN(8)
		if _, err := openFile(a, bad); !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNoIdentity) {
			t.Fatalf("byte %d of %d was flipped: %v", i, len(bad), err)
		}
		if _, err := openFile(a, sealed[:random.IntN(len(sealed))]); !errors.Is(err, ErrDamaged) {
			t.Fatalf("a cut file: %v", err)
		}
	}
}

func TestTheKeyOfARecordingIsForWhoMayOpenIt(t *testing.T) {
	archiveFile, archive := identity(t)
	writer := newAge(t, AgeConfig{Recipients: []string{archive}})
	key, sealed := newKey(t, writer)
	if _, err := writer.OpenKey(sealed); !errors.Is(err, ErrNoIdentity) {
		t.Errorf("without a private key: %v", err)
	}
	reader := newAge(t, AgeConfig{IdentityFile: archiveFile})
	same, err := reader.OpenKey(sealed)
	if err != nil {
		t.Fatal(err)
	}
	record, err := key.SealRecord([]byte("head"), []byte("half a second"))
	if err != nil || string(record[:4]) != "head" || !bytes.HasPrefix(record[4:], key.Marker()) {
		t.Fatalf("record is %q, %v", record, err)
	}
	if got, err := same.OpenRecord(record[4:]); err != nil || string(got) != "half a second" {
		t.Errorf("opened %q, %v", got, err)
	}
	other, _ := newKey(t, writer)
	if _, err := other.OpenRecord(record[4:]); !errors.Is(err, ErrNoIdentity) {
		t.Errorf("another recording's key: %v", err)
	}
	sealed[len(sealed)-1] ^= 1
	if _, err := reader.OpenKey(sealed); !errors.Is(err, ErrDamaged) {
		t.Errorf("a changed key: %v", err)
	}
}

func TestOfACutRecordTheAuthenticPartIsGiven(t *testing.T) {
	_, archive := identity(t)
	key, _ := newKey(t, newAge(t, AgeConfig{Recipients: []string{archive}}))
	record := bytes.Repeat([]byte("0123456789abcdef"), 16<<10) // 256 KiB: four chunks of age
	sealed, err := key.SealRecord(nil, record)
	if err != nil {
		t.Fatal(err)
	}
	got, err := key.OpenRecord(sealed[:len(sealed)-70_000])
	if !errors.Is(err, ErrDamaged) || len(got) < 128<<10 || !bytes.HasPrefix(record, got) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestShreddingTheKeyShredsEveryCopy(t *testing.T) {
	archiveFile, archive := identity(t)
	a := newAge(t, AgeConfig{Recipients: []string{archive}, ShredKeys: true})
	key, sealedKey := newKey(t, a)
	sealed := sealFile(t, a, key, []byte("medical data"))
	reader := newAge(t, AgeConfig{IdentityFile: archiveFile})
	if _, err := openFile(reader, sealed); !errors.Is(err, ErrNoIdentity) {
		t.Errorf("without the recording's key: %v", err)
	}
	again, err := reader.OpenKey(sealedKey)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := openFile(reader, sealed, again); err != nil || string(got) != "medical data" {
		t.Errorf("with it: %q, %v", got, err)
	}
}

func TestUnusableKeysAreNamedAndPrivateOnesNotShown(t *testing.T) {
	_, archive := identity(t)
	for _, text := range []string{"", "ssh-ed25519 AAAA", archive[:20], "AGE-SECRET-KEY-1QQQ"} {
		_, err := NewAge(AgeConfig{Recipients: []string{text}})
		if err == nil || text != "" && bytes.Contains([]byte(err.Error()), []byte("SECRET-KEY-1QQQ")) {
			t.Errorf("%q: %v", text, err)
		}
	}
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{empty, empty + "-not-there"} {
		if _, err := NewAge(AgeConfig{IdentityFile: file}); err == nil {
			t.Errorf("%s was taken", file)
		}
	}
}

func TestTheStockProgramOpensFilesAndKeys(t *testing.T) {
	program, err := exec.LookPath("age")
	if err != nil {
		t.Fatal("this test needs the program age (Debian package age)")
	}
	archiveFile, archive := identity(t)
	for name, shred := range map[string]bool{"sealed to the archive": false, "sealed to the recording's key": true} {
		t.Run(name, func(t *testing.T) {
			a := newAge(t, AgeConfig{Recipients: []string{archive}, ShredKeys: shred})
			key, sealedKey := newKey(t, a)
			content := bytes.Repeat([]byte("picture and sound "), 10_000)
			dir := t.TempDir()
			for file, data := range map[string][]byte{"key.age": sealedKey, "p1-mic-1.webm.age": sealFile(t, a, key, content)} {
				if err := os.WriteFile(filepath.Join(dir, file), data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			with := archiveFile
			if shred {
				with = filepath.Join(dir, "key.txt")
				if out, err := exec.Command(program, "-d", "-i", archiveFile, "-o", with, filepath.Join(dir, "key.age")).CombinedOutput(); err != nil {
					t.Fatalf("age: %v: %s", err, out)
				}
			}
			got, err := exec.Command(program, "-d", "-i", with, filepath.Join(dir, "p1-mic-1.webm.age")).Output()
			if err != nil || !bytes.Equal(got, content) {
				t.Errorf("age gave %d bytes, %v", len(got), err)
			}
		})
	}
}

func FuzzRecordsNeverPanic(f *testing.F) {
	_, archive := identity(f)
	key, sealed := newKey(f, newAge(f, AgeConfig{Recipients: []string{archive}}))
	record, err := key.SealRecord(nil, []byte("half a second"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(record)
	f.Add(sealed)
	f.Fuzz(func(t *testing.T, data []byte) {
		if got, err := key.OpenRecord(data); err == nil && !bytes.Equal(got, []byte("half a second")) {
			t.Errorf("opened %q", got)
		}
	})
}

func BenchmarkSealRecord(b *testing.B) {
	_, archive := identity(b)
	key, _ := newKey(b, newAge(b, AgeConfig{Recipients: []string{archive}}))
	record, out := make([]byte, 100<<10), []byte(nil) // half a second of 1.5 Mbit/s
	b.SetBytes(int64(len(record)))
	for b.Loop() {
		var err error
		if out, err = key.SealRecord(out[:0], record); err != nil {
			b.Fatal(err)
		}
	}
}
