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
