// Package problem writes errors of the HTTP interfaces as problem details
// (RFC 9457): one writer for the REST API, WHIP and WHEP, so that a client
// learns one shape and one list of codes.
//
// The package is a leaf: it imports nothing of ours.
package problem

import (
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"time"
)

// ContentType is the media type of problem details (RFC 9457, section 6.1).
const ContentType = "application/problem+json"

// Codes of the HTTP interfaces. They are stable: a client may switch on them.
// Failure codes of package event (SERVER_BUSY, TOKEN_EXPIRED, ...) are used
// beside them where one says more.
const (
	BadJSON          = "bad_json"              // 400: the body is not the JSON asked for
	BadRequest       = "bad_request"           // 400: a path, query or header can't be read
	NotSDP           = "not_sdp"               // 400: the body is not SDP
	Unauthorized     = "unauthorized"          // 401: no credentials
	Forbidden        = "forbidden"             // 403: good credentials that don't allow this
	NotFound         = "not_found"             // 404
	MethodNotAllowed = "method_not_allowed"    // 405: Allow lists what is
	Conflict         = "conflict"              // 409: not possible in this state
	InProgress       = "in_progress"           // 409: the first request with this Idempotency-Key still runs
	Sealed           = "sealed"                // 409: the server has no key for this file
	Erased           = "erased"                // 410: a recording of which a tombstone is left
	TooLarge         = "too_large"             // 413
	UnsupportedMedia = "unsupported_media"     // 415
	Unusable         = "unusable"              // 422: well-formed, but not to be used
	KeyReused        = "idempotency_reused"    // 422: the same Idempotency-Key with another body
	RateLimited      = "rate_limited"          // 429
	Internal         = "internal"              // 500
	Damaged          = "damaged"               // 500: a sealed file is not what was sealed
	NotImplemented   = "not_implemented"       // 501
	Unavailable      = "unavailable"           // 503
	PreconditionFail = "precondition_failed"   // 412: If-Match does not name the current session
	PreconditionNeed = "precondition_required" // 428: If-Match is missing
)

// defaultRetryAfter is what 429 and 503 say when the caller knows no better.
const defaultRetryAfter = 5 * time.Second

// Problem is an error with an HTTP status. It is an error value, so that
// handlers can return it through ordinary code.
type Problem struct {
	Status int    // HTTP status, 400 to 599
	Code   string // stable, for programs
	Detail string // for people, in English; never holds a secret
	// RetryAfter is sent in whole seconds, rounded up. 429 and 503 always
	// carry one: 5 s unless set.
	RetryAfter time.Duration
	// Allow lists the allowed methods of a 405.
	Allow string
}

// New returns a Problem.
func New(status int, code, detail string) *Problem {
	return &Problem{Status: status, Code: code, Detail: detail}
}

// Error implements error.
func (p *Problem) Error() string { return p.Code + ": " + p.Detail }

// body is the JSON of RFC 9457 with our code as extension member. The type is
// always about:blank, so title is the status phrase (section 4.2.1).
type body struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
	Code   string `json:"code"`
}

// Write sends the problem as the whole answer. Headers already set on w stay,
// except those that describe a body.
func (p *Problem) Write(w http.ResponseWriter) {
	h := w.Header()
	for _, name := range []string{"Content-Length", "Content-Encoding", "Etag", "Last-Modified", "Accept-Ranges"} {
		h.Del(name)
	}
	h.Set("Content-Type", ContentType)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if p.Status == http.StatusUnauthorized && h.Get("WWW-Authenticate") == "" {
		h.Set("WWW-Authenticate", `Bearer realm="consilium"`)
	}
	if p.Allow != "" {
		h.Set("Allow", p.Allow)
	}
	if after := p.retryAfter(); after > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(after.Seconds()))))
	}
	w.WriteHeader(p.Status)
	// The status is out: a client that has gone can't be told any more.
	_ = json.NewEncoder(w).Encode(body{
		Type: "about:blank", Title: http.StatusText(p.Status), Status: p.Status, Detail: p.Detail, Code: p.Code,
	})
}

func (p *Problem) retryAfter() time.Duration {
	busy := p.Status == http.StatusTooManyRequests || p.Status == http.StatusServiceUnavailable
	if p.RetryAfter <= 0 && busy {
		return defaultRetryAfter
	}
	return p.RetryAfter
}

// Option changes a problem before Write sends it.
type Option func(*Problem)

// RetryAfter says when to try again.
func RetryAfter(d time.Duration) Option { return func(p *Problem) { p.RetryAfter = d } }

// Allow lists the methods that are allowed, comma-separated.
func Allow(methods string) Option { return func(p *Problem) { p.Allow = methods } }

// Write sends a problem as the whole answer.
func Write(w http.ResponseWriter, status int, code, detail string, opts ...Option) {
	p := New(status, code, detail)
	for _, opt := range opts {
		opt(p)
	}
	p.Write(w)
}
