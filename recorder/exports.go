package recorder

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"regexp"
	"syscall"

	"consilium/internal/media"
	"consilium/internal/seal"
)

// ExportsDir, in a recording's directory, holds what was made from it. Nothing
// in it is evidence, and everything can be made again.
const ExportsDir = "exports"

var exportPattern = regexp.MustCompile(`^(p[0-9]{1,6}-(cam|screen)-merged|call-composed)-[0-9]{1,6}\.(webm|mkv|mp4)(\.age)?$`)

// ValidExportName reports whether name is one that is given to exported files.
func ValidExportName(name string) bool { return exportPattern.MatchString(name) }

// exportName is the name of the nth file of its kind; what names no person.
func exportName(what string, n int, extension string) string {
	return fmt.Sprintf("%s-%d%s", what, n, extension)
}

// ComposedName is the name of the composed file of a format, webm or mp4.
func ComposedName(format string) string { return exportName("call-composed", 1, "."+format) }

// Exported describes an exported file, as it plays.
type Exported struct {
	Bytes  int64
	SHA256 string
}

// PlaceExport puts a file into the exports of a recording in one step: nobody
// ever sees a half. write writes it. When the recording is sealed the file is,
// too, for the same keys, and its name says so. It does nothing to a recording
// that is not there; the error then wraps fs.ErrNotExist.
func PlaceExport(dir, id, name string, sealer seal.Sealer, write func(io.Writer) error) (Exported, error) {
	if !ValidExportName(name) {
		return Exported{}, fmt.Errorf("recorder: export %q: %w", name, fs.ErrNotExist)
	}
	root, err := openCall(dir, id)
	if err != nil {
		return Exported{}, err
	}
	defer root.Close()
	wrap, suffix, err := exportSeal(root, sealer)
	if err == nil {
		err = root.Mkdir(ExportsDir, dirMode)
		if errors.Is(err, fs.ErrExist) {
			err = nil
		}
	}
	if err != nil {
		return Exported{}, fmt.Errorf("recorder: export of %s: %w", id, err)
	}
	e, err := placeFile(root, ExportsDir, name+suffix, wrap, write, func() (func(), error) { return lockUnerased(root) })
	if err != nil {
		return Exported{}, fmt.Errorf("recorder: export of %s: %w", id, err)
	}
	return e, nil
}

// WriteExport puts a file, in the clear, into any directory in one step.
func WriteExport(dir, name string, write func(io.Writer) error) (Exported, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Exported{}, fmt.Errorf("recorder: open directory: %w", err)
	}
	defer root.Close()
	e, err := placeFile(root, ".", name, nil, write, func() (func(), error) { return func() {}, nil })
	if err != nil {
		return Exported{}, fmt.Errorf("recorder: %w", err)
	}
	return e, nil
}

// CopyMerged writes the merged files of everybody in a recording, in the clear,
// into the directory out, which must exist. What is sealed is opened with
// sealer; the error wraps seal.ErrNoIdentity when no key does that, and
// ErrNothing when there is nothing to merge.
func CopyMerged(ctx context.Context, dir, id, out string, sealer seal.Sealer) ([]Copied, error) {
	m, err := Show(dir, id)
	if err != nil {
		return nil, err
	}
	open := func(file string) (io.ReadSeekCloser, error) { return OpenMedia(dir, id, file, sealer) }
	var done []Copied
	for _, p := range m.Participants {
		for _, source := range []media.Source{media.Camera, media.Screen} {
			merges, err := Merges(m, p.Identity, source, open)
			if errors.Is(err, ErrNothing) {
				continue
			}
			if err != nil {
				return done, fmt.Errorf("recorder: %w", err)
			}
			for _, g := range merges {
				e, err := WriteExport(out, g.Name, func(w io.Writer) error {
					_, err := g.Write(ctx, w, open)
					return err
				})
				if err != nil {
					return done, err
				}
				done = append(done, Copied{File: g.Name, Bytes: e.Bytes})
			}
		}
	}
	if len(done) == 0 {
		return nil, fmt.Errorf("recorder: %w", ErrNothing)
	}
	return done, nil
}

