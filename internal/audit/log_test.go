package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"consilium/internal/database"
	"consilium/internal/event"
	"consilium/internal/leak"
)

// running is a log that runs.
type running struct {
	*Log
	t    *testing.T
	path string
	stop context.CancelFunc
	done chan error
}

func run(t *testing.T) *running {
	t.Helper()
	leak.Check(t)
	path := filepath.Join(t.TempDir(), FileName)
	l, err := New(Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	r := &running{l, t, path, stop, make(chan error, 1)}
	go func() { r.done <- l.Run(ctx) }()
	t.Cleanup(func() { r.close() })
	return r
}

// close ends the log and returns what it holds.
func (r *running) close() []Entry {
	r.t.Helper()
	r.stop()
	if err, ok := <-r.done; ok && err != nil {
		r.t.Error(err)
	}
	select {
	case r.done <- nil: // for the cleanup
	default:
	}
	s, err := Open(r.path)
	if err != nil {
		r.t.Fatal(err)
	}
	defer s.Close()
	var all []Entry
	for {
		page, err := s.Entries(context.Background(), Filter{Limit: MaxLimit, After: int64(len(all))})
		if err != nil {
			r.t.Fatal(err)
		}
		if all = append(all, page...); len(page) < MaxLimit {
			return all
		}
	}
}

func actions(entries []Entry) (list []Action) {
	for _, e := range entries {
		list = append(list, e.Action)
	}
	return list
}

// viewer reads a file by the page.
func viewer(actor string) Entry {
	return Entry{Action: Played, Actor: actor, Role: "doctor", Address: "192.0.2.7", Recording: "rec", File: "p1-cam-1.webm"}
}

func TestWhoWatchesIsOnTheDiskBeforeTheFirstByte(t *testing.T) {
	l := run(t)
	a, err := l.View(t.Context(), viewer("doc"))
	if err != nil {
		t.Fatal(err)
	}
	entries, err := l.Entries(t.Context(), Filter{Limit: 10})
	if err != nil || len(entries) != 1 || entries[0].Action != Opened || entries[0].Actor != "doc" || entries[0].File != "p1-cam-1.webm" {
		t.Errorf("%+v, %v", entries, err)
	}
	a.Close()
}

func TestWhatAViewerReadsOfAFileIsOneRow(t *testing.T) {
	l := run(t)
	for i := range int64(100) { // a browser asks for 64 KiB at a time
		a, err := l.View(t.Context(), viewer("doc"))
		if err != nil {
			t.Fatal(err)
		}
		a.Read(i<<16, i<<16+65535)
		a.Close()
	}
	tail, err := l.View(t.Context(), viewer("doc"))
	if err != nil {
		t.Fatal(err)
	}
	tail.Read(9_000_000, 9_000_099)
	tail.Close()
	other, err := l.View(t.Context(), viewer("another"))
	if err != nil {
		t.Fatal(err)
	}
	other.Close()
	entries := l.close()
	got := actions(entries)
	slices.Sort(got)
	if !slices.Equal(got, []Action{Opened, Opened, Played, Played}) {
		t.Fatalf("rows %v", got)
	}
	i := slices.IndexFunc(entries, func(e Entry) bool { return e.Action == Played && e.Actor == "doc" })
	data := entries[i].Data
	if fmt.Sprint(data["ranges"]) != "[[0 6.553599e+06] [9e+06 9.000099e+06]]" || data["bytes"] != 6553700.0 || data["requests"] != 101.0 {
		t.Errorf("the row says %v", data)
	}
}

func TestWhatWasReadIsWrittenWhileOneWatchesAndWhenHeStops(t *testing.T) {
	l := run(t)
	a, err := l.View(t.Context(), viewer("doc"))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	a.Read(0, 99)
	l.sweep(now.Add(time.Minute), false)
	if len(l.backlog) != 0 {
		t.Error("a row in the first minute of watching")
	}
	l.sweep(now.Add(viewingEvery+time.Second), false)
	if len(l.backlog) != 1 || len(l.viewings) != 1 {
		t.Fatalf("%d rows and %d viewers after %v of watching", len(l.backlog), len(l.viewings), viewingEvery)
	}
	a.Read(100, 199)
	a.Fail(errors.New("chunk 7 is damaged"))
	a.Close()
	l.sweep(time.Now().Add(viewingIdle+time.Second), false)
	if len(l.backlog) != 2 || len(l.viewings) != 0 {
		t.Fatalf("%d rows and %d viewers after the end", len(l.backlog), len(l.viewings))
	}
	if l.backlog[0].Outcome != "" || l.backlog[1].Outcome != Failed || l.backlog[1].Data["error"] != "chunk 7 is damaged" {
		t.Errorf("rows %+v", l.backlog)
	}
	if first, second := l.backlog[0].Data["ranges"], l.backlog[1].Data["ranges"]; fmt.Sprint(first, second) != "[[0 99]] [[100 199]]" {
		t.Errorf("rows say %v and %v", first, second)
	}
}

func TestNothingIsShownWhenItCanNotBeNoted(t *testing.T) {
	l := run(t)
	before, err := l.View(t.Context(), viewer("early"))
	if err != nil {
		t.Fatal(err)
	}
	before.Read(0, 9)
	before.Close()
	// The disk fails: SQLite refuses every row.
	db := raw(t, l.path)
	if _, err := db.Exec("CREATE TRIGGER broken BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'disk I/O error'); END"); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the failure is not remembered as an access
		if _, err := l.View(t.Context(), viewer("late")); err == nil {
			t.Error("a viewer was let in unseen")
		}
	}
	if _, err := l.View(t.Context(), viewer("early")); err == nil {
		t.Error("one who had been let in goes on unseen")
	}
	// The recorder does not wait for it.
	for range 2 * maxBacklog {
		l.Emit(event.Event{Type: event.RecordingArmed, Call: "rec"})
	}
	if l.dropped.Value() == 0 {
		t.Error("what does not fit is not counted")
	}
	if _, err := db.Exec("DROP TRIGGER broken"); err != nil {
		t.Fatal(err)
	}
	// The backlog goes first: the race detector takes longer for it than anybody
	// waits, and then he asks again.
	a, err := l.View(t.Context(), viewer("late"))
	for deadline := time.Now().Add(time.Minute); errors.Is(err, context.DeadlineExceeded) && time.Now().Before(deadline); {
		a, err = l.View(t.Context(), viewer("late"))
	}
	if err != nil {
		t.Fatalf("after the disk is well: %v", err)
	}
	a.Close()
	entries := l.close()
	if !slices.Contains(actions(entries), Action(event.RecordingArmed)) {
		t.Error("what the recorder said meanwhile is not there")
	}
}

