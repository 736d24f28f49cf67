package journal

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"consilium/internal/event"
)

const (
	batchSize    = 512             // entries a transaction
	flushTimeout = 3 * time.Second // for the last entries, at the end
	retryMin     = 250 * time.Millisecond
	retryMax     = 5 * time.Second

	retentionEvery = time.Hour
	retentionBatch = 2000 // rows deleted in one transaction
)

// Run writes to the database until ctx ends, then writes what is pending (for
// 3 s at most) and closes the database. It is the only writer. It first emits
// call.ended, with reason "crash", for calls that the last run did not end.
func (j *Journal) Run(ctx context.Context) error {
	for _, e := range j.orphan {
		j.Emit(e)
	}
	ticker := time.NewTicker(retentionEvery)
	defer ticker.Stop()
	j.retain(ctx)
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-j.wake:
			j.writePending(ctx)
		case <-ticker.C:
			j.retain(ctx)
		}
	}
	return j.finish(context.WithoutCancel(ctx))
}

// writePending writes until nothing is pending. A failure keeps the batch and
// tries again after a pause, until ctx ends.
func (j *Journal) writePending(ctx context.Context) {
	pause := retryMin
	for ctx.Err() == nil {
		n, err := j.writeBatch(ctx)
		if err == nil {
			if n == 0 {
				return
			}
			pause = retryMin
			continue
		}
		if ctx.Err() != nil {
			return
		}
		j.count.failed.Inc()
		j.log.Error("journal is not written; will try again", "error", err, "pending", j.Pending(), "pause", pause)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, retryMax)
	}
}

// finish writes what is left and closes.
func (j *Journal) finish(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, flushTimeout)
	defer cancel()
	j.writePending(ctx)
	j.mu.Lock()
	j.closed = true
	left := len(j.pending)
	for s := range j.subscribers {
		j.drop(s)
	}
	j.mu.Unlock()
	if left > 0 {
		j.count.dropped.With(droppedShutdown).Add(uint64(left))
		j.log.Error("journal is closed with entries not written", "lost", left)
	}
	if err := j.close(); err != nil {
		return fmt.Errorf("close journal: %w", err)
	}
	return nil
}

// writeBatch writes the oldest pending entries in one transaction and only
// then takes them from the queue, so that readers always see them in one of
// the two places.
func (j *Journal) writeBatch(ctx context.Context) (int, error) {
	j.mu.Lock()
	batch := slices.Clone(j.pending[:min(len(j.pending), batchSize)])
	j.mu.Unlock()
	if len(batch) == 0 {
		return 0, nil
	}
	tx, err := j.writes.BeginTx(ctx, nil)
	if err != nil {
		return 0, fmt.Errorf("begin: %w", err)
	}
	if err := writeEntries(ctx, tx, batch); err != nil {
		return 0, errors.Join(err, tx.Rollback())
	}
	if err := tx.Commit(); err != nil {
		return 0, fmt.Errorf("commit: %w", err)
	}
	j.mu.Lock()
	j.pending = slices.Delete(j.pending, 0, len(batch))
	j.mu.Unlock()
	return len(batch), nil
}

// writeEntries inserts entries. INSERT OR IGNORE, because a commit that
// reported an error may have been done all the same.
func writeEntries(ctx context.Context, tx *sql.Tx, batch []event.Event) error {
	insert, err := tx.PrepareContext(ctx, `INSERT OR IGNORE INTO events (id, time, call, public, incident, body)
		VALUES (?, ?, ?, ?, ?, ?)`)
	if err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	defer insert.Close()
	changed := make(map[string]*Call)
	for _, e := range batch {
		public := 0
		if e.Type.Public() {
			public = 1
		}
		if _, err := insert.ExecContext(ctx, e.ID, e.Time.UnixMicro(), e.Call, public, e.Incident(), encodeEvent(e)); err != nil {
			return fmt.Errorf("insert event: %w", err)
		}
		if !concernsCall(e) {
			continue
		}
		call, ok := changed[e.Call]
		if !ok {
			if call, err = loadCall(ctx, tx, e.Call); err != nil {
				return err
			}
			changed[e.Call] = call
		}
		call.apply(e)
	}
	for _, call := range changed {
		if err := storeCall(ctx, tx, call); err != nil {
			return err
		}
	}
	return nil
}

// encodeEvent returns the JSON of an entry. Data that JSON can't carry (a NaN)
// is replaced by a word about it: one bad entry must not hold up the rest.
func encodeEvent(e event.Event) string {
	text, err := json.Marshal(e)
	if err != nil {
		e.Data = map[string]any{"unencodable": err.Error()}
		e.Evidence = nil
		// What is left is strings and a time: it can't fail.
		text, _ = json.Marshal(e)
	}
	return string(text)
}

// retain deletes what is older than Keep, in small transactions.
func (j *Journal) retain(ctx context.Context) {
	if j.config.Keep <= 0 {
		return
	}
	oldest := time.Now().Add(-j.config.Keep).UnixMicro()
	for _, statement := range []string{
		"DELETE FROM events WHERE id IN (SELECT id FROM events WHERE time < ? LIMIT ?)",
		"DELETE FROM calls WHERE id IN (SELECT id FROM calls WHERE ended > 0 AND ended < ? LIMIT ?)",
	} {
		for ctx.Err() == nil {
			result, err := j.writes.ExecContext(ctx, statement, oldest, retentionBatch)
			if err != nil {
				j.log.Error("old entries of the journal are not deleted", "error", err)
				return
			}
			if n, err := result.RowsAffected(); err != nil || n < retentionBatch {
				break
			}
			j.writePending(ctx)
		}
	}
}
