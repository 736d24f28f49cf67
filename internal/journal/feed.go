package journal

import (
	"context"
	"encoding/json"
	"fmt"

	"consilium/internal/event"
)

// MaxLimit is the largest page of Events and Calls.
const MaxLimit = 1000

// maxTimeline bounds a timeline: the oldest entries are kept, because the
// first cause is what is looked for.
const maxTimeline = 50_000

// afterAll is above every id.
const afterAll = "g"

// Events returns up to limit public events after the one with id after, oldest
// first, and the id to ask with next time (after itself if there are none). An
// empty after starts with the oldest event kept. limit is taken as between 1
// and 1000. Events that are not on disk yet are seen too; of the last ones all
// come from memory, whatever the disk does.
func (j *Journal) Events(ctx context.Context, after string, limit int) (events []event.Event, next string, err error) {
	limit = min(max(limit, 1), MaxLimit)
	if events, ok, err := j.fromMemory(after, limit); ok || err != nil {
		return events, lastID(events, after), err
	}
	// First memory, then disk: what is written in between is then seen twice,
	// not missed, and the bound on the id removes the second.
	waiting := j.unwritten(func(e event.Event) bool { return e.Type.Public() && e.ID > after })
	below := afterAll
	if len(waiting) > 0 {
		below = waiting[0].ID
	}
	events, err = j.query(ctx, "SELECT body FROM events WHERE public = 1 AND id > ? AND id < ? ORDER BY id LIMIT ?",
		after, below, limit)
	if err != nil {
		return nil, "", fmt.Errorf("read events: %w", err)
	}
	events = append(events, waiting[:min(len(waiting), limit-len(events))]...)
	return events, lastID(events, after), nil
}

// lastID is where the next page begins.
func lastID(events []event.Event, after string) string {
	if len(events) == 0 {
		return after
	}
	return events[len(events)-1].ID
}

// Timeline returns everything that is known of a call, oldest first, notes
// included: at most its first 50 000 entries. It is empty for an unknown call.
func (j *Journal) Timeline(ctx context.Context, call string) ([]event.Event, error) {
	if call == "" {
		return nil, nil
	}
	waiting := j.unwritten(func(e event.Event) bool { return e.Call == call })
	below := afterAll
	if len(waiting) > 0 {
		below = waiting[0].ID
	}
	entries, err := j.query(ctx, "SELECT body FROM events WHERE call = ? AND id < ? ORDER BY id LIMIT ?",
		call, below, maxTimeline)
	if err != nil {
		return nil, fmt.Errorf("read timeline of call %s: %w", call, err)
	}
	return append(entries, waiting[:min(len(waiting), maxTimeline-len(entries))]...), nil
}

func (j *Journal) query(ctx context.Context, statement string, args ...any) ([]event.Event, error) {
	rows, err := j.reads.QueryContext(ctx, statement, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []event.Event
	for rows.Next() {
		var body string
		if err := rows.Scan(&body); err != nil {
			return nil, err
		}
		var e event.Event
		if err := json.Unmarshal([]byte(body), &e); err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, rows.Err()
}
