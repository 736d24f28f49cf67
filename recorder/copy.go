package recorder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"

	"consilium/internal/seal"
)

// Copied is a file that Copy wrote.
type Copied struct {
	File  string `json:"file"`
	Bytes int64  `json:"bytes"`
	// Sealed says that no key opened it: it was copied as it is.
	Sealed bool `json:"sealed,omitempty"`
}

// Copy writes the manifest and the files of a recording into the directory out,
// which must exist; what is sealed is opened with sealer or, where no key does
// that, copied sealed, with its keys. Each file is compared with the manifest
// and appears under its name only when it is whole. Files of the same names are
// replaced.
func Copy(ctx context.Context, dir, id, out string, sealer seal.Sealer) ([]Copied, error) {
	from, err := openCall(dir, id)
	if err != nil {
		return nil, err
	}
	defer from.Close()
	m, err := loadManifest(from, ".")
	if err != nil {
		return nil, fmt.Errorf("recorder: recording %s: %w", id, err)
	}
	to, err := os.OpenRoot(out)
	if err != nil {
		return nil, fmt.Errorf("recorder: open directory: %w", err)
	}
	defer to.Close()
	var done []Copied
	sealed := false
	for _, s := range m.Segments {
		if s.State != Final && s.State != Recovered {
			continue
		}
		c, err := copySegment(ctx, dir, id, s, to, sealer)
		if err != nil {
			return done, fmt.Errorf("recorder: copy %s: %w", c.File, err)
		}
		sealed = sealed || c.Sealed
		done = append(done, c)
	}
	small := []string{manifestName}
	if sealed { // the archive's key may open the files by way of these only
		keys, err := keyFiles(from, ".")
		if err != nil {
			return done, err
		}
		small = append(small, keys...)
	}
	for _, name := range small {
		data, err := readFile(from, name, maxManifestBytes)
		if err == nil {
			err = replaceFile(to, ".", name, data)
		}
		if err != nil {
			return done, fmt.Errorf("recorder: copy %s: %w", name, err)
		}
		done = append(done, Copied{File: name, Bytes: int64(len(data))})
	}
	return done, nil
}

func copySegment(ctx context.Context, dir, id string, s Segment, to *os.Root, sealer seal.Sealer) (Copied, error) {
	media, err := OpenMedia(dir, id, s.File, sealer)
	if err == nil {
		defer media.Close()
		return Copied{File: s.File, Bytes: s.Bytes}, copyChecked(ctx, to, s.File, media, s.SHA256)
	}
	if !errors.Is(err, seal.ErrNoIdentity) || s.Sealed == nil {
		return Copied{File: s.File}, err
	}
	name, bytes, sum := s.Stored()
	file, _, err := Open(dir, id, name)
	if err != nil {
		return Copied{File: name}, err
	}
	defer file.Close()
	return Copied{File: name, Bytes: bytes, Sealed: true}, copyChecked(ctx, to, name, file, sum)
}

// copyChecked writes a file of which the checksum is known.
func copyChecked(ctx context.Context, to *os.Root, name string, from io.Reader, want string) error {
	temp := tempName(name)
	f, err := createFile(to, temp)
	if err != nil {
		return err
	}
	got, err := checksum(ctx, io.TeeReader(from, f))
	if err == nil && got != want {
		err = fmt.Errorf("its SHA-256 is %s, the manifest says %s: `consilium recordings verify` says more", got, want)
	}
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = to.Rename(temp, path.Clean(name))
	}
	if err != nil {
		_ = to.Remove(temp)
		return err
	}
	return syncDir(to, ".")
}
