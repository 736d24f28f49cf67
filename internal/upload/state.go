package upload

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
)

const (
	stateVersion = 1
	// stateDir, under the data directory, has RECORDING.json for every
	// recording of which anything was sent, and RECORDING.erase for those whose
	// copies must go.
	stateDir       = "uploads"
	stateExtension = ".json"
	eraseExtension = ".erase"
	maxStateBytes  = 16 << 20
)

var recordingPattern = regexp.MustCompile(`^[A-Za-z0-9_~-][A-Za-z0-9._~-]{0,127}$`)

// state is what is known of the copy of a recording: the content of its file.
// It is written after every part, so that a crash costs one part at most.
type state struct {
	Version   int      `json:"version"`
	Recording string   `json:"recording"`
	Place     string   `json:"place"`
	Objects   []object `json:"objects"`
	// Leftovers are no part of the copy any more: earlier versions of its
	// objects, and objects of files that the manifest lists no more.
	Leftovers []object `json:"leftovers,omitempty"`
	// Uploaded: every object was read back and is what the manifest says.
	Uploaded bool       `json:"uploaded"`
	Verified *time.Time `json:"verified,omitempty"`
	Manifest Stamp      `json:"manifest"` // when that was so
	// LocalRemoved is when the local media files were removed.
	LocalRemoved *time.Time `json:"local_removed,omitempty"`
}

// object is the copy of one file.
type object struct {
	Name   string `json:"name"`
	Key    string `json:"key"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
	// Upload, with the parts that arrived, until the object is complete.
	Upload   string   `json:"upload,omitempty"`
	PartSize int64    `json:"part_size,omitempty"`
	ETags    []string `json:"etags,omitempty"`
	Sent     bool     `json:"sent"`
	Copy     string   `json:"copy_version,omitempty"` // the store's name of the version
	Verified bool     `json:"verified"`
}

// take makes the state one of the given files, keeping what was done of those
// that are the same. What else there is becomes a leftover.
func (s *state) take(place, prefix string, files []File) {
	old := s.Objects
	if s.Place != place {
		old, s.Leftovers = nil, nil // what lies at another place stays there
	}
	s.Version, s.Place, s.Objects = stateVersion, place, nil
	for _, f := range files {
		o := object{Name: f.Name, Key: prefix + s.Recording + "/" + f.Name, Bytes: f.Bytes, SHA256: f.SHA256}
		same := func(was object) bool { return was.Key == o.Key && was.Bytes == o.Bytes && was.SHA256 == o.SHA256 }
		if i := slices.IndexFunc(old, same); i >= 0 {
			o, old = old[i], slices.Delete(slices.Clone(old), i, i+1)
		}
		s.Objects = append(s.Objects, o)
	}
	for _, o := range old {
		if o.Sent || o.Upload != "" {
			s.Leftovers = append(s.Leftovers, o)
		}
	}
}

// replaced reports whether the store replaces a leftover by itself, because
// an object takes its key: to remove it would remove that object.
func (s *state) replaced(leftover object) bool {
	return leftover.Copy == "" && slices.ContainsFunc(s.Objects, func(o object) bool { return o.Key == leftover.Key })
}

// states keeps the files of stateDir.
type states struct{ root *os.Root }

// openStates opens the directory, making it if it is missing.
func openStates(data string) (states, error) {
	dir := path.Join(data, stateDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return states{}, fmt.Errorf("make directory: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return states{}, fmt.Errorf("open directory: %w", err)
	}
	return states{root}, nil
}

// errUnreadable says that a state is damaged, or of a later version.
var errUnreadable = errors.New("what is known of the copy can't be read")

// load returns the state of a recording: an empty one if there is none. The
// error may wrap errUnreadable.
func (d states) load(recording string) (*state, error) {
	s := &state{Recording: recording}
	f, err := d.root.Open(recording + stateExtension)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, fail(NotSaved, "read progress: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fail(NotSaved, "read progress: %w", err)
	}
	if info.Size() > maxStateBytes {
		return nil, fail(Local, "%w: it has %d bytes", errUnreadable, info.Size())
	}
	if err := json.NewDecoder(f).Decode(s); err != nil || s.Version != stateVersion || s.Recording != recording {
		return nil, fail(Local, "%w: %s/%s%s is damaged, or of another version", errUnreadable, stateDir, recording, stateExtension)
	}
	return s, nil
}

// save writes a state in one step: after a crash there is the old or the new.
func (d states) save(s *state) error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err == nil {
		err = d.replace(s.Recording+stateExtension, data)
	}
	if err != nil {
		return fail(NotSaved, "write down progress: %w", err)
	}
	return nil
}

func (d states) replace(name string, data []byte) error {
	temp := name + ".tmp"
	f, err := d.root.OpenFile(temp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = d.root.Rename(temp, name)
	}
	if err != nil {
		return errors.Join(err, d.root.Remove(temp))
	}
	return d.sync()
}

// sync makes names durable.
func (d states) sync() error {
	dir, err := d.root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// remove forgets a recording: its state first, the wish to erase it last.
func (d states) remove(recording string) error {
	for _, extension := range []string{stateExtension, eraseExtension} {
		if err := d.root.Remove(recording + extension); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fail(NotSaved, "forget %s: %w", recording, err)
		}
	}
	return nil
}

// list returns the recordings that have a file with an extension.
func (d states) list(extension string) ([]string, error) {
	entries, err := fs.ReadDir(d.root.FS(), ".")
	if err != nil {
		return nil, fail(NotSaved, "list progress: %w", err)
	}
	var recordings []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), extension); ok && recordingPattern.MatchString(name) {
			recordings = append(recordings, name)
		}
	}
	return recordings, nil
}
