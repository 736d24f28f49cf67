package webhook

import (
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestARefusedEventIsTriedAgainWithoutHoldingBackTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		mis := &receiver{answer: func(n int, r *http.Request) *http.Response {
			if r.Header.Get(HeaderID) == "a-000" && time.Since(begun) < 5*time.Second {
				return status(http.StatusInternalServerError)
			}
			return status(http.StatusOK)
		}}
		s, stop := run(t, Config{Transport: mis})
		for i := range 3 {
			s.Emit(happened("a", i))
		}
		synctest.Wait()
		if got := mis.ids(); !slices.Equal(got, []string{"a-000", "a-001", "a-002"}) {
			t.Errorf("first attempts: %v", got)
		}
		pass(time.Minute)
		stop()
		var times []time.Duration
		for _, r := range mis.all() {
			if r.id == "a-000" {
				times = append(times, r.at.Sub(begun))
			}
		}
		if len(times) < 3 || len(times) > 6 {
			t.Fatalf("attempts at %v", times)
		}
		for i := 1; i < len(times); i++ {
			full := time.Second << (i - 1)
			if gap := times[i] - times[i-1]; gap < full/2 || gap > full {
				t.Errorf("pause %d is %v, want %v to %v", i, gap, full/2, full)
			}
		}
		if s.Dropped() != 0 {
			t.Errorf("dropped %d", s.Dropped())
		}
	})
}

// ending is a way in which the attempts of one event come to an end.
type ending struct {
	answer      func(n int) *http.Response
	retryFor    time.Duration
	attempts    int // 0: more than one
	lastAtLeast time.Duration
	lastAtMost  time.Duration
	dropped     uint64
}

// later refuses and asks for a pause.
func later(code int, after string) *http.Response {
	response := status(code)
	response.Header.Set("Retry-After", after)
	return response
}

func endings() map[string]ending {
	return map[string]ending{
		"when the time is up": {
			answer:   func(int) *http.Response { return status(500) },
			retryFor: time.Minute, lastAtLeast: 20 * time.Second, lastAtMost: time.Minute, dropped: 1,
		},
		"when nobody listens for too long": {
			answer:   func(int) *http.Response { return nil },
			retryFor: time.Minute, lastAtLeast: 20 * time.Second, lastAtMost: time.Minute, dropped: 1,
		},
		"after the pause the receiver asked for": {
			answer: func(n int) *http.Response {
				if n == 1 {
					return later(503, "45")
				}
				return status(204)
			},
			retryFor: time.Hour, attempts: 2, lastAtLeast: 45 * time.Second, lastAtMost: 45 * time.Second,
		},
		"when the receiver asks for more than there is": {
			answer:   func(int) *http.Response { return later(429, "7200") },
			retryFor: time.Hour, attempts: 1, dropped: 1,
		},
		"at once with 410": {
			answer:   func(int) *http.Response { return status(410) },
			retryFor: time.Hour, attempts: 1, dropped: 1,
		},
		"later with a redirect, which is not followed": {
			answer: func(n int) *http.Response {
				if n == 1 {
					response := status(302)
					response.Header.Set("Location", "http://elsewhere.example/")
					return response
				}
				return status(200)
			},
			retryFor: time.Hour, attempts: 2, lastAtLeast: time.Second / 2, lastAtMost: time.Second,
		},
	}
}

func TestRetriesEnd(t *testing.T) {
	for name, test := range endings() {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begun := time.Now()
				mis := &receiver{answer: func(n int, r *http.Request) *http.Response {
					if r.URL.Host != "mis.example" {
						t.Errorf("went to %s", r.URL)
					}
					return test.answer(n)
				}}
				s, stop := run(t, Config{Transport: mis, RetryFor: test.retryFor})
				s.Emit(happened("a", 0))
				pass(3 * time.Hour)
				stop()
				n := len(mis.got)
				if test.attempts > 0 && n != test.attempts || n == 0 {
					t.Fatalf("%d attempts, want %d", n, test.attempts)
				}
				last := mis.got[n-1].at.Sub(begun)
				if last < test.lastAtLeast || last > test.lastAtMost {
					t.Errorf("last attempt after %v, want %v to %v", last, test.lastAtLeast, test.lastAtMost)
				}
				if got := s.Dropped(); got != test.dropped {
					t.Errorf("dropped %d, want %d", got, test.dropped)
				}
			})
		})
	}
}

func TestNothingIsSentAfter410(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mis := &receiver{answer: func(int, *http.Request) *http.Response { return status(http.StatusGone) }}
		s, stop := run(t, Config{Transport: mis})
		s.Emit(happened("a", 0))
		synctest.Wait()
		for i := range 5 {
			s.Emit(happened("a", i+1))
		}
		pass(time.Hour)
		stop()
		if got := mis.ids(); len(got) != 1 {
			t.Errorf("sent %v", got)
		}
		if got := s.dropped.With(droppedGone).Value(); got != 6 {
			t.Errorf("dropped %d, want 6", got)
		}
	})
}

func TestRetryAfterIsReadInBothForms(t *testing.T) {
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	tests := map[string]time.Duration{
		"":                              0,
		"17":                            17 * time.Second,
		"-3":                            0,
		"soon":                          0,
		"99999999":                      maxRetryAfter,
		"99999999999999999999":          0,
		"Mon, 23 Nov 2026 10:01:00 GMT": time.Minute,
		"Mon, 23 Nov 2026 09:00:00 GMT": 0,
	}
	for value, want := range tests {
		if got := parseRetryAfter(value, now); got != want {
			t.Errorf("%q = %v, want %v", value, got, want)
		}
	}
}
