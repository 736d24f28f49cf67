package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"consilium/internal/event"
)

const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// receiver is an http.RoundTripper that answers without a network, so that
// tests can run on the fake clock of synctest.
type receiver struct {
	mu     sync.Mutex
	got    []received
	answer func(n int, r *http.Request) *http.Response // n counts from 1
}

type received struct {
	id   string
	at   time.Time
	body []byte
}

func (c *receiver) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.got = append(c.got, received{r.Header.Get(HeaderID), time.Now(), body})
	n := len(c.got)
	c.mu.Unlock()
	response := status(http.StatusNoContent)
	if c.answer != nil {
		response = c.answer(n, r)
	}
	if response == nil {
		return nil, errors.New("connection refused")
	}
	return response, nil
}

func (c *receiver) all() []received {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.got)
}

func (c *receiver) ids() []string {
	var ids []string
	for _, r := range c.all() {
		ids = append(ids, r.id)
	}
	return ids
}

func status(code int) *http.Response {
	return &http.Response{StatusCode: code, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(nil))}
}

// run starts a sender in a synctest bubble.
func run(t *testing.T, config Config) (s *Sender, stop func()) {
	t.Helper()
	config.URL, config.Secrets = "http://mis.example/hook", []string{secret}
	s, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	return s, func() {
		t.Helper()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		if held := s.held.Load(); held != 0 {
			t.Errorf("%d events are neither delivered nor given up", held)
		}
	}
}

func happened(call string, n int) event.Event {
	return event.Event{ID: fmt.Sprintf("%s-%03d", call, n), Type: event.MediaFlowing, Call: call, Time: time.Now()}
}

// pass lets time go by in the bubble.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestEventsOfACallArriveInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mis := &receiver{answer: func(n int, _ *http.Request) *http.Response {
			<-time.After(time.Duration(n%7) * 10 * time.Millisecond) // answers, but unevenly
			return status(http.StatusOK)
		}}
		s, stop := run(t, Config{Transport: mis})
		want := make(map[string][]string)
		for i := range 20 {
			for _, call := range []string{"a", "b", "c"} {
				e := happened(call, i)
				want[call] = append(want[call], e.ID)
				s.Emit(e)
			}
		}
		pass(10 * time.Second)
		stop()
		got := make(map[string][]string)
		for _, id := range mis.ids() {
			got[id[:1]] = append(got[id[:1]], id)
		}
		for call := range want {
			if !slices.Equal(got[call], want[call]) {
				t.Errorf("call %s arrived as %v", call, got[call])
			}
		}
	})
}

func TestAHangingReceiverDelaysTheNextEventByASecondAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		mis := &receiver{answer: func(_ int, r *http.Request) *http.Response {
			if r.Header.Get(HeaderID) == "a-000" && time.Now().Equal(begun) {
				<-r.Context().Done()
				return nil
			}
			return status(http.StatusOK)
		}}
		s, stop := run(t, Config{Transport: mis, Timeout: 30 * time.Second})
		s.Emit(happened("a", 0))
		s.Emit(happened("a", 1))
		s.Emit(happened("b", 0))
		pass(10 * time.Second)
		when := make(map[string]time.Duration)
		for _, r := range mis.all() {
			when[r.id] = r.at.Sub(begun)
		}
		if when["b-000"] != 0 {
			t.Errorf("another call waited %v", when["b-000"])
		}
		if at, ok := when["a-001"]; !ok || at != orderFor {
			t.Errorf("the next event of the call went after %v", at)
		}
		pass(time.Minute)
		stop()
		if got := mis.ids(); len(got) != 4 || got[3] != "a-000" {
			t.Errorf("arrived %v, want the first one again at the end", got)
		}
	})
}
