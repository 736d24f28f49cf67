package journal

import (
	"database/sql"
	"errors"
	"fmt"
	"time"

	"consilium/internal/database"
	"consilium/internal/event"
)

// migrations bring the schema from the version of their index (PRAGMA
// user_version) to the next. Released ones are never edited.
func migrations() []string {
	return []string{`
CREATE TABLE events (
	id     TEXT PRIMARY KEY,  -- 16 hexadecimal digits, rising
	time   INTEGER NOT NULL,  -- microseconds since 1970
	call   TEXT NOT NULL,     -- "" where it belongs to no call
	public INTEGER NOT NULL,  -- 1: in the feed; 0: a note, in the timeline only
	body   TEXT NOT NULL      -- JSON of the event
) WITHOUT ROWID;
CREATE INDEX events_feed ON events (id) WHERE public = 1;
CREATE INDEX events_call ON events (call, id);
CREATE INDEX events_time ON events (time);

CREATE TABLE calls (
	id          TEXT PRIMARY KEY,
	room        TEXT NOT NULL,
	external_id TEXT NOT NULL,
	started     INTEGER NOT NULL, -- microseconds since 1970
	ended       INTEGER NOT NULL, -- 0 while it lives
	body        TEXT NOT NULL     -- JSON of the call's record
) WITHOUT ROWID;
CREATE INDEX calls_started ON calls (started);
CREATE INDEX calls_room ON calls (room, started);
CREATE INDEX calls_external ON calls (external_id, started);
`, `
ALTER TABLE events ADD COLUMN incident TEXT NOT NULL DEFAULT ''; -- number of a failure
CREATE INDEX events_incident ON events (incident, id) WHERE incident <> '';
CREATE INDEX events_numbered ON events (id) WHERE incident <> '';
ALTER TABLE calls ADD COLUMN codes TEXT NOT NULL DEFAULT ''; -- of its failures: " A B "
`}
}

// open opens the file, migrates and reads where the last run stopped.
func (j *Journal) open() error {
	var err error
	if j.writes, err = database.OpenWriter(j.config.Path); err != nil {
		return err
	}
	if err := migrate(j.writes); err != nil {
		return err
	}
	if j.reads, err = database.OpenReader(j.config.Path); err != nil {
		return err
	}
	return j.resume()
}

func (j *Journal) close() error {
	var errs []error
	for _, db := range []*sql.DB{j.reads, j.writes} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	return errors.Join(errs...)
}

// migrate runs the missing migrations, each in a transaction of its own.
func migrate(db *sql.DB) error {
	var version int
	if err := db.QueryRow("PRAGMA user_version").Scan(&version); err != nil {
		return fmt.Errorf("read schema version: %w", err)
	}
	steps := migrations()
	if version > len(steps) {
		return fmt.Errorf("schema version %d is newer than this program's %d: use the newer program", version, len(steps))
	}
	for ; version < len(steps); version++ {
		tx, err := db.Begin()
		if err != nil {
			return fmt.Errorf("migrate to schema version %d: %w", version+1, err)
		}
		_, err = tx.Exec(steps[version] + fmt.Sprintf("; PRAGMA user_version = %d", version+1))
		if err != nil {
			return fmt.Errorf("migrate to schema version %d: %w", version+1, errors.Join(err, tx.Rollback()))
		}
		if err := tx.Commit(); err != nil {
			return fmt.Errorf("migrate to schema version %d: %w", version+1, err)
		}
	}
	return nil
}

// resume finds the last id and the last incident, and the calls that a crash left without an end.
func (j *Journal) resume() error {
	var id sql.NullString
	if err := j.reads.QueryRow("SELECT max(id) FROM events").Scan(&id); err != nil {
		return fmt.Errorf("read last id: %w", err)
	}
	if id.Valid {
		last, err := parseID(id.String)
		if err != nil {
			return fmt.Errorf("read last id: %w", err)
		}
		j.last = last
	}
	if err := j.resumeIncidents(); err != nil {
		return err
	}
	rows, err := j.reads.Query(`SELECT body,
		(SELECT coalesce(max(time), started) FROM events WHERE events.call = calls.id)
		FROM calls WHERE ended = 0 ORDER BY started`)
	if err != nil {
		return fmt.Errorf("read calls without an end: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var body string
		var seen int64
		if err := rows.Scan(&body, &seen); err != nil {
			return fmt.Errorf("read calls without an end: %w", err)
		}
		call, err := decodeCall(body)
		if err != nil {
			return err
		}
		j.orphan = append(j.orphan, event.Event{
			Type: event.CallEnded, Time: time.UnixMicro(seen), Call: call.ID, Room: call.Room,
			ExternalID: call.ExternalID, Metadata: call.Metadata,
			Data: map[string]any{"reason": "crash"},
		})
	}
	return rows.Err()
}
