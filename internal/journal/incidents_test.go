package journal

import (
	"fmt"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"consilium/internal/database"
	"consilium/internal/event"
	"consilium/internal/incident"
)

// failure is a participant's failure in call c of room r.
func failure(typ event.Type, participant string, code event.Code) event.Event {
	return event.Event{Type: typ, Call: "c", Room: "r", Participant: participant, Failure: event.Failure{Code: code}}
}

// offline is a journal that nobody runs.
func offline(t *testing.T, config Config) *Journal {
	t.Helper()
	if config.Path == "" {
		config.Path = filepath.Join(t.TempDir(), "x.db")
	}
	j, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.close() })
	return j
}

func TestAFailureHasOneNumberWhereverItIsTold(t *testing.T) {
	var delivered []event.Event
	j := offline(t, Config{Sinks: []event.Sink{event.Func(func(e event.Event) { delivered = append(delivered, e) })}})
	entries, cancel := j.Subscribe(10)
	defer cancel()

	told := j.Number(failure(event.ParticipantFailed, "anna", event.NoRoute)) // as the SFU does for the page
	number := told.Incident()
	if _, err := incident.Parse(number); err != nil {
		t.Fatalf("number %q: %v", number, err)
	}
	j.Emit(told)
	j.Emit(failure(event.MediaTimeout, "anna", event.NoRoute))
	j.Emit(failure(event.NoteClient, "anna", event.NoRoute))
	for i, e := range delivered {
		if got := e.Incident(); got != number {
			t.Errorf("the sink got %q with entry %d, want %q", got, i, number)
		}
		if got := (<-entries).Incident(); got != number {
			t.Errorf("the subscriber got %q with entry %d, want %q", got, i, number)
		}
	}
	for _, where := range []string{"memory", "disk"} {
		found, err := j.Incident(t.Context(), number)
		if err != nil || len(found) != 3 || found[0].Type != event.ParticipantFailed || found[2].Type != event.NoteClient {
			t.Errorf("from %s: %v, %v", where, found, err)
		}
		j.writePending(t.Context())
	}
	if found, err := j.Incident(t.Context(), ""); err != nil || len(found) != 0 {
		t.Errorf("no number finds %v, %v", found, err)
	}
}

func TestNumberLeavesTheDataOfTheCallerAlone(t *testing.T) {
	j := offline(t, Config{})
	e := failure(event.MediaTimeout, "anna", event.NoMediaOut)
	e.Data = map[string]any{"source": "cam"}
	got := j.Number(e)
	if len(e.Data) != 1 || got.Data["source"] != "cam" || got.Incident() == "" {
		t.Errorf("given %v, returned %v", e.Data, got.Data)
	}
	if quiet := j.Number(event.Event{Type: event.MediaFlowing, Call: "c"}); quiet.Data != nil {
		t.Errorf("what is no failure has %v", quiet.Data)
	}
	e.Room = event.PrecheckRoom + "x"
	if got := j.Number(e); got.Incident() != "" {
		t.Error("a failure of a self-test has a number")
	}
}

func TestAClientGivesNoNumbers(t *testing.T) {
	j := offline(t, Config{})
	number := j.Number(failure(event.MediaTimeout, "anna", event.NoRoute)).Incident()
	for name, code := range map[string]event.Code{"with a code": event.CamBusy, "without": ""} {
		t.Run(name, func(t *testing.T) {
			planted := failure(event.NoteClient, "boris", code)
			planted.Data = map[string]any{event.IncidentKey: number}
			j.Emit(planted)
			if found, err := j.Incident(t.Context(), number); err != nil || len(found) != 0 {
				t.Errorf("under the number of another: %v, %v", found, err)
			}
		})
	}
}

func TestAnotherCauseHasAnotherNumber(t *testing.T) {
	first := failure(event.MediaTimeout, "anna", event.NoMediaOut)
	other := func(change func(*event.Event)) event.Event {
		e := first
		change(&e)
		return e
	}
	for name, test := range map[string]struct {
		between event.Event // emitted between the two failures; may be empty
		second  event.Event
		same    bool
	}{
		"the same once more":       {event.Event{}, first, true},
		"another track of it":      {event.Event{}, other(func(e *event.Event) { e.Track = "t2" }), true},
		"another person":           {event.Event{}, other(func(e *event.Event) { e.Participant = "boris" }), false},
		"another code":             {event.Event{}, other(func(e *event.Event) { e.Code = event.NoRoute }), false},
		"another call":             {event.Event{}, other(func(e *event.Event) { e.Call = "d" }), false},
		"media was there between":  {failure(event.MediaResumed, "anna", ""), first, false},
		"media of somebody else":   {failure(event.MediaResumed, "boris", ""), first, true},
		"he left and came back":    {failure(event.ParticipantLeft, "anna", ""), first, false},
		"the call ended":           {failure(event.CallEnded, "", ""), first, false},
		"another call has resumed": {event.Event{Type: event.MediaResumed, Call: "d", Participant: "anna"}, first, true},
	} {
		t.Run(name, func(t *testing.T) {
			j := offline(t, Config{})
			number := j.Number(first).Incident()
			if test.between.Type != "" {
				j.Emit(test.between)
			}
			if again := j.Number(test.second).Incident(); (again == number) != test.same {
				t.Errorf("numbers %s and %s", number, again)
			}
		})
	}
}

