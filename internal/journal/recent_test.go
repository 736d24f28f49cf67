package journal

import (
	"testing"

	"consilium/internal/event"
)

func TestTheRecentEventsFollowAnyOfThem(t *testing.T) {
	r := recent{floor: formatID(100)}
	const total = 3*recentSize + 7
	for n := 1; n <= total; n++ {
		r.add(event.Event{ID: formatID(uint64(100 + 2*n))})
	}
	if len(r.events) > 2*recentSize || len(r.events) < recentSize {
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
			if !ok || len(got) != tc.n || tc.n > 0 && got[0].ID != formatID(tc.first) {
				t.Errorf("%d events, %v", len(got), ok)
			}
		})
	}
}
