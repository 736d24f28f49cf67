package journal

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"consilium/internal/event"
)

// visit emits the events of one call.
func visit(j *Journal, id, room, external string, at time.Time, ended bool) {
	e := event.Event{Call: id, Room: room, ExternalID: external, Metadata: map[string]string{"k": id}}
	emit := func(kind event.Type, who string, after time.Duration) {
		e.Type, e.Participant, e.Time = kind, who, at.Add(after)
		e.Data = map[string]any{"name": "Name of " + who, "role": "patient"}
		j.Emit(e)
	}
	emit(event.CallStarted, "", 0)
	emit(event.ParticipantJoined, "anna", time.Second)
	emit(event.ParticipantJoined, "boris", 2*time.Second)
	emit(event.ParticipantLeft, "anna", 3*time.Second)
	if ended {
		emit(event.CallEnded, "", 10*time.Second)
	}
}

func TestACallCanBeAskedForAfterItsEnd(t *testing.T) {
	at := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	path := filepath.Join(t.TempDir(), "consilium.db")
	check := func(t *testing.T, j *Journal) {
		t.Helper()
		c, err := j.Call(t.Context(), "one")
		if err != nil {
			t.Fatal(err)
		}
		if c.Room != "room" || c.ExternalID != "visit" || c.Metadata["k"] != "one" ||
			!c.Started.Equal(at) || !c.Ended.Equal(at.Add(10*time.Second)) {
			t.Errorf("call = %+v", c)
		}
		anna, boris := c.Participants["anna"], c.Participants["boris"]
		if anna == nil || boris == nil {
			t.Fatalf("participants = %v", c.Participants)
		}
		if anna.State != "left" || !anna.Left.Equal(at.Add(3*time.Second)) || anna.Name != "Name of anna" {
			t.Errorf("anna = %+v", anna)
		}
		if !boris.Left.Equal(c.Ended) {
			t.Errorf("boris = %+v: the end of the call is his, too", boris)
		}
	}
	j, stop := start(t, Config{Path: path})
	visit(j, "one", "room", "visit", at, true)
	t.Run("from memory", func(t *testing.T) { check(t, j) })
	settle(t, j)
	t.Run("from disk", func(t *testing.T) { check(t, j) })
	stop()
	j, _ = start(t, Config{Path: path})
	t.Run("after a restart", func(t *testing.T) { check(t, j) })
	if _, err := j.Call(t.Context(), "two"); !errors.Is(err, ErrNotFound) {
		t.Errorf("an unknown call: %v", err)
	}
}

func TestCallsAreFilteredAndPaged(t *testing.T) {
	for _, where := range []string{"memory", "disk"} {
		t.Run(where, func(t *testing.T) {
			j, err := New(Config{Path: filepath.Join(t.TempDir(), "x.db")})
			if err != nil {
				t.Fatal(err)
			}
			at := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
			visit(j, "a", "red", "x", at, true)
			visit(j, "b", "red", "y", at.Add(time.Minute), true)
			visit(j, "c", "blue", "x", at.Add(2*time.Minute), false)
			if where == "disk" {
				j.writePending(t.Context())
			}
			defer func() { _ = j.close() }()
			tests := map[string]struct {
				filter Filter
				want   string
			}{
				"all, latest first": {Filter{Limit: 10}, "cba"},
				"by room":           {Filter{Limit: 10, Room: "red"}, "ba"},
				"by external id":    {Filter{Limit: 10, ExternalID: "x"}, "ca"},
				"by both":           {Filter{Limit: 10, Room: "red", ExternalID: "x"}, "a"},
				"first page":        {Filter{Limit: 2}, "cb"},
				"next page":         {Filter{Limit: 2, Before: "b"}, "a"},
				"nothing matches":   {Filter{Limit: 2, Room: "green"}, ""},
			}
			for name, test := range tests {
				t.Run(name, func(t *testing.T) {
					calls, err := j.Calls(t.Context(), test.filter)
					if err != nil {
						t.Fatal(err)
					}
					got := ""
					for _, c := range calls {
						got += c.ID
					}
					if got != test.want {
						t.Errorf("calls %q, want %q", got, test.want)
					}
				})
			}
		})
	}
}

func TestCallsThatACrashCutOffAreEnded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "consilium.db")
	at := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	j, err := New(Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	visit(j, "one", "room", "visit", at, false)
	j.writePending(t.Context())
	if err := j.close(); err != nil { // without Run: as if killed
		t.Fatal(err)
	}
	j, _ = start(t, Config{Path: path})
	deadline := time.Now().Add(5 * time.Second)
	for {
		c, err := j.Call(t.Context(), "one")
		if err != nil {
			t.Fatal(err)
		}
		if c.Ended.Equal(at.Add(3 * time.Second)) { // its last sign of life
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("call = %+v", c)
		}
	}
	feed, _, err := j.Events(t.Context(), "", 10)
	if err != nil {
		t.Fatal(err)
	}
	last := feed[len(feed)-1]
	if last.Type != event.CallEnded || last.Data["reason"] != "crash" || last.ExternalID != "visit" {
		t.Errorf("last event = %+v", last)
	}
}
