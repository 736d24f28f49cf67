// Package database opens SQLite files the way every part of the server does:
// a rollback journal, one writer a part, migrations by part, nobody but the server's own
// account may read them.
//
// The package is a leaf: it imports nothing of ours.
package database

import (
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"syscall"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

// busyTimeout is how long SQLite itself waits for a lock, in milliseconds.
const busyTimeout = 5000

// readers is how many connections read at the same time.
const readers = 4

// OpenWriter opens a file for its one writer of this process, making it and its
// directory if need be. A transaction takes the lock at its beginning, so that
// what it reads first is still true when it writes. Every commit waits for the
// disk (PRAGMA synchronous): with less, a power cut could cost a file that has a
// rollback journal.
func OpenWriter(path string) (*sql.DB, error) {
	if err := makeFile(path); err != nil {
		return nil, err
	}
	db, err := open(path, "_txlock=immediate&_pragma=synchronous(FULL)")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	return db, nil
}

// OpenReader opens a file that is there for reading.
func OpenReader(path string) (*sql.DB, error) {
	db, err := open(path, "_pragma=query_only(1)")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(readers)
	return db, nil
}

// open opens a file with a rollback journal, not with WAL: that maps an index
// into memory, and a page fault on a disk that stands still stops a thread
// without the Go runtime knowing. The next garbage collection waits for it, and
// with it the whole process, media included. A system call hangs alone.
func open(path, option string) (*sql.DB, error) {
	full, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	query := fmt.Sprintf("_pragma=busy_timeout(%d)&_pragma=journal_mode(TRUNCATE)&%s", busyTimeout, option)
	dsn := url.URL{Scheme: "file", Path: full, RawQuery: query}
	return sql.Open("sqlite", dsn.String())
}

// makeFile makes an empty file, which SQLite would make by umask; its journal
// takes its mode. A file that root makes belongs to who owns the directory: a
// command run as root must not lock the server out.
func makeFile(path string) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); ok && os.Geteuid() == 0 && owner.Uid != 0 {
		return file.Chown(int(owner.Uid), int(owner.Gid))
	}
	return nil
}

// Migrate brings the tables of a part to the version len(steps), each step in a
// transaction of its own. Parts that share a file have versions of their own,
// in the table parts. Released steps are never edited.
func Migrate(db *sql.DB, part string, steps []string) error {
	if _, err := db.Exec("CREATE TABLE IF NOT EXISTS parts (name TEXT PRIMARY KEY, version INTEGER NOT NULL) WITHOUT ROWID"); err != nil {
		return fmt.Errorf("make the table of versions: %w", err)
	}
	for {
		done, err := migrateOnce(db, part, steps)
		if err != nil {
			return fmt.Errorf("migrate %s: %w", part, err)
		}
		if done {
			return nil
		}
	}
}

// migrateOnce runs the next step, and reports whether there was none. The
// version is read in the same transaction: two processes may do this at once.
func migrateOnce(db *sql.DB, part string, steps []string) (done bool, err error) {
	tx, err := db.Begin()
	if err != nil {
		return false, err
	}
	defer func() { _ = tx.Rollback() }() // after Commit it does nothing
	var version int
	err = tx.QueryRow("SELECT version FROM parts WHERE name = ?", part).Scan(&version)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return false, err
	}
	switch {
	case version == len(steps):
		return true, nil
	case version > len(steps):
		return false, fmt.Errorf("version %d is newer than this program's %d: use the newer program", version, len(steps))
	}
	if _, err := tx.Exec(steps[version]); err != nil {
		return false, fmt.Errorf("to version %d: %w", version+1, err)
	}
	if _, err := tx.Exec("INSERT INTO parts VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET version = ?2", part, version+1); err != nil {
		return false, err
	}
	return false, tx.Commit()
}
