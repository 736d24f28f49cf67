package audit

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// viewKey says whose access to what becomes one row.
type viewKey struct {
	action                       Action
	actor, role, address         string
	recording, file, explanation string
}

func keyOf(e Entry) viewKey {
	return viewKey{
		action: e.Action, actor: e.Actor, role: e.Role, address: e.Address, recording: e.Recording, file: e.File,
	}
}

// viewing is what one viewer reads of one file.
type viewing struct {
	entry Entry         // of what was read: Played or Downloaded
	ready chan struct{} // closed when the row Opened is written, or was refused
	err   error         // why it was refused; set before ready

	// Guarded by Log.mu.
	open     int // accesses that go on
	requests int
	bytes    int64
	ranges   ranges
	failed   error     // the last; nil: none
	from, to time.Time // of the accesses that are in no row yet
	written  time.Time // when the last row was made
}

// errManyViewers says that more files are watched at once than the log follows.
var errManyViewers = errors.New("too many files are being watched at once")

// Access is one request for a file.
type Access struct {
	log     *Log
	viewing *viewing
}

// View begins an access of a viewer to a file; e says who, which recording and
// file, and as Action Played or Downloaded. The first access of a viewer to a
// file is written as Opened before View returns; those that follow within half
// a minute of the last cost no row of their own: what they read is merged. An
// error means that nothing may be sent. Otherwise Close must be called.
func (l *Log) View(ctx context.Context, e Entry) (*Access, error) {
	now := time.Now()
	l.mu.Lock()
	broken := l.broken
	v := l.viewings[keyOf(e)]
	first := v == nil
	if first {
		if len(l.viewings) >= maxViewings {
			l.mu.Unlock()
			return nil, errManyViewers
		}
		v = &viewing{entry: e, ready: make(chan struct{}), from: now, written: now}
		l.viewings[keyOf(e)] = v
	}
	if v.requests == 0 {
		v.from = now
	}
	v.open++
	v.requests++
	v.to = now
	l.mu.Unlock()
	a := &Access{l, v}
	opened := e
	opened.Action, opened.Time = Opened, now
	var err error
	switch {
	case first:
		v.err = l.Append(ctx, opened)
		err = v.err
		close(v.ready)
	default:
		select {
		case <-v.ready:
			err = v.err
		case <-ctx.Done():
			err = ctx.Err()
		}
		if err == nil && broken { // whether the rest can be written is not known
			err = l.Append(ctx, opened)
		}
	}
	if err != nil {
		a.refuse(first)
		return nil, fmt.Errorf("note who watches: %w", err)
	}
	return a, nil
}

// refuse takes back an access that could not be noted.
func (a *Access) refuse(first bool) {
	l := a.log
	l.mu.Lock()
	defer l.mu.Unlock()
	a.viewing.open--
	a.viewing.requests--
	if first { // the next one tries again
		delete(l.viewings, keyOf(a.viewing.entry))
	}
}

// Read notes that the bytes from first to last, which is included, were sent.
func (a *Access) Read(first, last int64) {
	a.log.mu.Lock()
	defer a.log.mu.Unlock()
	a.viewing.bytes += last - first + 1
	a.viewing.ranges = a.viewing.ranges.add(first, last)
}

// Fail notes that the file could not be read any further.
func (a *Access) Fail(err error) {
	a.log.mu.Lock()
	defer a.log.mu.Unlock()
	a.viewing.failed = err
}

// Close ends the access.
func (a *Access) Close() {
	a.log.mu.Lock()
	defer a.log.mu.Unlock()
	a.viewing.open--
	a.viewing.to = time.Now()
}

// sweep makes rows of what has been read and refused; all of it at the end.
func (l *Log) sweep(now time.Time, all bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for key, v := range l.viewings {
		idle := v.open == 0 && now.Sub(v.to) >= viewingIdle
		if !all && !idle && now.Sub(v.written) < viewingEvery {
			continue
		}
		if (v.requests > 0 || v.bytes > 0) && !l.keepRow(v.row(now)) {
			continue // there is no room: it waits here
		}
		v.requests, v.bytes, v.ranges, v.failed, v.from, v.written = 0, 0, nil, nil, now, now
		if idle {
			delete(l.viewings, key)
		}
	}
	for key, r := range l.refusals {
		if !all && now.Sub(r.since) < viewingIdle {
			continue
		}
		if r.again > 0 {
			e := r.entry
			e.Time, e.Data = now, map[string]any{"again": r.again, "from": stamp(r.since)}
			if !l.keepRow(e) {
				continue
			}
		}
		delete(l.refusals, key)
	}
}

// keepRow adds an entry to the backlog if there is room.
func (l *Log) keepRow(e Entry) bool {
	if len(l.backlog) >= maxBacklog {
		return false
	}
	l.backlog = append(l.backlog, e)
	return true
}

// row tells what was read since the row before.
func (v *viewing) row(now time.Time) Entry {
	e := v.entry
	e.Time = now
	e.Data = map[string]any{
		"ranges": v.ranges.list(), "bytes": v.bytes, "requests": v.requests, "from": stamp(v.from), "to": stamp(v.to),
	}
	if v.failed != nil {
		e.Outcome, e.Data["error"] = Failed, v.failed.Error()
	}
	return e
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z07:00") }

// refusal counts how often the same was refused.
type refusal struct {
	entry Entry
	since time.Time
	again int // after the first
}

// Refuse notes an access that was refused, and why. It never waits. The same
// refusal becomes one row at once and, if it comes again within half a minute,
// one more row with how often: who guesses ids does not fill the disk.
func (l *Log) Refuse(e Entry, why string) {
	e.Action, e.Outcome, e.Time = Refused, Denied, time.Now()
	key := keyOf(e)
	key.explanation = why
	l.mu.Lock()
	if len(l.refusals) >= maxRefusals && l.refusals[key] == nil {
		key = viewKey{explanation: "many"} // all that are too many are counted together
		e = Entry{Action: Refused, Outcome: Denied, Time: e.Time}
		why = "more different refusals at once than are told apart"
	}
	if r := l.refusals[key]; r != nil {
		r.again++
		l.mu.Unlock()
		return
	}
	l.refusals[key] = &refusal{entry: e, since: e.Time}
	l.mu.Unlock()
	e.Data = map[string]any{"reason": why}
	l.put(e)
}
