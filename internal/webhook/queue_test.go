package webhook

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestEmitDropsAndCountsWhenTheQueueIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mis := &receiver{answer: func(_ int, r *http.Request) *http.Response {
			<-r.Context().Done()
			return nil
		}}
		s, stop := run(t, Config{Transport: mis, Queue: 10, Timeout: time.Second, RetryFor: time.Minute})
		for i := range 25 {
			s.Emit(happened("a", i))
		}
		synctest.Wait()
		if got := s.dropped.With(droppedFull).Value(); got != 15 {
			t.Errorf("dropped %d, want 15", got)
		}
		stop()
		if got := s.Dropped(); got != 25 {
			t.Errorf("dropped %d in the end, want all 25", got)
		}
	})
}

func TestShutdownGivesWhatWaitsItsFirstAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mis := &receiver{answer: func(_ int, r *http.Request) *http.Response {
			if strings.HasPrefix(r.Header.Get(HeaderID), "bad") {
				return status(http.StatusInternalServerError)
			}
			<-time.After(100 * time.Millisecond)
			return status(http.StatusOK)
		}}
		s, stop := run(t, Config{Transport: mis})
		s.Emit(happened("bad", 0))
		synctest.Wait()
		for i := range 5 {
			s.Emit(happened("a", i))
		}
		begun := time.Now()
		stop()
		if got := mis.ids(); len(got) != 6 {
			t.Errorf("arrived %v", got)
		}
		if took := time.Since(begun); took > drainFor {
			t.Errorf("shutdown took %v", took)
		}
		if got := s.dropped.With(droppedShutdown).Value(); got != 1 {
			t.Errorf("dropped %d, want the one that waited for its next attempt", got)
		}
	})
}

func TestShutdownDoesNotWaitForAHangingReceiver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mis := &receiver{answer: func(_ int, r *http.Request) *http.Response {
			<-r.Context().Done()
			return nil
		}}
		s, stop := run(t, Config{Transport: mis, Timeout: time.Hour})
		for i := range 40 {
			s.Emit(happened(fmt.Sprint(i), i))
		}
		synctest.Wait()
		begun := time.Now()
		stop()
		if took := time.Since(begun); took > drainFor {
			t.Errorf("shutdown took %v", took)
		}
		if got := s.Dropped(); got != 40 {
			t.Errorf("dropped %d, want 40", got)
		}
	})
}

func TestRetriesLeaveRoomForNewEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mis := &receiver{answer: func(int, *http.Request) *http.Response { return status(http.StatusBadGateway) }}
		s, stop := run(t, Config{Transport: mis, Queue: 16})
		for i := range 40 {
			s.Emit(happened("a", i))
			synctest.Wait()
		}
		first := make(map[string]bool)
		for _, id := range mis.ids() {
			first[id] = true
		}
		if len(first) != 40 {
			t.Errorf("%d of 40 events got their first attempt", len(first))
		}
		if got := s.held.Load(); got != 12 {
			t.Errorf("%d retries are held, want 12 of 16 places", got)
		}
		stop()
	})
}

// FuzzRetryAfter reads what a receiver may answer: a pause that is bounded.
func FuzzRetryAfter(f *testing.F) {
	for _, seed := range []string{"", "1", "-1", "1e9", "Mon, 23 Nov 2026 10:01:00 GMT", "Monday, 23-Nov-26 10:01:00 GMT"} {
		f.Add(seed)
	}
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, value string) {
		if d := parseRetryAfter(value, now); d < 0 || d > maxRetryAfter {
			t.Errorf("%q = %v", value, d)
		}
	})
}
