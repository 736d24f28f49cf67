// Package timeline makes of a call's journal what somebody looks at who wants
// to know why the call failed: the entries of both sides on one clock, the
// stages each participant passed and how long they took, the candidates his
// device offered, the states of both ends, and the path that was found. It also
// writes a participant's part as an rtcstats dump.
//
// The package is a leaf and knows only entries; it reads no database and no
// clock.
package timeline

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"consilium/internal/event"
)

// Side says who saw what an entry tells.
type Side string

// Sides.
const (
	Client Side = "client" // the participant's device
	Server Side = "server"
)

// longestLog is how long before the server heard of it an entry can have been
// noted: a page may wait for its person.
const longestLog = 24 * time.Hour

// Entry is an entry of the journal and its place on the axis.
type Entry struct {
	event.Event
	Side Side
	// At is when it happened, by the server's clock. Of a client's entry that
	// is the time its device noted, corrected (see Clock); Time is when the
	// server heard of it.
	At time.Time
}

// MarshalJSON is the event with two more fields, side and at.
func (e Entry) MarshalJSON() ([]byte, error) {
	text, err := json.Marshal(e.Event)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(text[:len(text)-1], `,"side":%q,"at":%q}`, e.Side, formatTime(e.At)), nil
}

// Participant is what the entries tell of one participant.
type Participant struct {
	Identity string `json:"identity"`
	// Clocks of his devices, one a session, in the order of the sessions.
	Clocks     []Clock     `json:"clocks"`
	Stages     []Stage     `json:"stages"`
	Candidates []Candidate `json:"candidates"`
	States     States      `json:"states"`
	// Path is the last path that was found; nil: none.
	Path *Path `json:"path"`
}

// Timeline is a whole call.
type Timeline struct {
	Entries      []Entry       // by At
	Participants []Participant // by their first entry
}

// Build makes a timeline of a call's entries, which come in the order of their
// ids.
func Build(events []event.Event) Timeline {
	clocks := measure(events)
	t := Timeline{Entries: make([]Entry, 0, len(events)), Participants: []Participant{}}
	var order []string
	for _, e := range events {
		t.Entries = append(t.Entries, place(e, clocks))
		if e.Participant != "" && e.Type != event.ParticipantInvited && !slices.Contains(order, e.Participant) {
			order = append(order, e.Participant)
		}
	}
	slices.SortStableFunc(t.Entries, func(a, b Entry) int { return a.At.Compare(b.At) })
	for _, identity := range order {
		t.Participants = append(t.Participants, describe(identity, t.Of(identity), clocks))
	}
	return t
}

// Of returns the entries about one participant.
func (t Timeline) Of(identity string) []Entry {
	var own []Entry
	for _, e := range t.Entries {
		if e.Participant == identity {
			own = append(own, e)
		}
	}
	return own
}

func place(e event.Event, clocks map[device]*Clock) Entry {
	entry := Entry{Event: e, Side: Server, At: e.Time}
	if e.Type != event.NoteClient {
		return entry
	}
	entry.Side = Client
	if noted, ok := deviceTime(e); ok {
		// Nothing can have happened after the server heard of it, and no page
		// keeps a log for longer than longestLog.
		at := noted.Add(clocks[deviceOf(e)].offset())
		if at.Before(e.Time) && e.Time.Sub(at) < longestLog {
			entry.At = at
		}
	}
	return entry
}

func describe(identity string, entries []Entry, clocks map[device]*Clock) Participant {
	p := Participant{
		Identity: identity, Clocks: []Clock{}, Stages: stagesOf(entries), Candidates: candidatesOf(entries),
		States: statesOf(entries), Path: pathOf(entries),
	}
	seen := make(map[device]bool)
	for _, e := range entries {
		d := deviceOf(e.Event)
		if c := clocks[d]; e.Side == Client && c != nil && !seen[d] {
			seen[d] = true
			p.Clocks = append(p.Clocks, *c)
		}
	}
	return p
}

// formatTime is RFC 3339 with microseconds in UTC, as in events.
func formatTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z07:00") }

// text and number read values of an entry's data, which are as they were
// emitted or as JSON brought them back.
func text(data map[string]any, key string) string {
	s, _ := data[key].(string)
	return s
}

func number(data map[string]any, key string) (float64, bool) {
	switch n := data[key].(type) {
	case float64:
		return n, true
	case int64:
		return float64(n), true
	case int:
		return float64(n), true
	}
	return 0, false
}
