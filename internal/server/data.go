package server

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// dataDir is the locked data directory.
type dataDir struct {
	path string
	lock *os.File
}

// secretKeyFile keeps the key that signs session secrets, so that a page finds
// its place again after a restart of the server.
const secretKeyFile = "session.key"

// openData makes the directory if need be and locks it.
func openData(path string) (*dataDir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(path, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("data directory %s is in use by another consilium: stop it or choose another with --data", path)
	}
	return &dataDir{path: path, lock: f}, nil
}

// LockData locks a data directory against servers and other commands that
// write to it, until unlock is called.
func LockData(path string) (unlock func() error, err error) {
	d, err := openData(path)
	if err != nil {
		return nil, err
	}
	return d.close, nil
}

// sessionKey returns the key that signs session secrets, making it the first
// time.
func (d *dataDir) sessionKey() ([]byte, error) {
	path := filepath.Join(d.path, secretKeyFile)
	key, err := os.ReadFile(path)
	if err == nil && len(key) >= 32 {
		return key, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read session key: %w", err)
	}
	key = make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	if err := os.WriteFile(path, key, 0o600); err != nil {
		return nil, fmt.Errorf("write session key: %w", err)
	}
	return key, nil
}

func (d *dataDir) close() error { return d.lock.Close() }
