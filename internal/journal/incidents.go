package journal

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"consilium/internal/event"
	"consilium/internal/incident"
)

const (
	// maxCauses bounds how many open causes are remembered. Beyond it the one
	// that was quiet for longest is forgotten: if it is told again it gets
	// another number.
	maxCauses = 4096
	// causeWindow is how long a cause is one and the same while nobody says
	// that it is over.
	causeWindow = 5 * time.Minute
	// recentIncidents are read at start to find the last number. Numbers are
	// given in order, so the greatest is among the last that were written.
	recentIncidents = 1000
	// incidentEpoch is 2026-01-01: the number of seconds since then fits what
	// can be written for 34 years.
	incidentEpoch = 1_767_225_600
)

// cause is what makes two failures the same one.
type cause struct {
	call, room, participant string
	code                    event.Code
}

// openCause is a cause that was told and is not known to be over.
type openCause struct {
	number string
	told   time.Time
}

// incidents gives failures their numbers. It is guarded by the journal's mutex.
type incidents struct {
	last   uint64 // the last number given, as incident.Format takes it
	causes map[cause]openCause
}

// Number returns a failure with its incident number in Data, and everything
// else as it is. Emit does the same for entries that have none; whoever tells
// somebody of a failure besides the journal asks here first, so that both say
// the same number. A failure is an entry with a code. The same code of the same
// participant in the same call is the same incident until media resumes, the
// participant leaves, the call ends or nobody repeats it for five minutes. What
// failed before the call, on the way to it, goes on in the call.
func (j *Journal) Number(e event.Event) event.Event {
	if event.InPrecheck(e.Room) {
		return e
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.incidents.number(e, time.Now())
}

func (i *incidents) number(e event.Event, now time.Time) event.Event {
	if e.Type == event.NoteClient && e.Data[event.IncidentKey] != nil {
		// A client can write anything in its log, but gives no numbers.
		e.Data = maps.Clone(e.Data)
		delete(e.Data, event.IncidentKey)
	}
	if e.Code == "" {
		i.close(e)
		return e
	}
	if e.Incident() != "" {
		return e
	}
	key := cause{call: e.Call, room: e.Room, participant: e.Participant, code: e.Code}
	open, ok := i.take(key)
	unknown := e.Call == "" && e.Room == "" && e.Participant == "" // each may be somebody else
	if !ok || unknown || now.Sub(open.told) > causeWindow {
		// As with ids of events: the time where that rises, so that numbers
		// are not given twice even if a crash lost the last ones.
		i.last = max(i.last+1, uint64(max(now.Unix()-incidentEpoch, 0)))
		open.number = incident.Format(i.last)
	}
	open.told = now
	i.keep(key, open)
	data := make(map[string]any, len(e.Data)+1)
	maps.Copy(data, e.Data)
	data[event.IncidentKey] = open.number
	e.Data = data
	return e
}

// take returns a cause that is open, if it is, to be kept under its key. A page
// tells of a failure before there is a call, and tells it again in the call: from
// then on it belongs there and is forgotten outside.
func (i *incidents) take(key cause) (openCause, bool) {
	if open, ok := i.causes[key]; ok || key.call == "" {
		return open, ok
	}
	before := key
	before.call = ""
	open, ok := i.causes[before]
	delete(i.causes, before)
	return open, ok
}

// keep remembers a cause, and forgets the oldest where there is no room.
func (i *incidents) keep(key cause, open openCause) {
	if i.causes == nil {
		i.causes = make(map[cause]openCause)
	}
	if _, known := i.causes[key]; !known && len(i.causes) >= maxCauses {
		var oldest cause
		first := true
		for k, c := range i.causes {
			if first || c.told.Before(i.causes[oldest].told) {
				oldest, first = k, false
			}
		}
		delete(i.causes, oldest)
	}
	i.causes[key] = open
}

// close forgets the causes that an event says are over.
func (i *incidents) close(e event.Event) {
	switch e.Type {
	case event.MediaResumed, event.ParticipantLeft:
		maps.DeleteFunc(i.causes, func(c cause, _ openCause) bool { return c.call == e.Call && c.participant == e.Participant })
	case event.CallEnded:
		maps.DeleteFunc(i.causes, func(c cause, _ openCause) bool { return c.call == e.Call })
	}
}

// Incident returns every entry with an incident number, oldest first, notes
// included: at most 1000. The number is in the form of incident.Canonical.
func (j *Journal) Incident(ctx context.Context, number string) ([]event.Event, error) {
	waiting := j.unwritten(func(e event.Event) bool { return e.Incident() == number })
	below := afterAll
	if len(waiting) > 0 {
		below = waiting[0].ID
	}
	entries, err := j.query(ctx, "SELECT body FROM events WHERE incident = ? AND incident <> '' AND id < ? ORDER BY id LIMIT ?",
		number, below, MaxLimit)
	if err != nil {
		return nil, fmt.Errorf("read incident %s: %w", number, err)
	}
	return slices.Concat(entries, waiting[:min(len(waiting), MaxLimit-len(entries))]), nil
}

// resumeIncidents finds the last number that was given.
func (j *Journal) resumeIncidents() error {
	rows, err := j.reads.Query("SELECT incident FROM events WHERE incident <> '' ORDER BY id DESC LIMIT ?", recentIncidents)
	if err != nil {
		return fmt.Errorf("read last incident: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var number string
		if err := rows.Scan(&number); err != nil {
			return fmt.Errorf("read last incident: %w", err)
		}
		if n, err := incident.Parse(number); err == nil {
			j.incidents.last = max(j.incidents.last, n)
		}
	}
	return rows.Err()
}