// lockUnerased locks the directory of a recording against whoever erases it,
// and makes sure that nobody has: nothing may appear in it afterwards.
func lockUnerased(root *os.Root) (unlock func(), err error) {
	lock, err := root.Open(".")
	if err != nil {
		return nil, fmt.Errorf("lock recording: %w", err)
	}
	err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX)
	if err == nil {
		_, err = root.Lstat(manifestName)
	}
	if err != nil {
		_ = lock.Close()
		return nil, fmt.Errorf("lock recording: %w", err)
	}
	return func() { _ = lock.Close() }, nil // and with it the lock
}

// placeFile writes a temporary file, syncs and renames it. wrap seals; it may
// be nil. lock is held for the renaming.
func placeFile(root *os.Root, dir, name string, wrap func(io.Writer) (io.WriteCloser, error), write func(io.Writer) error,
	lock func() (unlock func(), err error)) (Exported, error) {
	temp := path.Join(dir, tempName(name))
	file, err := createFile(root, temp)
	if err != nil {
		return Exported{}, err
	}
	sum := &countingHash{sum: sha256.New()}
	err = writeSealed(file, wrap, sum, write)
	if err == nil {
		err = file.Sync()
	}
	if e := file.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = renameLocked(root, temp, dir, name, lock)
	}
	if err != nil {
		_ = root.Remove(temp)
		return Exported{}, fmt.Errorf("write %s: %w", name, err)
	}
	return Exported{Bytes: sum.n, SHA256: hex.EncodeToString(sum.sum.Sum(nil))}, nil
}

// renameLocked gives a temporary file its name while lock is held.
func renameLocked(root *os.Root, temp, dir, name string, lock func() (func(), error)) error {
	unlock, err := lock()
	if err != nil {
		return err
	}
	defer unlock()
	if err := root.Rename(temp, path.Join(dir, name)); err != nil {
		return err
	}
	return syncDir(root, dir)
}

// writeSealed lets write write to dst, through the seal if there is one. What
// is written in the clear is counted in sum.
func writeSealed(dst io.Writer, wrap func(io.Writer) (io.WriteCloser, error), sum io.Writer, write func(io.Writer) error) error {
	if wrap == nil {
		return write(io.MultiWriter(dst, sum))
	}
	sealed, err := wrap(dst)
	if err != nil {
		return err
	}
	if err := write(io.MultiWriter(sealed, sum)); err != nil {
		return err
	}
	return sealed.Close()
}

// exportSeal returns what seals the exports of a recording, and the ending of
// their names; nil if the recording is not sealed.
func exportSeal(root *os.Root, sealer seal.Sealer) (wrap func(io.Writer) (io.WriteCloser, error), suffix string, err error) {
	names, err := keyFiles(root, ".")
	if err != nil || len(names) == 0 {
		return nil, "", err
	}
	if sealer == nil {
		return nil, "", seal.ErrNoIdentity
	}
	keys, err := loadKeys(root, ".", sealer)
	if err != nil {
		return nil, "", err
	}
	return func(w io.Writer) (io.WriteCloser, error) { return sealer.SealFile(w, keys[0]) }, sealer.Extension(), nil
}

// RemoveExport removes an exported file, sealed or not. One that is not there
// is no error.
func RemoveExport(dir, id, name string) error {
	if !ValidExportName(name) {
		return fmt.Errorf("recorder: export %q: %w", name, fs.ErrNotExist)
	}
	root, err := openCall(dir, id)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, n := range []string{name, name + sealedExtension} {
		if err := root.Remove(path.Join(ExportsDir, n)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("recorder: remove export of %s: %w", id, err)
		}
	}
	return nil
}

// countingHash counts and hashes what is written to it.
type countingHash struct {
	sum hash.Hash
	n   int64
}

func (h *countingHash) Write(p []byte) (int, error) {
	h.n += int64(len(p))
	return h.sum.Write(p)
}
