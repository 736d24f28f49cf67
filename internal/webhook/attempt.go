package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"consilium/internal/event"
)

const (
	maxPayload    = 20_000   // bytes; Standard Webhooks asks for less than 20 KB
	maxAnswer     = 64 << 10 // bytes read of an answer, so that the connection can be used again
	firstPause    = time.Second
	longestPause  = 10 * time.Minute
	maxRetryAfter = 24 * time.Hour
)

// delivery is one event on its way.
type delivery struct {
	event    event.Event
	body     []byte
	line     string    // the call whose order it keeps
	started  time.Time // first attempt; zero before
	attempts int
	due      time.Time // of the next attempt, when it is a retry
}

// outcome is how an attempt ended.
type outcome struct {
	delivery  *delivery
	delivered bool
	gone      bool
	// retryAfter is what the receiver asked for; 0 if nothing.
	retryAfter time.Duration
	reason     string // of a failure, for the log
}

// attempt makes one POST. It never returns before ctx or the timeout ends it
// or an answer is there.
func (s *Sender) attempt(ctx context.Context, d *delivery) outcome {
	ctx, cancel := context.WithTimeout(ctx, s.config.Timeout)
	defer cancel()
	result := outcome{delivery: d}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.config.URL, bytes.NewReader(d.body))
	if err != nil {
		result.reason = err.Error()
		return result
	}
	now := time.Now()
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "consilium-webhook/1")
	request.Header.Set(HeaderID, d.event.ID)
	request.Header.Set(HeaderTimestamp, timestamp(now))
	request.Header.Set(HeaderSignature, sign(s.keys, d.event.ID, now, d.body))
	response, err := s.client.Do(request)
	if err != nil {
		s.attempts.With("unreachable").Inc()
		result.reason = withoutURL(err).Error()
		return result
	}
	// Only the status counts; the body is read for the connection's sake.
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, maxAnswer))
	_ = response.Body.Close()
	if response.StatusCode >= 200 && response.StatusCode <= 299 {
		s.attempts.With("delivered").Inc()
		result.delivered = true
		return result
	}
	s.attempts.With("refused").Inc()
	result.gone = response.StatusCode == http.StatusGone
	result.retryAfter = parseRetryAfter(response.Header.Get("Retry-After"), now)
	result.reason = fmt.Sprintf("status %d", response.StatusCode)
	return result
}

// withoutURL unwraps what http.Client says: the URL may hold a secret, which
// must not reach the log.
func withoutURL(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}

// parseRetryAfter reads seconds or an HTTP date (RFC 9110, 10.2.3); 0 if there
// is none or it makes no sense.
func parseRetryAfter(value string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(value, 10, 32); err == nil {
		return min(time.Duration(seconds)*time.Second, maxRetryAfter)
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), maxRetryAfter)
}

// pause is how long to wait after the given number of failed attempts: 1 s,
// doubling to 10 min, each shortened by up to half at random, so that events
// that failed together do not come back together.
func pause(attempts int) time.Duration {
	full := firstPause
	for i := 1; i < attempts && full < longestPause; i++ {
		full *= 2
	}
	full = min(full, longestPause)
	return full/2 + rand.N(full/2)
}

// encode returns the payload. An event too large for a webhook goes without
// its data and evidence, but for its incident number, with a word about it: the
// feed has them.
func encode(e event.Event) ([]byte, error) {
	body, err := json.Marshal(e)
	if err == nil && len(body) < maxPayload {
		return body, nil
	}
	number := e.Incident()
	e.Data = map[string]any{"truncated": true}
	if number != "" {
		e.Data[event.IncidentKey] = number
	}
	e.Evidence = nil
	if body, err = json.Marshal(e); err != nil {
		return nil, err
	}
	if len(body) >= maxPayload {
		e.Metadata = nil
		body, err = json.Marshal(e)
	}
	return body, err
}
