package recorder

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"syscall"
	"time"
)

const (
	holdName    = "hold.json"
	maxHoldFile = 64 << 10
)

// Errors of Hold, Release and Erase.
var (
	// ErrHeld says that a recording is on legal hold: it can't be erased.
	ErrHeld = errors.New("the recording is on hold")
	// ErrErased says that a recording has been erased.
	ErrErased = errors.New("the recording has been erased")
	// ErrUnfinished says that a recording is still being made.
	ErrUnfinished = errors.New("the recording is not finished")
)

// LegalHold keeps a recording from being erased, by people and by retention.
type LegalHold struct {
	By     string    `json:"by"`
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
}

// Hold puts a recording on legal hold; one that is held already keeps its first
// hold, which is returned. The hold is a file beside the manifest, which is
// signed and does not change. It needs no running Recorder, and may be called
// by several processes at once.
func Hold(dir, id, by, why string) (LegalHold, error) {
	root, unlock, err := lockCall(dir, id)
	if err != nil {
		return LegalHold{}, err
	}
	defer unlock()
	if _, err := root.Lstat(tombstoneName); err == nil {
		return LegalHold{}, fmt.Errorf("recorder: hold %s: %w", id, ErrErased)
	}
	if held, err := loadHold(root); err == nil {
		return held, nil
	}
	h := LegalHold{By: by, Reason: why, At: time.Now().UTC()}
	data, err := json.MarshalIndent(h, "", "  ")
	if err == nil {
		err = replaceFile(root, ".", holdName, append(data, '\n'))
	}
	if err != nil {
		return LegalHold{}, fmt.Errorf("recorder: hold %s: %w", id, err)
	}
	return h, nil
}

// Release ends a legal hold; that of a recording that is not held is nothing.
func Release(dir, id string) error {
	root, unlock, err := lockCall(dir, id)
	if err != nil {
		return err
	}
	defer unlock()
	if err := root.Remove(holdName); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("recorder: release %s: %w", id, err)
	}
	if err := syncDir(root, "."); err != nil {
		return fmt.Errorf("recorder: release %s: %w", id, err)
	}
	return nil
}

// loadHold reads the hold in a recording's directory. The error wraps
// fs.ErrNotExist if there is none.
func loadHold(root *os.Root) (LegalHold, error) {
	data, err := readFile(root, holdName, maxHoldFile)
	if err != nil {
		return LegalHold{}, err
	}
	var h LegalHold
	if err := json.Unmarshal(data, &h); err != nil {
		return LegalHold{}, fmt.Errorf("read hold: %w", err)
	}
	return h, nil
}

// held reports whether there is a hold; one that can't be read is one.
func held(root *os.Root) bool {
	_, err := root.Lstat(holdName)
	return !errors.Is(err, fs.ErrNotExist)
}

// lockCall opens the directory of a recording and locks it against other
// processes and goroutines that hold, release or erase it.
func lockCall(dir, id string) (root *os.Root, unlock func(), err error) {
	if !validCall(id) {
		return nil, nil, fmt.Errorf("recorder: no recording of that id: %w", fs.ErrNotExist)
	}
	data, err := os.OpenRoot(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("recorder: open data directory: %w", err)
	}
	defer data.Close()
	root, err = data.OpenRoot(path.Join(recordingsDir, id))
	if err != nil {
		return nil, nil, fmt.Errorf("recorder: recording %s: %w", id, err)
	}
	lock, err := root.Open(".")
	if err == nil {
		err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX)
	}
	if err != nil {
		_ = root.Close()
		return nil, nil, fmt.Errorf("recorder: lock recording %s: %w", id, err)
	}
	return root, func() {
		_ = lock.Close() // and with it the lock
		_ = root.Close()
	}, nil
}
