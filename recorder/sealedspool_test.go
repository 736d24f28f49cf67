package recorder

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"consilium/internal/media"
	"consilium/internal/seal"
)

// sealedSpoolOf seals the records of a spool in memory.
func sealedSpoolOf(t testing.TB, key seal.Key, blocks []block) []byte {
	t.Helper()
	var buf memoryFile
	s, err := newSpool(&buf, spoolHeader{Version: spoolVersion, Call: testCall, Format: format{Codec: media.Opus, TrackUID: 1}})
	if err != nil {
		t.Fatal(err)
	}
	s.key = key
	for _, b := range blocks {
		if err := s.write(b); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestASealedSpoolCanBeReadFromAnyPlace(t *testing.T) {
	server, _ := archiveKey(t)
	key, _, err := newSealer(t, seal.AgeConfig{IdentityFile: server}).NewKey()
	if err != nil {
		t.Fatal(err)
	}
	data := sealedSpoolOf(t, key, silentBlocks(200))
	s, err := openSealedSpool(bytes.NewReader(data), int64(len(data)), []seal.Key{key})
	if err != nil {
		t.Fatal(err)
	}
	whole, err := io.ReadAll(s)
	if err != nil || int64(len(whole)) != s.size {
		t.Fatalf("%d bytes of %d, %v", len(whole), s.size, err)
	}
	for at := int64(0); at < s.size; at += 97 {
		if _, err := s.Seek(at, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		part := make([]byte, min(500, s.size-at))
		if _, err := io.ReadFull(s, part); err != nil || !bytes.Equal(part, whole[at:at+int64(len(part))]) {
			t.Fatalf("from %d: %v", at, err)
		}
	}
	if _, err := s.Seek(-1, io.SeekStart); err == nil {
		t.Error("a seek before the beginning")
	}
}

func TestAForeignKeyIsNoDamage(t *testing.T) {
	server, _ := archiveKey(t)
	sealer := newSealer(t, seal.AgeConfig{IdentityFile: server})
	key, _, err := sealer.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	other, _, err := sealer.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	data := sealedSpoolOf(t, key, silentBlocks(100))
	for name, keys := range map[string][]seal.Key{"another": {other}, "none": nil} {
		if _, err := openSealedSpool(bytes.NewReader(data), int64(len(data)), keys); !errors.Is(err, seal.ErrNoIdentity) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if s, err := openSealedSpool(bytes.NewReader(data), int64(len(data)), []seal.Key{other, key}); err != nil || s.size == 0 {
		t.Errorf("one of two: %v", err)
	}
}

func FuzzSealedSpool(f *testing.F) {
	server, _ := archiveKey(f)
	key, _, err := newSealer(f, seal.AgeConfig{IdentityFile: server}).NewKey()
	if err != nil {
		f.Fatal(err)
	}
	data := sealedSpoolOf(f, key, silentBlocks(60))
	// The fuzzer can't make sealed records: it cuts, swaps and repeats real ones.
	f.Add(uint16(0), uint16(10), uint16(3), []byte("x"))
	f.Add(uint16(100), uint16(400), uint16(400), []byte{0, 0, 1, 0})
	f.Fuzz(func(t *testing.T, from, to, at uint16, junk []byte) {
		piece := func(n uint16) int { return int(n) % len(data) }
		a, b := min(piece(from), piece(to)), max(piece(from), piece(to))
		bad := bytes.Join([][]byte{data[:piece(at)], junk, data[a:b], data[piece(at):]}, nil)
		s, err := openSealedSpool(bytes.NewReader(bad), int64(len(bad)), []seal.Key{key})
		if err != nil {
			if !errors.Is(err, seal.ErrNoIdentity) {
				t.Fatal(err)
			}
			return
		}
		r, err := newBlockReader(s)
		if err != nil {
			t.Fatal(err)
		}
		for n := 0; ; n++ {
			b, err := r.next()
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil || n > 10*60 {
				t.Fatalf("block %d: %v", n, err)
			}
			if !bytes.Equal(b.data, opusSilence(960)) {
				t.Fatalf("block %d was never recorded", n)
			}
		}
	})
}
