package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"consilium/internal/event"
	"consilium/internal/leak"
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

func TestSignatureIsTheOneOfTheSpecification(t *testing.T) {
	// The example of the Standard Webhooks specification.
	key, err := parseSecret(secret)
	if err != nil {
		t.Fatal(err)
	}
	got := sign([][]byte{key}, "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("signature %s, want %s", got, want)
	}
}

func TestDeliveryIsASignedPOSTOfTheEvent(t *testing.T) {
	leak.Check(t)
	type request struct {
		header http.Header
		method string
		body   []byte
	}
	requests := make(chan request, 1)
	mis := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		requests <- request{r.Header, r.Method, body}
	}))
	defer mis.Close()
	s, err := New(Config{URL: mis.URL, Secrets: []string{secret, "the next secret, as plain text"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	s.Emit(event.Event{ID: "n", Type: event.NoteCandidate})
	s.Emit(event.Event{
		ID: "0001", Type: event.MediaTimeout, Time: time.Now(), Call: "c", ExternalID: "visit-7",
		Failure: event.Failure{Code: event.NoMediaOut, Stage: event.StageFirstRTP},
	})
	got := <-requests
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if got.method != http.MethodPost || got.header.Get("Content-Type") != "application/json" {
		t.Errorf("%s %s", got.method, got.header.Get("Content-Type"))
	}
	var e event.Event
	if err := json.Unmarshal(got.body, &e); err != nil {
		t.Fatal(err)
	}
	if e.ID != "0001" || e.Code != event.NoMediaOut || e.ExternalID != "visit-7" {
		t.Errorf("event = %+v", e)
	}
	if got.header.Get("Webhook-Id") != e.ID {
		t.Errorf("webhook-id = %q", got.header.Get("Webhook-Id"))
	}
	sent, err := strconv.ParseInt(got.header.Get("Webhook-Timestamp"), 10, 64)
	if err != nil || time.Since(time.Unix(sent, 0)).Abs() > time.Minute {
		t.Errorf("webhook-timestamp = %q", got.header.Get("Webhook-Timestamp"))
	}
	signatures := strings.Fields(got.header.Get("Webhook-Signature"))
	first, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		t.Fatal(err)
	}
	for i, key := range [][]byte{first, []byte("the next secret, as plain text")} {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(got.header.Get("Webhook-Id") + "." + got.header.Get("Webhook-Timestamp") + "." + string(got.body)))
		want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
		if len(signatures) != 2 || signatures[i] != want {
			t.Errorf("signatures = %v, want %s at %d", signatures, want, i)
		}
	}
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

func TestRetriesEnd(t *testing.T) {
	later := func(code int, after string) *http.Response {
		response := status(code)
		response.Header.Set("Retry-After", after)
		return response
	}
	tests := map[string]struct {
		answer      func(n int) *http.Response
		retryFor    time.Duration
		attempts    int // 0: more than one
		lastAtLeast time.Duration
		lastAtMost  time.Duration
		dropped     uint64
	}{
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
	for name, test := range tests {
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

func TestPayloadsStayBelow20KB(t *testing.T) {
	long := strings.Repeat("x", 30_000)
	tests := map[string]event.Event{
		"evidence": {ID: "1", Type: event.MediaTimeout, Failure: event.Failure{Code: event.NoRoute, Evidence: map[string]any{"sdp": long}}},
		"data":     {ID: "1", Type: event.MediaTimeout, Failure: event.Failure{Code: event.NoRoute}, Data: map[string]any{"sdp": long}},
		"metadata": {ID: "1", Type: event.MediaTimeout, Failure: event.Failure{Code: event.NoRoute}, Metadata: map[string]string{"k": long}},
	}
	for name, e := range tests {
		t.Run(name, func(t *testing.T) {
			body, err := encode(e)
			if err != nil {
				t.Fatal(err)
			}
			if len(body) >= maxPayload {
				t.Errorf("%d bytes", len(body))
			}
			var got event.Event
			if err := json.Unmarshal(body, &got); err != nil {
				t.Fatal(err)
			}
			if got.Code != event.NoRoute || got.Data["truncated"] != true {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestBadConfigurationIsRefused(t *testing.T) {
	tests := map[string]Config{
		"no url":          {Secrets: []string{secret}},
		"not http":        {URL: "ftp://mis.example/", Secrets: []string{secret}},
		"no host":         {URL: "http:///hook", Secrets: []string{secret}},
		"no secret":       {URL: "http://mis.example/"},
		"empty secret":    {URL: "http://mis.example/", Secrets: []string{""}},
		"not base64":      {URL: "http://mis.example/", Secrets: []string{"whsec_%%%"}},
		"nothing encoded": {URL: "http://mis.example/", Secrets: []string{"whsec_"}},
	}
	for name, config := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := New(config); err == nil {
				t.Error("New takes it")
			}
		})
	}
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
