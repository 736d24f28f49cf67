package journal

import (
	"slices"

	"consilium/internal/event"
)

// recentSize is how many public events are kept in memory: those of some
// minutes of a busy server. Who follows the feed is answered from there, also
// while the database's disk stands still, when a read hangs as a write does.
const recentSize = 4096

// recent holds the last public events. It is guarded by the journal's mutex.
type recent struct {
	// floor is an id: every public event after it is here.
	floor  string
	events []event.Event
}

// add takes the newest event.
func (r *recent) add(e event.Event) {
	if len(r.events) >= 2*recentSize { // seldom: it copies
		r.floor = r.events[recentSize-1].ID
		r.events = slices.Clone(r.events[recentSize:])
	}
	r.events = append(r.events, e)
}

// after returns up to limit events after an id; ok is false if older ones may
// be missing here.
func (r *recent) after(id string, limit int) (events []event.Event, ok bool) {
	if id < r.floor {
		return nil, false
	}
	first, found := slices.BinarySearchFunc(r.events, id, func(e event.Event, id string) int {
		switch {
		case e.ID < id:
			return -1
		case e.ID > id:
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

// fromMemory answers Events without the database, if it can.
func (j *Journal) fromMemory(after string, limit int) ([]event.Event, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.recent.after(after, limit)
}
