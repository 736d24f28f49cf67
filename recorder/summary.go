package recorder

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
)

// IDs returns the ids of the recordings under the data directory dir, in no
// order. A directory without recordings has none.
func IDs(dir string) ([]string, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("recorder: open data directory: %w", err)
	}
	defer root.Close()
	ids, err := recordingIDs(root)
	if err != nil {
		return nil, fmt.Errorf("recorder: %w", err)
	}
	return ids, nil
}

// recordingIDs is IDs below an open data directory.
func recordingIDs(data *os.Root) ([]string, error) {
	entries, err := fs.ReadDir(data.FS(), recordingsDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list recordings: %w", err)
	}
	var ids []string
	for _, e := range entries {
		if e.IsDir() && validCall(e.Name()) {
			ids = append(ids, e.Name())
		}
	}
	return ids, nil
}

// Summarize returns the line of one recording and who took part in it. A
// manifest that can't be read is a Problem of the line. The error wraps
// fs.ErrNotExist if there is no such recording.
func Summarize(dir, id string) (Summary, []Participant, error) {
	if !validCall(id) {
		return Summary{}, nil, fmt.Errorf("recorder: no recording of that id: %w", fs.ErrNotExist)
	}
	data, err := os.OpenRoot(dir)
	if err != nil {
		return Summary{}, nil, fmt.Errorf("recorder: open data directory: %w", err)
	}
	defer data.Close()
	return summarize(data, id)
}

// summarize is Summarize below an open data directory.
func summarize(data *os.Root, id string) (Summary, []Participant, error) {
	root, err := data.OpenRoot(path.Join(recordingsDir, id))
	if err != nil {
		return Summary{}, nil, fmt.Errorf("recorder: recording %s: %w", id, err)
	}
	defer root.Close()
	stone, err := loadTombstone(root)
	if err == nil {
		return Summary{ID: id, State: Erased, Started: stone.Started, Ended: stone.Ended}, nil, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return Summary{ID: id, State: Erased, Problem: err.Error()}, nil, nil
	}
	m, err := loadManifest(root, ".")
	if err != nil {
		return Summary{ID: id, Problem: err.Error()}, nil, nil
	}
	return summaryOf(id, m), m.Participants, nil
}

func summary(data *os.Root, id string) Summary {
	s, _, err := summarize(data, id)
	if err != nil {
		return Summary{ID: id, Problem: err.Error()}
	}
	return s
}

func summaryOf(id string, m Manifest) Summary {
	s := Summary{
		ID: id, Room: m.Room, ExternalID: m.ExternalID, State: m.State,
		Started: m.Started, Ended: m.Ended, Participants: len(m.Participants),
	}
	for _, f := range m.Segments {
		if f.State == Final || f.State == Recovered {
			s.Files++
			s.Bytes += f.Bytes
		}
	}
	return s
}
