package export

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"syscall"
)

// Where the jobs of a recording are kept: beside what they made.
const (
	recordingsDir = "recordings"
	exportsDir    = "exports"
	storeName     = "exports.json"
	manifestName  = "manifest.json"

	dirMode  fs.FileMode = 0o700
	fileMode fs.FileMode = 0o600

	// maxStoreBytes bounds what is read.
	maxStoreBytes = 4 << 20
)

// document is the content of exports.json.
type document struct {
	Version int `json:"version"`
	// Derived says what the files beside are, to whoever finds them.
	Derived string `json:"derived"`
	Jobs    []Job  `json:"jobs"`
}

const (
	documentVersion = 1
	derivedWords    = "These files were made from the recording. They are not evidence; the originals and their manifest are."
)

// store reads and writes exports.json of recordings.
type store struct{ dir string }

// load returns the jobs of a recording, the oldest first. The error wraps
// fs.ErrNotExist if there is no such recording.
func (s store) load(recording string) ([]Job, error) {
	root, err := s.open(recording)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	file, err := root.Open(path.Join(exportsDir, storeName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open list of exports: %w", err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxStoreBytes))
	if err != nil {
		return nil, fmt.Errorf("read list of exports: %w", err)
	}
	var d document
	if err := json.Unmarshal(data, &d); err != nil {
		return nil, fmt.Errorf("decode list of exports: %w", err)
	}
	if d.Version != documentVersion {
		return nil, fmt.Errorf("decode list of exports: version %d is not known", d.Version)
	}
	return d.Jobs, nil
}

// save replaces the jobs of a recording in one step.
func (s store) save(recording string, jobs []Job) error {
	data, err := json.MarshalIndent(document{documentVersion, derivedWords, jobs}, "", "  ")
	if err != nil {
		return fmt.Errorf("encode list of exports: %w", err)
	}
	root, err := s.open(recording)
	if err != nil {
		return err
	}
	defer root.Close()
	unlock, err := lock(root)
	if err != nil {
		return err
	}
	defer unlock()
	if err := root.Mkdir(exportsDir, dirMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make directory of exports: %w", err)
	}
	temp := path.Join(exportsDir, "."+storeName+".tmp")
	file, err := root.OpenFile(temp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, fileMode)
	if err != nil {
		return fmt.Errorf("write list of exports: %w", err)
	}
	_, err = file.Write(append(data, '\n'))
	if err == nil {
		err = file.Sync()
	}
	if e := file.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = root.Rename(temp, path.Join(exportsDir, storeName))
	}
	if err != nil {
		_ = root.Remove(temp)
		return fmt.Errorf("write list of exports: %w", err)
	}
	return nil
}

// lock locks the directory of a recording against whoever erases it, and makes
// sure that nobody has: the list names people. The error wraps fs.ErrNotExist.
func lock(root *os.Root) (unlock func(), err error) {
	file, err := root.Open(".")
	if err != nil {
		return nil, fmt.Errorf("lock recording: %w", err)
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX)
	if err == nil {
		_, err = root.Lstat(manifestName)
	}
	if err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("lock recording: %w", err)
	}
	return func() { _ = file.Close() }, nil // and with it the lock
}

// recordings lists those that have exports.
func (s store) recordings() ([]string, error) {
	entries, err := os.ReadDir(path.Join(s.dir, recordingsDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for exports: %w", err)
	}
	var found []string
	for _, e := range entries {
		if _, err := os.Lstat(path.Join(s.dir, recordingsDir, e.Name(), exportsDir, storeName)); e.IsDir() && err == nil {
			found = append(found, e.Name())
		}
	}
	return found, nil
}

// open opens the directory of a recording; nothing outside it can be reached
// through what it returns.
func (s store) open(recording string) (*os.Root, error) {
	if recording == "" || recording[0] == '.' {
		return nil, fmt.Errorf("open recording: %w", fs.ErrNotExist)
	}
	root, err := os.OpenRoot(path.Join(s.dir, recordingsDir))
	if err != nil {
		return nil, fmt.Errorf("open recordings: %w", err)
	}
	defer root.Close()
	dir, err := root.OpenRoot(recording)
	if err != nil {
		return nil, fmt.Errorf("open recording: %w", err)
	}
	return dir, nil
}
