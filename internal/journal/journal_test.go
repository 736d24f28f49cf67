package journal

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"consilium/internal/event"
	"consilium/internal/leak"
	"consilium/internal/metrics"
)

// start runs a journal until stop is called or the test ends.
func start(t *testing.T, config Config) (j *Journal, stop func()) {
	t.Helper()
	leak.Check(t)
	if config.Path == "" {
		config.Path = filepath.Join(t.TempDir(), "data", "consilium.db")
	}
	j, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- j.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return j, stop
}

// settle waits until everything is on disk.
func settle(t *testing.T, j *Journal) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for j.Pending() > 0 {
		if time.Now().After(deadline) {
			t.Fatalf("%d entries are still not written", j.Pending())
		}
		<-ticker.C
	}
}

func TestFeedIsCompleteAndOrderedUnderConcurrency(t *testing.T) {
	var seen []string
	j, _ := start(t, Config{Pending: 1 << 20, Sinks: []event.Sink{event.Func(func(e event.Event) {
		if e.Type.Public() {
			seen = append(seen, e.ID) // guarded by the journal: sinks are called one at a time
		}
	})}})
	const writers, each = 8, 300
	var writing sync.WaitGroup
	for n := range writers {
		writing.Go(func() {
			for i := range each {
				j.Emit(event.Event{Type: event.MediaFlowing, Call: fmt.Sprint(n), Data: map[string]any{"i": i}})
				j.Emit(event.Event{Type: event.NoteState, Call: fmt.Sprint(n)})
			}
		})
	}
	// Reading while writing must miss nothing and see nothing twice.
	var got []event.Event
	after := ""
	for len(got) < writers*each {
		page, next, err := j.Events(t.Context(), after, 97)
		if err != nil {
			t.Fatal(err)
		}
		got, after = append(got, page...), next
	}
	writing.Wait()
	ids := make([]string, len(got))
	last := make(map[string]float64)
	for i, e := range got {
		ids[i] = e.ID
		n := number(t, e.Data["i"])
		if want := last[e.Call]; n != want {
			t.Fatalf("call %s: event %v comes where %v should", e.Call, n, want)
		}
		last[e.Call]++
	}
	if !slices.IsSorted(ids) || len(slices.Compact(slices.Clone(ids))) != len(ids) {
		t.Error("ids do not rise")
	}
	if !slices.Equal(ids, seen) {
		t.Error("the feed and the sinks disagree about the order")
	}
	settle(t, j)
	again, _, err := j.Events(t.Context(), "", MaxLimit)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range again {
		if e.ID != ids[i] {
			t.Fatalf("from disk, event %d is %s, want %s", i, e.ID, ids[i])
		}
	}
}

// number reads a value that was an int in memory and is a float64 from JSON.
func number(t *testing.T, v any) float64 {
	t.Helper()
	switch n := v.(type) {
	case int:
		return float64(n)
	case float64:
		return n
	}
	t.Fatalf("%v is no number", v)
	return 0
}

func TestNotesAreInTheTimelineOnly(t *testing.T) {
	for _, where := range []string{"memory", "disk"} {
		t.Run(where, func(t *testing.T) {
			j, _ := start(t, Config{})
			j.Emit(event.Event{Type: event.CallStarted, Call: "a", Room: "r"})
			j.Emit(event.Event{Type: event.NoteCandidate, Call: "a"})
			j.Emit(event.Event{Type: event.CallStarted, Call: "b", Room: "q"})
			if where == "disk" {
				settle(t, j)
			}
			timeline, err := j.Timeline(t.Context(), "a")
			if err != nil {
				t.Fatal(err)
			}
			if len(timeline) != 2 || timeline[1].Type != event.NoteCandidate {
				t.Errorf("timeline = %+v", timeline)
			}
			feed, next, err := j.Events(t.Context(), "", 10)
			if err != nil {
				t.Fatal(err)
			}
			if len(feed) != 2 || feed[1].Call != "b" || next != feed[1].ID {
				t.Errorf("feed = %+v, next %q", feed, next)
			}
			rest, again, err := j.Events(t.Context(), next, 10)
			if err != nil || len(rest) != 0 || again != next {
				t.Errorf("after the end: %v, next %q, %v", rest, again, err)
			}
			if none, err := j.Timeline(t.Context(), "nobody"); err != nil || len(none) != 0 {
				t.Errorf("timeline of an unknown call: %v, %v", none, err)
			}
		})
	}
}