func TestAFailureOnTheWayToACallKeepsItsNumberInIt(t *testing.T) {
	j := offline(t, Config{})
	in := func(call string) event.Event {
		e := failure(event.NoteClient, "anna", event.CamDenied)
		e.Call = call
		return e
	}
	before := j.Number(in("")).Incident()
	if got := j.Number(in("c")).Incident(); got != before {
		t.Errorf("before the call %s, in it %s", before, got)
	}
	if got := j.Number(in("c")).Incident(); got != before {
		t.Errorf("told again %s, before %s", got, before)
	}
	if got := j.Number(in("d")).Incident(); got == before {
		t.Error("another call has the number as well")
	}
}

func TestNobodyKnownSharesNoNumber(t *testing.T) {
	j := offline(t, Config{})
	e := event.Event{Type: event.ParticipantFailed, Failure: event.Failure{Code: event.CertUntrusted}}
	if a, b := j.Number(e).Incident(), j.Number(e).Incident(); a == b {
		t.Errorf("two devices of whom nothing is known have the number %s", a)
	}
}

func TestACauseThatWasQuietForLongIsANewIncident(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var i incidents
		e := failure(event.MediaTimeout, "anna", event.NoMediaOut)
		first := i.number(e, time.Now()).Incident()
		time.Sleep(causeWindow)
		if again := i.number(e, time.Now()).Incident(); again != first {
			t.Errorf("within the window: %s, then %s", first, again)
		}
		time.Sleep(causeWindow + time.Second)
		if again := i.number(e, time.Now()).Incident(); again == first {
			t.Error("after the window it still has its number")
		}
	})
}

func TestNumbersAreNotGivenTwice(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	seen := make(map[string]bool)
	for range 3 { // restarts, within one second
		j := offline(t, Config{Path: path})
		for n := range 50 {
			e := failure(event.ParticipantFailed, fmt.Sprintf("p%d", n), event.NoRoute)
			e.Call = fmt.Sprint(len(seen))
			e = j.Number(e)
			if seen[e.Incident()] {
				t.Fatalf("%s was given twice", e.Incident())
			}
			seen[e.Incident()] = true
			j.Emit(e)
		}
		j.writePending(t.Context())
		if err := j.close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOpenCausesAreBounded(t *testing.T) {
	var i incidents
	now := time.Now()
	for n := range maxCauses + 100 {
		i.number(failure(event.MediaTimeout, fmt.Sprint(n), event.NoRoute), now.Add(time.Duration(n)))
	}
	if len(i.causes) != maxCauses {
		t.Errorf("%d causes are kept, want %d", len(i.causes), maxCauses)
	}
	if _, kept := i.causes[cause{call: "c", room: "r", participant: "0", code: event.NoRoute}]; kept {
		t.Error("the oldest was kept")
	}
}

func TestCallsAreFoundByTimeAndByWhatFailed(t *testing.T) {
	at := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	j := offline(t, Config{})
	for n, code := range []event.Code{event.NoRoute, "", event.NoMediaOut, event.NoRoute} {
		id := string(rune('a' + n))
		visit(j, id, "red", "x", at.Add(time.Duration(n)*time.Minute), true)
		if code != "" {
			e := failure(event.MediaTimeout, "anna", code)
			e.Call = id
			j.Emit(e)
			j.Emit(e)
		}
	}
	for _, where := range []string{"memory", "disk"} {
		for name, test := range map[string]struct {
			filter Filter
			want   string
		}{
			"by code":          {Filter{Code: event.NoRoute}, "da"},
			"part of a code":   {Filter{Code: "ROUTE"}, ""},
			"from":             {Filter{From: at.Add(2 * time.Minute)}, "dc"},
			"to":               {Filter{To: at.Add(2 * time.Minute)}, "ba"},
			"a time of day":    {Filter{From: at.Add(time.Minute), To: at.Add(3 * time.Minute)}, "cb"},
			"code and time":    {Filter{Code: event.NoRoute, From: at.Add(time.Minute)}, "d"},
			"to before from":   {Filter{From: at.Add(3 * time.Minute), To: at}, ""},
			"code on 2nd page": {Filter{Code: event.NoRoute, Before: "d"}, "a"},
		} {
			t.Run(where+"/"+name, func(t *testing.T) {
				test.filter.Limit = 10
				calls, err := j.Calls(t.Context(), test.filter)
				if err != nil {
					t.Fatal(err)
				}
				got := ""
				for _, c := range calls {
					got += c.ID
					if len(c.Codes) > 1 {
						t.Errorf("codes of %s = %v", c.ID, c.Codes)
					}
				}
				if got != test.want {
					t.Errorf("calls %q, want %q", got, test.want)
				}
			})
		}
		j.writePending(t.Context())
	}
}

func TestADatabaseOfAnOlderVersionIsBroughtUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	db, err := database.OpenWriter(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(migrations()[0] + `; PRAGMA user_version = 1;
		INSERT INTO events VALUES ('0000000000000001', 1, 'c', 1, '{"id":"0000000000000001","type":"call.started","call":"c"}');
		INSERT INTO calls VALUES ('c', 'r', '', 1, 2, '{"id":"c","room":"r","applied":"0000000000000001"}')`); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	j := offline(t, Config{Path: path})
	entries, err := j.Timeline(t.Context(), "c")
	if err != nil || len(entries) != 1 {
		t.Errorf("timeline = %v, %v", entries, err)
	}
	if calls, err := j.Calls(t.Context(), Filter{Limit: 10}); err != nil || len(calls) != 1 {
		t.Errorf("calls = %v, %v", calls, err)
	}
}
