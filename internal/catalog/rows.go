package catalog

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// MaxLimit is the largest page of List.
const MaxLimit = 1000

func migrations() []string {
	return []string{`
CREATE TABLE recordings (
	id          TEXT PRIMARY KEY,
	room        TEXT NOT NULL,
	external_id TEXT NOT NULL,
	state       TEXT NOT NULL,
	started     INTEGER NOT NULL, -- microseconds since 1970; 0 where nobody knows
	modified    INTEGER NOT NULL, -- of the manifest, nanoseconds since 1970
	bytes       INTEGER NOT NULL, -- of the manifest
	body        TEXT NOT NULL     -- JSON
) WITHOUT ROWID;
CREATE INDEX recordings_started ON recordings (started, id);
CREATE INDEX recordings_room ON recordings (room, started);
CREATE INDEX recordings_external ON recordings (external_id, started);

CREATE TABLE recording_participants (
	identity  TEXT NOT NULL,
	recording TEXT NOT NULL,
	PRIMARY KEY (identity, recording)
) WITHOUT ROWID;
CREATE INDEX recording_participants_recording ON recording_participants (recording);
`}
}

// row is a recording to be written or, if it is gone, to be forgotten.
type row struct {
	id        string
	gone      bool
	recording Recording
	stamp     Stamp
}

// micros is a time as rows have it.
func micros(t time.Time) int64 { return max(t.UnixMicro(), 0) }

// write writes rows in one transaction.
func (c *Catalog) write(ctx context.Context, rows []row) error {
	tx, err := c.writes.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("write index of recordings: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // after Commit it does nothing
	for _, r := range rows {
		if err := r.write(ctx, tx); err != nil {
			return fmt.Errorf("write index of recordings: %s: %w", r.id, err)
		}
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("write index of recordings: %w", err)
	}
	return nil
}

func (r row) write(ctx context.Context, tx *sql.Tx) error {
	for _, statement := range []string{
		"DELETE FROM recordings WHERE id = ?", "DELETE FROM recording_participants WHERE recording = ?",
	} {
		if _, err := tx.ExecContext(ctx, statement, r.id); err != nil {
			return err
		}
	}
	if r.gone {
		return nil
	}
	body, err := json.Marshal(r.recording)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "INSERT INTO recordings VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
		r.id, r.recording.Room, r.recording.ExternalID, r.recording.State, micros(r.recording.Started),
		r.stamp.Modified, r.stamp.Bytes, string(body)); err != nil {
		return err
	}
	for _, p := range r.recording.Participants {
		if _, err := tx.ExecContext(ctx, "INSERT OR IGNORE INTO recording_participants VALUES (?, ?)", p.Identity, r.id); err != nil {
			return err
		}
	}
	return nil
}

// empty forgets everything.
func (c *Catalog) empty(ctx context.Context) error {
	if _, err := c.writes.ExecContext(ctx, "DELETE FROM recordings; DELETE FROM recording_participants"); err != nil {
		return fmt.Errorf("empty index of recordings: %w", err)
	}
	return nil
}

// stamps returns the stamps of all rows.
func (c *Catalog) stamps(ctx context.Context) (map[string]Stamp, error) {
	rows, err := c.reads.QueryContext(ctx, "SELECT id, modified, bytes FROM recordings")
	if err != nil {
		return nil, fmt.Errorf("read index of recordings: %w", err)
	}
	defer rows.Close()
	known := make(map[string]Stamp)
	for rows.Next() {
		var id string
		var s Stamp
		if err := rows.Scan(&id, &s.Modified, &s.Bytes); err != nil {
			return nil, fmt.Errorf("read index of recordings: %w", err)
		}
		known[id] = s
	}
	return known, rows.Err()
}

// Filter selects recordings. Empty fields select all.
type Filter struct {
	Room        string
	ExternalID  string
	Participant string // identity of one who took part
	State       string
	// From and To bound the start of the call: at or after From, before To. A
	// zero time is no bound.
	From, To time.Time
	// After is where the page before ended: what List returned as next.
	After string
	// Limit of the page, taken as between 1 and 1000.
	Limit int
}

// ErrBadAfter says that Filter.After is not what List gave.
var ErrBadAfter = errors.New("not the end of a page")

// List returns a page of recordings, the latest first, and where the next page
// begins ("" if there is none). After the start it waits until the index is
// what the manifests say.
func (c *Catalog) List(ctx context.Context, f Filter) (page []Recording, next string, err error) {
	select {
	case <-c.compared:
	case <-ctx.Done():
		return nil, "", fmt.Errorf("index of recordings is not ready: %w", ctx.Err())
	}
	limit := min(max(f.Limit, 1), MaxLimit)
	query, args, err := f.query(limit + 1) // one more tells whether there is a next page
	if err != nil {
		return nil, "", err
	}
	rows, err := c.reads.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, "", fmt.Errorf("list recordings: %w", err)
	}
	defer rows.Close()
	page = []Recording{}
	for rows.Next() {
		var body string
		var r Recording
		if err := rows.Scan(&body); err != nil {
			return nil, "", fmt.Errorf("list recordings: %w", err)
		}
		if err := json.Unmarshal([]byte(body), &r); err != nil {
			return nil, "", fmt.Errorf("list recordings: %w", err)
		}
		page = append(page, r)
	}
	if err := rows.Err(); err != nil {
		return nil, "", fmt.Errorf("list recordings: %w", err)
	}
	if len(page) > limit {
		page = page[:limit]
		next = endOf(page[limit-1])
	}
	return page, next, nil
}

// endOf is the place of a recording in the order. It stays a place when the
// recording is erased.
func endOf(r Recording) string { return strconv.FormatInt(micros(r.Started), 10) + "." + r.ID }

// query is the SELECT of a page.
func (f Filter) query(limit int) (string, []any, error) {
	where := []string{"started >= ?", "started < ?"}
	from, to := int64(0), int64(math.MaxInt64)
	if !f.From.IsZero() {
		from = micros(f.From)
	}
	if !f.To.IsZero() {
		to = micros(f.To)
	}
	args := []any{from, to}
	add := func(condition string, values ...any) {
		where, args = append(where, condition), append(args, values...)
	}
	if f.Room != "" {
		add("room = ?", f.Room)
	}
	if f.ExternalID != "" {
		add("external_id = ?", f.ExternalID)
	}
	if f.State != "" {
		add("state = ?", f.State)
	}
	if f.Participant != "" {
		add("id IN (SELECT recording FROM recording_participants WHERE identity = ?)", f.Participant)
	}
	if f.After != "" {
		text, id, ok := strings.Cut(f.After, ".")
		started, err := strconv.ParseInt(text, 10, 64)
		if !ok || err != nil {
			return "", nil, ErrBadAfter
		}
		add("(started, id) < (?, ?)", started, id)
	}
	query := "SELECT body FROM recordings WHERE " + strings.Join(where, " AND ") + " ORDER BY started DESC, id DESC LIMIT ?"
	return query, append(args, limit), nil
}
