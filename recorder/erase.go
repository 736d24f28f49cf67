package recorder

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"time"
)

// tombstoneName of the file that is left of an erased recording.
const tombstoneName = "tombstone.json"

// Tombstone is what is left of an erased recording: who erased what, and why.
// It names nobody who took part.
type Tombstone struct {
	Version int       `json:"version"`
	Call    string    `json:"call"`
	By      string    `json:"by"`
	Reason  string    `json:"reason"`
	At      time.Time `json:"at"`
	// Started and Ended are those of the call, where the manifest could be read.
	Started time.Time  `json:"started,omitzero"`
	Ended   *time.Time `json:"ended,omitempty"`
	// ManifestSHA256 is the hash under which the chain of manifests lists it.
	ManifestSHA256 string       `json:"manifest_sha256,omitempty"`
	Files          []ErasedFile `json:"files"`
	// Done is when the last file was gone; nil: it is still under way, and the
	// next start goes on with it.
	Done *time.Time `json:"done,omitempty"`
}

// ErasedFile is a file that a manifest listed.
type ErasedFile struct {
	File   string `json:"file"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"` // of its contents before sealing
}

// RetentionBy is who erases what recording.keep says.
const RetentionBy = "retention"

// Erase removes a recording for ever: first the tombstone is made durable, from
// when on nobody is shown anything, then the keys go, then everything else. It
// may be interrupted anywhere; Erase again, or the next start, finishes it. The
// error wraps ErrHeld, ErrUnfinished or fs.ErrNotExist; for a recording that has
// been erased already it is ErrErased. It needs no running Recorder.
func Erase(dir, id, by, why string) (Tombstone, error) {
	data, err := os.OpenRoot(dir)
	if err != nil {
		return Tombstone{}, fmt.Errorf("recorder: open data directory: %w", err)
	}
	defer data.Close()
	root, unlock, err := lockCall(dir, id)
	if err != nil {
		return Tombstone{}, err
	}
	defer unlock()
	stone, err := loadTombstone(root)
	switch {
	case err == nil && stone.Done != nil:
		return stone, fmt.Errorf("recorder: erase %s: %w", id, ErrErased)
	case err == nil: // it was begun: by whom it was begun it is finished
	case !errors.Is(err, fs.ErrNotExist):
		return stone, fmt.Errorf("recorder: erase %s: %w", id, err)
	case held(root):
		return stone, fmt.Errorf("recorder: erase %s: %w", id, ErrHeld)
	default:
		if _, err := data.Lstat(path.Join(spoolDir, id)); err == nil {
			return stone, fmt.Errorf("recorder: erase %s: %w", id, ErrUnfinished)
		}
		stone = newTombstone(root, id, by, why)
		if err := stone.save(root); err != nil {
			return stone, fmt.Errorf("recorder: erase %s: %w", id, err)
		}
	}
	if err := eraseFiles(data, root, id); err != nil {
		return stone, fmt.Errorf("recorder: erase %s: %w", id, err)
	}
	done := time.Now().UTC()
	stone.Done = &done
	if err := stone.save(root); err != nil {
		return stone, fmt.Errorf("recorder: erase %s: %w", id, err)
	}
	return stone, nil
}

// newTombstone sums up what lies in a recording's directory.
func newTombstone(root *os.Root, id, by, why string) Tombstone {
	stone := Tombstone{Version: 1, Call: id, By: by, Reason: why, At: time.Now().UTC(), Files: []ErasedFile{}}
	// A manifest that can't be read must not keep a recording from being erased.
	text, err := readFile(root, manifestName, maxManifestBytes)
	if err != nil {
		return stone
	}
	stone.ManifestSHA256 = hexSum(text)
	m, err := decodeManifest(text)
	if err != nil {
		return stone
	}
	stone.Started, stone.Ended = m.Started, m.Ended
	for _, s := range m.Segments {
		stone.Files = append(stone.Files, ErasedFile{s.File, s.Bytes, s.SHA256})
	}
	return stone
}

// eraseFiles removes everything of a recording but its tombstone. The keys go
// first: without them copies in backups can't be read either.
func eraseFiles(data, root *os.Root, id string) error {
	if err := destroyKeys(root, "."); err != nil {
		return err
	}
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return fmt.Errorf("list files: %w", err)
	}
	for _, e := range entries {
		if e.Name() == tombstoneName {
			continue
		}
		if err := root.RemoveAll(e.Name()); err != nil {
			return fmt.Errorf("remove file: %w", err)
		}
	}
	for _, dir := range []string{spoolDir, quarantineDir} {
		if err := data.RemoveAll(path.Join(dir, id)); err != nil {
			return fmt.Errorf("remove what was put aside: %w", err)
		}
	}
	return syncDir(root, ".")
}

func (t Tombstone) save(root *os.Root) error {
	data, err := json.MarshalIndent(t, "", "  ")
	if err != nil {
		return fmt.Errorf("encode tombstone: %w", err)
	}
	return replaceFile(root, ".", tombstoneName, append(data, '\n'))
}

// ReadTombstone returns what is left of an erased recording. The error wraps
// fs.ErrNotExist if none of that id was erased.
func ReadTombstone(dir, id string) (Tombstone, error) {
	if !validCall(id) {
		return Tombstone{}, fmt.Errorf("recorder: no recording of that id: %w", fs.ErrNotExist)
	}
	root, err := os.OpenRoot(path.Join(dir, recordingsDir, id))
	if err != nil {
		return Tombstone{}, fmt.Errorf("recorder: recording %s: %w", id, err)
	}
	defer root.Close()
	stone, err := loadTombstone(root)
	if err != nil {
		return Tombstone{}, fmt.Errorf("recorder: recording %s: %w", id, err)
	}
	return stone, nil
}

// loadTombstone reads the tombstone in a recording's directory. The error wraps
// fs.ErrNotExist if there is none.
func loadTombstone(root *os.Root) (Tombstone, error) {
	text, err := readFile(root, tombstoneName, maxManifestBytes)
	if err != nil {
		return Tombstone{}, err
	}
	var t Tombstone
	if err := json.Unmarshal(text, &t); err != nil {
		return Tombstone{}, fmt.Errorf("read tombstone: %w", err)
	}
	return t, nil
}