func TestEmitNeverWaitsForTheDatabase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "consilium.db")
	const room = 400
	j, stop := start(t, Config{Path: path, Pending: room})
	settle(t, j)

	// Another program takes the database and does not let go.
	other, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	other.SetMaxOpenConns(1)
	if _, err := other.Exec("BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	const events = 5000
	entries, cancel := j.Subscribe(events)
	defer cancel()
	begun := time.Now()
	for range events {
		j.Emit(event.Event{Type: event.MediaFlowing, Call: "a"})
	}
	if took := time.Since(begun); took > time.Second {
		t.Errorf("%d events took %v with the database locked", events, took)
	}
	if len(entries) != events {
		t.Errorf("the subscriber got %d of %d events", len(entries), events)
	}
	if got := j.Dropped(); got != events-room {
		t.Errorf("dropped = %d, want %d", got, events-room)
	}
	feed, _, err := j.Events(t.Context(), "", MaxLimit)
	if err != nil || len(feed) != room {
		t.Errorf("the feed has %d of the %d events kept: %v", len(feed), room, err)
	}
	if _, err := other.Exec("ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	settle(t, j)
	stop()
	j, _ = start(t, Config{Path: path})
	if feed, _, err = j.Events(t.Context(), "", MaxLimit); err != nil || len(feed) != room {
		t.Errorf("after a restart the feed has %d of %d events: %v", len(feed), room, err)
	}
}

func TestNotesGiveWayToEvents(t *testing.T) {
	j, err := New(Config{Path: filepath.Join(t.TempDir(), "x.db"), Pending: 8})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = j.close() }()
	for range 20 {
		j.Emit(event.Event{Type: event.NoteState, Call: "a"})
	}
	if got := j.Pending(); got != 6 {
		t.Errorf("%d notes are pending, want 6 of 8 places", got)
	}
	j.Emit(event.Event{Type: event.MediaTimeout, Call: "a"})
	if got := j.Pending(); got != 7 {
		t.Errorf("an event found no place behind notes: %d pending", got)
	}
}

func TestIDsGoOnRisingAfterARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "consilium.db")
	j, stop := start(t, Config{Path: path})
	ahead := uint64(time.Now().Add(time.Hour).UnixMicro()) // the clock was wrong then
	j.mu.Lock()
	j.last = ahead
	j.mu.Unlock()
	j.Emit(event.Event{Type: event.MediaFlowing, Call: "a"})
	stop()
	j, _ = start(t, Config{Path: path})
	j.Emit(event.Event{Type: event.MediaFlowing, Call: "a"})
	feed, _, err := j.Events(t.Context(), "", 10)
	if err != nil {
		t.Fatal(err)
	}
	for i := 1; i < len(feed); i++ {
		if feed[i].ID <= feed[i-1].ID {
			t.Errorf("id %s comes after %s", feed[i].ID, feed[i-1].ID)
		}
	}
	if len(feed) != 2 || feed[0].ID != formatID(ahead+1) {
		t.Errorf("feed = %+v", feed)
	}
}

func TestASlowSubscriberIsCutOffAndCatchesUp(t *testing.T) {
	registry := metrics.New()
	j, _ := start(t, Config{Metrics: registry})
	slow, cancel := j.Subscribe(2)
	defer cancel()
	quick, cancelQuick := j.Subscribe(10)
	for range 5 {
		j.Emit(event.Event{Type: event.MediaFlowing, Call: "a"})
	}
	last := ""
	for e := range slow { // ends: the channel is closed
		last = e.ID
	}
	missed, _, err := j.Events(t.Context(), last, 10)
	if err != nil || len(missed) != 3 {
		t.Errorf("caught up with %d events, want 3: %v", len(missed), err)
	}
	if len(quick) != 5 {
		t.Errorf("the quick subscriber has %d events, want 5", len(quick))
	}
	if got := j.count.overflow.Value(); got != 1 {
		t.Errorf("overflows = %d, want 1", got)
	}
	cancelQuick()
	cancelQuick()
	j.Emit(event.Event{Type: event.MediaFlowing})
	if len(quick) != 5 {
		t.Error("a cancelled subscription goes on")
	}
}

