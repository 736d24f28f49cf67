package journal

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"consilium/internal/event"
)

// Who follows the feed is answered from memory, also while the database's disk
// stands still, when a read hangs as a write does. He has read what is older
// than his last question, so a minute or two of a busy server are enough; what
// is not here is in the database. Whichever bound is met first holds.
const (
	recentEvents = 2048
	// recentBytes bounds the JSON of all: an event has some 220 bytes of it, more
	// where the MIS gave its call metadata. Beside it an event costs up to 150
	// bytes here.
	recentBytes = 1 << 20
	// recentAge is checked when an event comes: a server at rest gives nothing
	// back.
	recentAge = 15 * time.Minute
)

// recent holds the last public events. It is guarded by the journal's mutex.
//
// They are kept as JSON, not as values: the Data of an event is a map, twice
// as large, and a string in it may be a piece of something long that then
// stays with it.
type recent struct {
	// floor is an id: every public event after it is here.
	floor  string
	events []recentEvent // oldest first
	bytes  int           // of all bodies
}

// recentEvent is an event as the database has it.
type recentEvent struct {
	id   string
	at   time.Time // when it was emitted, with the monotonic clock
	body string    // JSON
}

// add takes the newest event and forgets what the bounds no longer allow.
func (r *recent) add(e event.Event, now time.Time) {
	newest := recentEvent{id: e.ID, at: now, body: encodeEvent(e)}
	r.events = append(r.events, newest)
	r.bytes += len(newest.body)
	for len(r.events) > 0 && (len(r.events) > recentEvents || r.bytes > recentBytes || now.Sub(r.events[0].at) > recentAge) {
		oldest := r.events[0]
		r.floor = oldest.id
		r.bytes -= len(oldest.body)
		r.events[0] = recentEvent{} // the array keeps it until append makes a new one
		r.events = r.events[1:]
	}
}

// after returns up to limit events after an id; ok is false if older ones may
// be missing here.
func (r *recent) after(id string, limit int) (events []recentEvent, ok bool) {
	if id < r.floor {
		return nil, false
	}
	first, found := slices.BinarySearchFunc(r.events, id, func(e recentEvent, id string) int {
		switch {
		case e.id < id:
			return -1
		case e.id > id:
			return 1
		default:
			return 0
		}
	})
	if found {
		first++
	}
	rest := r.events[first:]
	return slices.Clone(rest[:min(len(rest), limit)]), true
}

// fromMemory answers Events without the database, if it can. Events are read
// outside the lock: a page of a thousand takes milliseconds, for which no Emit
// should wait.
func (j *Journal) fromMemory(after string, limit int) (events []event.Event, ok bool, err error) {
	j.mu.Lock()
	kept, ok := j.recent.after(after, limit)
	j.mu.Unlock()
	for _, k := range kept {
		var e event.Event
		if err := json.Unmarshal([]byte(k.body), &e); err != nil {
			return nil, false, fmt.Errorf("read event %s: %w", k.id, err)
		}
		events = append(events, e)
	}
	return events, ok, nil
}
