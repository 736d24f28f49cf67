package audit

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"

	"consilium/internal/database"
)

// FileName of the log, in the data directory.
const FileName = "audit.db"

// MaxLimit is the largest page of Entries.
const MaxLimit = 1000

// migrations of the log. A row that is replaced is deleted without its trigger,
// so a row may only come after the last one.
func migrations() []string {
	return []string{`
CREATE TABLE audit (
	sequence  INTEGER PRIMARY KEY, -- 1, 2, 3, ... without a hole
	recording TEXT NOT NULL,       -- "" where it concerns none
	body      TEXT NOT NULL,       -- JSON
	hash      TEXT NOT NULL        -- SHA-256 of the hash before, a line feed and the body
);
CREATE INDEX audit_recording ON audit (recording, sequence);
CREATE TRIGGER audit_update BEFORE UPDATE ON audit BEGIN
	SELECT RAISE(ABORT, 'the audit log is append-only');
END;
CREATE TRIGGER audit_delete BEFORE DELETE ON audit BEGIN
	SELECT RAISE(ABORT, 'the audit log is append-only');
END;
CREATE TRIGGER audit_insert BEFORE INSERT ON audit
	WHEN NEW.sequence <> (SELECT coalesce(max(sequence), 0) + 1 FROM audit) BEGIN
	SELECT RAISE(ABORT, 'the audit log is append-only');
END;
`}
}

// Store is the file of the log. It is safe for concurrent use, by several
// processes too.
type Store struct {
	writes, reads *sql.DB
}

// Open opens the log at path, making it if need be. The commands use it
// directly, the server through a Log.
func Open(path string) (*Store, error) {
	s := &Store{}
	var err error
	if s.writes, err = database.OpenWriter(path); err == nil {
		err = database.Migrate(s.writes, "audit", migrations())
	}
	if err == nil {
		s.reads, err = database.OpenReader(path)
	}
	if err != nil {
		return nil, fmt.Errorf("open audit log %s: %w", path, errors.Join(err, s.Close()))
	}
	return s, nil
}

// OpenExisting is Open for a log that must be there. The error wraps
// fs.ErrNotExist if it is not.
func OpenExisting(path string) (*Store, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("open audit log: %w", err)
	}
	return Open(path)
}

// Close closes the file.
func (s *Store) Close() error {
	var errs []error
	for _, db := range []*sql.DB{s.reads, s.writes} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	return errors.Join(errs...)
}

// Append adds entries, all or none. It returns when they are on disk.
func (s *Store) Append(ctx context.Context, entries ...Entry) error {
	tx, err := s.writes.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("append to audit log: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // after Commit it does nothing
	var sequence int64
	var previous string
	err = tx.QueryRowContext(ctx, "SELECT sequence, hash FROM audit ORDER BY sequence DESC LIMIT 1").Scan(&sequence, &previous)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("append to audit log: read the last row: %w", err)
	}
	for _, e := range entries {
		sequence++
		body, err := e.seal(sequence, previous)
		if err != nil {
			return fmt.Errorf("append to audit log: %w", err)
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO audit VALUES (?, ?, ?, ?)", sequence, e.Recording, body, e.Hash); err != nil {
			return fmt.Errorf("append to audit log: %w", err)
		}
		previous = e.Hash
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("append to audit log: %w", err)
	}
	return nil
}

// Filter selects entries.
type Filter struct {
	// Recording is an id; empty: all entries.
	Recording string
	// After is the sequence of the last entry that is known.
	After int64
	// Limit of the page, taken as between 1 and 1000.
	Limit int
}

// Entries returns a page of entries, the oldest first.
func (s *Store) Entries(ctx context.Context, f Filter) ([]Entry, error) {
	query := "SELECT body, hash FROM audit WHERE sequence > ?1 ORDER BY sequence LIMIT ?2"
	args := []any{f.After, min(max(f.Limit, 1), MaxLimit)}
	if f.Recording != "" {
		query = "SELECT body, hash FROM audit WHERE recording = ?3 AND sequence > ?1 ORDER BY sequence LIMIT ?2"
		args = append(args, f.Recording)
	}
	rows, err := s.reads.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("read audit log: %w", err)
	}
	defer rows.Close()
	entries := []Entry{}
	for rows.Next() {
		var body, hash string
		if err := rows.Scan(&body, &hash); err != nil {
			return nil, fmt.Errorf("read audit log: %w", err)
		}
		e, err := decode(body, hash)
		if err != nil {
			return nil, fmt.Errorf("read audit log: %w", err)
		}
		entries = append(entries, e)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read audit log: %w", err)
	}
	return entries, nil
}

// Head is the end of the chain: who keeps it elsewhere can tell later whether
// rows were cut off.
type Head struct {
	Rows int64  `json:"rows"`
	Hash string `json:"hash"` // of the last row
}

// ErrBroken says that rows were changed, taken out or put in.
var ErrBroken = errors.New("the audit log was changed")

// Verify recomputes the chain from the first row to the last. The error wraps
// ErrBroken and names the first row that is wrong.
func (s *Store) Verify(ctx context.Context) (Head, error) {
	rows, err := s.reads.QueryContext(ctx, "SELECT sequence, recording, body, hash FROM audit ORDER BY sequence")
	if err != nil {
		return Head{}, fmt.Errorf("verify audit log: %w", err)
	}
	defer rows.Close()
	var head Head
	for rows.Next() {
		var sequence int64
		var recording, body, hash string
		if err := rows.Scan(&sequence, &recording, &body, &hash); err != nil {
			return head, fmt.Errorf("verify audit log: %w", err)
		}
		if want := head.Rows + 1; sequence != want {
			return head, fmt.Errorf("%w: row %d is missing", ErrBroken, want)
		}
		e, err := decode(body, hash)
		if err != nil || hash != chain(head.Hash, body) || e.Sequence != sequence || e.Recording != recording {
			return head, fmt.Errorf("%w: row %d is not what was written", ErrBroken, sequence)
		}
		head = Head{Rows: sequence, Hash: hash}
	}
	if err := rows.Err(); err != nil {
		return head, fmt.Errorf("verify audit log: %w", err)
	}
	return head, nil
}
