package journal

import (
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"consilium/internal/event"
)

func TestTheRecentEventsFollowAnyOfThem(t *testing.T) {
	r := recent{floor: formatID(100)}
	const total = 3*recentEvents + 7
	now := time.Now()
	for n := 1; n <= total; n++ {
		r.add(event.Event{ID: formatID(uint64(100 + 2*n))}, now)
	}
	if len(r.events) != recentEvents {
		t.Errorf("%d events are kept", len(r.events))
	}
	if _, ok := r.after(formatID(100), 10); ok {
		t.Error("what was forgotten is not told")
	}
	for name, tc := range map[string]struct {
		after uint64
		first uint64
		n     int
	}{
		"the last":            {100 + 2*total, 0, 0},
		"beyond the last":     {100 + 2*total + 1, 0, 0},
		"the one before":      {100 + 2*total - 2, 100 + 2*total, 1},
		"between two":         {100 + 2*total - 3, 100 + 2*total - 2, 2},
		"more than the limit": {100 + 2*total - 100, 100 + 2*total - 98, 10},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := r.after(formatID(tc.after), 10)
			if !ok || len(got) != tc.n || tc.n > 0 && got[0].id != formatID(tc.first) {
				t.Errorf("%d events, %v", len(got), ok)
			}
		})
	}
}

func TestRecentEventsAreBoundedBySizeAndAge(t *testing.T) {
	start := time.Now()
	large := event.Event{Data: map[string]any{"text": strings.Repeat("x", recentBytes/8)}}
	for name, tc := range map[string]struct {
		e     event.Event
		every time.Duration
		kept  int // of 20
	}{
		"small and young": {event.Event{}, time.Second, 20},
		"old":             {event.Event{}, recentAge / 4, 5},
		"large":           {large, time.Second, 7},
		"too large": {event.Event{Data: map[string]any{"text": strings.Repeat("x", recentBytes)}},
			time.Second, 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := recent{floor: formatID(0)}
			for n := range 20 {
				tc.e.ID = formatID(uint64(n + 1))
				r.add(tc.e, start.Add(time.Duration(n)*tc.every))
			}
			got, ok := r.after(r.floor, 100)
			bytes := 0
			for _, e := range got {
				bytes += len(e.body)
			}
			if !ok || len(got) != tc.kept || r.bytes != bytes || bytes > recentBytes {
				t.Errorf("%d events of %d bytes are kept, %d counted", len(got), bytes, r.bytes)
			}
			if r.floor != formatID(uint64(20-tc.kept)) {
				t.Errorf("the floor is %s", r.floor)
			}
		})
	}
}

// An event's strings are often pieces of something long, such as an SDP.
func TestAnEventKeepsNothingAliveThatItIsAPieceOf(t *testing.T) {
	j, err := New(Config{Path: filepath.Join(t.TempDir(), "consilium.db"), Pending: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = j.close() }()
	j.Emit(event.Event{Type: event.CallStarted}) // fills what waits for the database
	const events, description = 1000, 16 << 10
	before := live()
	for range events {
		text := strings.Repeat("x", description)
		j.Emit(event.Event{Type: event.MediaFlowing, Call: text[:8], Data: map[string]any{"codec": text[:4]}})
	}
	if each := int(live()-before) / events; each > 1<<10 {
		t.Errorf("an event takes %d bytes", each)
	} else {
		t.Logf("an event takes %d bytes", each)
	}
	if got, _, err := j.Events(t.Context(), j.recent.floor, 3); err != nil || len(got) != 3 {
		t.Errorf("they are not there: %v, %v", got, err)
	}
}

// live is the heap in use by what is reachable, in bytes.
func live() int64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}
