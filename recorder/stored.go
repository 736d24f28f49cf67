package recorder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
)

// StoredFile is a file of a finished recording as it lies on the disk: what a
// copy of the recording consists of.
type StoredFile struct {
	Name   string
	Bytes  int64
	SHA256 string
	// Unsealed: it holds sound or pictures that anybody can play.
	Unsealed bool
}

// StoredFiles lists the files of a recording: media, sealed keys, and the
// manifest last. Exported files are not among them: they can be made again. The
// error wraps ErrUnfinished while files may still change, and fs.ErrNotExist if
// there is no such recording.
func StoredFiles(dir, id string) ([]StoredFile, error) {
	root, err := openCall(dir, id)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	text, err := readFile(root, manifestName, maxManifestBytes)
	if err != nil {
		return nil, fmt.Errorf("recorder: recording %s: read manifest: %w", id, err)
	}
	m, err := decodeManifest(text)
	if err != nil {
		return nil, fmt.Errorf("recorder: recording %s: %w", id, err)
	}
	if m.Signature == nil || m.State == Live || m.State == Locked {
		return nil, fmt.Errorf("recorder: recording %s: %w", id, ErrUnfinished)
	}
	var files []StoredFile
	for _, s := range m.Segments {
		if !s.playable() {
			continue
		}
		name, bytes, sum := s.Stored()
		files = append(files, StoredFile{name, bytes, sum, s.Sealed == nil})
	}
	keys, err := keyFiles(root, ".")
	if err != nil {
		return nil, fmt.Errorf("recorder: recording %s: %w", id, err)
	}
	for _, name := range keys {
		key, err := readFile(root, name, maxKeyBytes)
		if err != nil {
			return nil, fmt.Errorf("recorder: recording %s: read %s: %w", id, name, err)
		}
		files = append(files, StoredFile{Name: name, Bytes: int64(len(key)), SHA256: hexSum(key)})
	}
	return append(files, StoredFile{Name: manifestName, Bytes: int64(len(text)), SHA256: hexSum(text)}), nil
}

// OpenStored opens a file that StoredFiles listed. The caller closes it.
func OpenStored(dir, id, name string) (*os.File, error) {
	if !validFileName(name) && !keyPattern.MatchString(name) && name != manifestName {
		return nil, fmt.Errorf("recorder: no file of that name: %w", fs.ErrNotExist)
	}
	root, err := openCall(dir, id)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	if info, err := root.Lstat(name); err != nil || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("recorder: file %s of recording %s: %w", name, id, fs.ErrNotExist)
	}
	f, err := root.Open(name)
	if err != nil {
		return nil, fmt.Errorf("recorder: file %s of recording %s: %w", name, id, err)
	}
	return f, nil
}

// MediaRemovable reports whether any media file of a recording is on the disk.
// and may be removed where there is a copy: a legal hold keeps them here.
func MediaRemovable(dir, id string) bool {
	names, err := mediaFiles(dir, id)
	if err != nil || len(names) == 0 {
		return false
	}
	root, err := openCall(dir, id)
	if err != nil {
		return false
	}
	defer root.Close()
	return !held(root)
}

// RemoveMedia removes the media files of a finished recording; its manifest and
// its keys stay. It is for recordings of which there is a copy. The error wraps
// ErrHeld of one that is on legal hold.
func RemoveMedia(dir, id string) error {
	names, err := mediaFiles(dir, id)
	if err != nil {
		return err
	}
	root, unlock, err := lockCall(dir, id)
	if err != nil {
		return err
	}
	defer unlock()
	if held(root) {
		return fmt.Errorf("recorder: remove media of recording %s: %w", id, ErrHeld)
	}
	for _, name := range names {
		if err := root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("recorder: remove %s of recording %s: %w", name, id, err)
		}
	}
	return syncDir(root, ".")
}

// mediaFiles lists the media files that are on the disk and in the manifest:
// there is no copy of others.
func mediaFiles(dir, id string) ([]string, error) {
	root, err := openCall(dir, id)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return nil, fmt.Errorf("recorder: list files of recording %s: %w", id, err)
	}
	var names []string
	for _, e := range entries {
		if validFileName(e.Name()) {
			names = append(names, e.Name())
		}
	}
	if len(names) == 0 {
		return nil, nil
	}
	files, err := StoredFiles(dir, id)
	return slices.DeleteFunc(names, func(name string) bool {
		return !slices.ContainsFunc(files, func(f StoredFile) bool { return f.Name == name })
	}), err
}

// IsErased reports whether a tombstone says that a recording was erased, or is
// being erased.
func IsErased(dir, id string) bool {
	root, err := openCall(dir, id)
	if err == nil {
		_ = root.Close()
	}
	return errors.Is(err, ErrErased)
}

// Restore puts a media file back that RemoveMedia removed, if content is what
// the manifest says of it.
func Restore(ctx context.Context, dir, id, name string, content io.Reader) error {
	to, err := openCall(dir, id)
	if err != nil {
		return err
	}
	defer to.Close()
	m, err := loadManifest(to, ".")
	if err != nil {
		return fmt.Errorf("recorder: recording %s: %w", id, err)
	}
	i := slices.IndexFunc(m.Segments, func(s Segment) bool { stored, _, _ := s.Stored(); return stored == name && s.playable() })
	if i < 0 {
		return fmt.Errorf("recorder: file %s of recording %s: %w", name, id, fs.ErrNotExist)
	}
	_, _, sum := m.Segments[i].Stored()
	if err := copyChecked(ctx, to, name, content, sum); err != nil {
		return fmt.Errorf("recorder: restore %s of recording %s: %w", name, id, err)
	}
	root, unlock, err := lockCall(dir, id)
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := loadTombstone(root); err == nil { // it was erased meanwhile
		return errors.Join(fmt.Errorf("recorder: restore %s: %w", id, ErrErased), root.Remove(name))
	}
	return nil
}