func TestTheRecordersEventsAreNoted(t *testing.T) {
	l := run(t)
	l.Emit(event.Event{Type: event.RecordingArmed, Call: "rec"})
	l.Emit(event.Event{Type: event.ParticipantJoined, Call: "rec"})
	l.Emit(event.Event{
		Type: event.RecordingFailed, Call: "rec", Failure: event.Failure{Code: event.DiskFull}, Data: map[string]any{"reason": "no space", "x": 1},
	})
	l.Emit(event.Event{Type: "recording.erased", Call: "rec", Data: map[string]any{"by": "olga"}})
	entries := l.close()
	if !slices.Equal(actions(entries), []Action{"recording.armed", "recording.failed", "recording.erased"}) {
		t.Fatalf("rows %v", actions(entries))
	}
	failed, erased := entries[1], entries[2]
	if failed.Outcome != Failed || failed.Data["code"] != "DISK_FULL" || failed.Data["reason"] != "no space" || failed.Role != RoleServer {
		t.Errorf("failed: %+v", failed)
	}
	if erased.Actor != "olga" || erased.Outcome != Done {
		t.Errorf("erased: %+v", erased)
	}
}

func TestTheSameRefusalIsCountedAndAllAreBounded(t *testing.T) {
	l := run(t)
	guess := Entry{Address: "198.51.100.1", Recording: "guess"}
	for range 50 {
		l.Refuse(guess, "GET 404 not_found")
	}
	l.Refuse(guess, "GET 401 unauthorized")
	for i := range 3 * maxRefusals {
		l.Refuse(Entry{Address: "198.51.100.2", Recording: fmt.Sprint(i)}, "GET 404 not_found")
	}
	entries := l.close()
	if len(entries) > maxRefusals+10 {
		t.Errorf("%d rows of %d different refusals", len(entries), 3*maxRefusals)
	}
	again := map[any]float64{}
	for _, e := range entries {
		if e.Action != Refused || e.Outcome != Denied {
			t.Errorf("row %+v", e)
		}
		if n, ok := e.Data["again"].(float64); ok {
			again[e.Recording] += n
		}
	}
	if again["guess"] != 49 {
		t.Errorf("the guess came again %v times, want 49", again["guess"])
	}
	if total := again[""] + float64(maxRefusals) + 1; total < 3*maxRefusals {
		t.Errorf("%v of %d are accounted for", total, 3*maxRefusals)
	}
}