func TestDataThatIsNotJSONLosesOnlyItself(t *testing.T) {
	j, _ := start(t, Config{})
	j.Emit(event.Event{Type: event.QualityPoor, Call: "a", Data: map[string]any{"loss": math.NaN()}})
	j.Emit(event.Event{Type: event.QualityRecovered, Call: "a"})
	settle(t, j)
	feed, _, err := j.Events(t.Context(), "", 10)
	if err != nil || len(feed) != 2 {
		t.Fatalf("feed = %v, %v", feed, err)
	}
	if feed[0].Data["unencodable"] == nil {
		t.Errorf("data = %v", feed[0].Data)
	}
}

func TestOldEntriesAreDeleted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "consilium.db")
	j, stop := start(t, Config{Path: path})
	old := time.Now().Add(-48 * time.Hour)
	for range 3 {
		j.Emit(event.Event{Type: event.CallStarted, Call: "old", Room: "r", Time: old})
	}
	j.Emit(event.Event{Type: event.CallEnded, Call: "old", Room: "r", Time: old})
	j.Emit(event.Event{Type: event.CallStarted, Call: "new", Room: "r"})
	stop()
	j, _ = start(t, Config{Path: path, Keep: 24 * time.Hour})
	deadline := time.Now().Add(5 * time.Second)
	for {
		feed, _, err := j.Events(t.Context(), "", 10)
		if err != nil {
			t.Fatal(err)
		}
		calls, err := j.Calls(t.Context(), Filter{Limit: 10})
		if err != nil {
			t.Fatal(err)
		}
		if len(calls) == 1 && calls[0].ID == "new" && len(feed) > 0 && feed[0].Call == "new" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("feed = %v, calls = %v", feed, calls)
		}
	}
}

func TestFilesAreForTheOwnerOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data ?#%") // characters that mean something in a URI
	j, _ := start(t, Config{Path: filepath.Join(dir, "consilium.db")})
	j.Emit(event.Event{Type: event.CallStarted, Call: "a"})
	settle(t, j)
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory: %v, %v", info.Mode(), err)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, file := range files {
		if info, err := file.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", file.Name(), info.Mode(), err)
		}
	}
}

func TestUnusableDatabasesAreRefused(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text.db")
	if err := os.WriteFile(text, []byte("this is no database, and long enough to tell that by its header"), 0o600); err != nil {
		t.Fatal(err)
	}
	newer := filepath.Join(dir, "newer.db")
	db, err := sql.Open("sqlite", newer)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("PRAGMA user_version = 999"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{"not a database": text, "of a newer program": newer, "a directory": dir} {
		t.Run(name, func(t *testing.T) {
			if j, err := New(Config{Path: path}); err == nil {
				_ = j.close()
				t.Error("New takes it")
			}
		})
	}
}

func TestEventsReadBackAsTheyWereEmitted(t *testing.T) {
	var delivered event.Event
	j, _ := start(t, Config{Sinks: []event.Sink{event.Func(func(e event.Event) { delivered = e })}})
	j.Emit(event.Event{
		Type: event.MediaTimeout, Call: "c", Room: "r", Participant: "p", Session: "s", Track: "t",
		ExternalID: "visit-1", Metadata: map[string]string{"ward": "3"},
		Failure: event.Failure{Code: event.NoMediaOut, Stage: event.StageFirstRTP, Direction: event.Out, Evidence: map[string]any{"packets": 0.0}},
		Data:    map[string]any{"source": "cam"},
	})
	settle(t, j)
	feed, _, err := j.Events(t.Context(), "", 1)
	if err != nil || len(feed) != 1 {
		t.Fatalf("feed = %v, %v", feed, err)
	}
	want, err := json.Marshal(delivered)
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(feed[0])
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("from disk: %s\nemitted:   %s", got, want)
	}
}
