package recorder

import (
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"time"
)

// Summary is a line of a list of recordings.
type Summary struct {
	ID           string     `json:"id"`
	Room         string     `json:"room"`
	ExternalID   string     `json:"external_id,omitempty"`
	State        State      `json:"state"`
	Started      time.Time  `json:"started"`
	Ended        *time.Time `json:"ended,omitempty"`
	Participants int        `json:"participants"`
	Files        int        `json:"files"`
	Bytes        int64      `json:"bytes"`
	// Problem says why the manifest can't be read; the other fields are then
	// empty, but for ID.
	Problem string `json:"problem,omitempty"`
}

// List returns the recordings under the data directory dir, oldest first. A
// recording whose manifest can't be read is listed with the reason. It needs no
// running Recorder. A directory without recordings gives an empty list.
func List(dir string) ([]Summary, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("recorder: open data directory: %w", err)
	}
	defer root.Close()
	ids, err := recordingIDs(root)
	if err != nil {
		return nil, fmt.Errorf("recorder: %w", err)
	}
	list := make([]Summary, 0, len(ids))
	for _, id := range ids {
		list = append(list, summary(root, id))
	}
	slices.SortStableFunc(list, func(a, b Summary) int {
		return cmp.Or(a.Started.Compare(b.Started), cmp.Compare(a.ID, b.ID))
	})
	return list, nil
}

// Show returns the manifest of a recording. The error wraps fs.ErrNotExist if
// there is no such recording.
func Show(dir, id string) (Manifest, error) {
	root, err := openCall(dir, id)
	if err != nil {
		return Manifest{}, err
	}
	defer root.Close()
	m, err := loadManifest(root, ".")
	if err != nil {
		return Manifest{}, fmt.Errorf("recorder: recording %s: %w", id, err)
	}
	return m, nil
}

// Open opens a finished media file of a recording, or an exported one, for
// reading. The caller closes it. The error wraps fs.ErrNotExist if there is no
// such recording or file, or if the name is none the recorder gives.
func Open(dir, id, file string) (*os.File, fs.FileInfo, error) {
	where := file
	switch {
	case validFileName(file):
	case ValidExportName(file):
		where = path.Join(ExportsDir, file)
	default:
		return nil, nil, fmt.Errorf("recorder: no file of that name: %w", fs.ErrNotExist)
	}
	root, err := openCall(dir, id)
	if err != nil {
		return nil, nil, err
	}
	defer root.Close()
	// Links are not ours; a FIFO would block the caller.
	if info, err := root.Lstat(where); err != nil || !info.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("recorder: file %s of recording %s: %w", file, id, fs.ErrNotExist)
	}
	f, err := root.Open(where)
	if err != nil {
		return nil, nil, fmt.Errorf("recorder: file %s of recording %s: %w", file, id, err)
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return nil, nil, fmt.Errorf("recorder: file %s of recording %s: %w", file, id, err)
	}
	return f, info, nil
}

// openCall opens the directory of a recording; nothing outside it can be
// reached through what it returns. Of one that was erased the error wraps
// ErrErased, too.
func openCall(dir, id string) (*os.Root, error) {
	if !validCall(id) {
		return nil, fmt.Errorf("recorder: no recording of that id: %w", fs.ErrNotExist)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("recorder: open data directory: %w", err)
	}
	defer root.Close()
	call, err := root.OpenRoot(path.Join(recordingsDir, id))
	if err != nil {
		return nil, fmt.Errorf("recorder: recording %s: %w", id, err)
	}
	if _, err := call.Lstat(tombstoneName); err == nil {
		_ = call.Close()
		return nil, fmt.Errorf("recorder: recording %s: %w: %w", id, ErrErased, fs.ErrNotExist)
	}
	return call, nil
}