func TestAClosedLogRefuses(t *testing.T) {
	l := run(t)
	l.close()
	if err := l.Append(context.Background(), Entry{Action: Held}); err == nil {
		t.Error("a closed log took an entry")
	}
	if _, err := l.View(context.Background(), viewer("doc")); err == nil {
		t.Error("a closed log let somebody watch")
	}
}

func TestAStopWhileARowIsWrittenIsNoFailure(t *testing.T) {
	leak.Check(t)
	path := filepath.Join(t.TempDir(), FileName)
	var said bytes.Buffer
	l, err := New(Config{Path: path, Log: slog.New(slog.NewTextHandler(&said, nil))})
	if err != nil {
		t.Fatal(err)
	}
	other, err := database.OpenWriter(path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	tx, err := other.BeginTx(t.Context(), nil) // immediate: the log must wait for it
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	l.Emit(event.Event{Type: event.RecordingReady, Call: "c1"})
	for len(l.wake) > 0 {
		runtime.Gosched() // until it is being written
	}
	stop()
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if said.Len() > 0 {
		t.Errorf("it was logged: %s", said.String())
	}
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if entries, err := s.Entries(t.Context(), Filter{}); err != nil || len(entries) != 1 {
		t.Errorf("%d entries, %v", len(entries), err)
	}
}

func TestRangesAreJoinedAndBounded(t *testing.T) {
	for name, test := range map[string]struct {
		add  [][2]int64
		want string
	}{
		"one":            {[][2]int64{{0, 9}}, "[[0 9]]"},
		"next to it":     {[][2]int64{{0, 9}, {10, 19}}, "[[0 19]]"},
		"before it":      {[][2]int64{{10, 19}, {0, 9}}, "[[0 19]]"},
		"apart":          {[][2]int64{{0, 9}, {11, 19}}, "[[0 9] [11 19]]"},
		"over two":       {[][2]int64{{0, 9}, {20, 29}, {5, 25}}, "[[0 29]]"},
		"over all":       {[][2]int64{{5, 6}, {8, 9}, {11, 12}, {0, 100}}, "[[0 100]]"},
		"inside":         {[][2]int64{{0, 100}, {5, 6}}, "[[0 100]]"},
		"in the middle":  {[][2]int64{{0, 1}, {20, 21}, {10, 11}}, "[[0 1] [10 11] [20 21]]"},
		"back to front":  {[][2]int64{{9, 0}}, "[]"},
		"the same again": {[][2]int64{{3, 4}, {3, 4}}, "[[3 4]]"},
	} {
		var r ranges
		for _, s := range test.add {
			r = r.add(s[0], s[1])
		}
		if got := fmt.Sprint(r.list()); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
	var many ranges
	for i := range int64(1000) {
		many = many.add(i*100, i*100+9)
	}
	if len(many) != maxRanges || many[0].first != 0 || many[len(many)-1].last != 99_909 {
		t.Errorf("%d ranges, from %d to %d", len(many), many[0].first, many[len(many)-1].last)
	}
}
