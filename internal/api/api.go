package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"golang.org/x/time/rate"

	"consilium/internal/auth"
	"consilium/internal/event"
	"consilium/internal/journal"
	"consilium/internal/media"
	"consilium/internal/metrics"
	"consilium/sfu"
)

// Calls is what the API does with living calls; *sfu.Server is one.
type Calls interface {
	OpenCall(ctx context.Context, spec sfu.CallSpec) (sfu.CallInfo, error)
	Calls() []sfu.CallInfo
	Call(id string) (sfu.CallInfo, bool)
	EndCall(ctx context.Context, id, by string) error
	Remove(ctx context.Context, id, identity, by string) error
	Mute(ctx context.Context, id, identity string, source media.Source, by string) error
	Admit(ctx context.Context, id, identity, by string) error
}

// Authority knows who asks and makes join tokens; *auth.Authority is one. Its
// errors are *auth.Error, except those of Mint.
type Authority interface {
	APICredentials(r *http.Request) (auth.Claims, error)
	Verify(token string) (auth.Claims, error)
	VerifyIdentity(token string) (auth.Claims, error)
	Mint(c auth.Claims, ttl time.Duration) (string, error)
}

// Journal answers for what has happened; *journal.Journal is one.
type Journal interface {
	event.Sink
	Events(ctx context.Context, after string, limit int) (events []event.Event, next string, err error)
	Timeline(ctx context.Context, call string) ([]event.Event, error)
	Incident(ctx context.Context, number string) ([]event.Event, error)
	Number(e event.Event) event.Event
	Call(ctx context.Context, id string) (journal.Call, error)
	Calls(ctx context.Context, filter journal.Filter) ([]journal.Call, error)
}

// TURN makes ephemeral TURN credentials.
type TURN interface {
	// Credentials returns credentials for a username, 1 to 64 of
	// [A-Za-z0-9._~-].
	Credentials(username string) (TURNCredentials, error)
}

// TURNCredentials are what GET /v1/turn answers
// (draft-uberti-behave-turn-rest).
type TURNCredentials struct {
	Username string   `json:"username"`
	Password string   `json:"password"`
	TTL      int      `json:"ttl"` // seconds
	URIs     []string `json:"uris"`
}

// Config of the API.
type Config struct {
	Calls   Calls
	Auth    Authority
	Journal Journal
	// Recordings may be nil: nothing is recorded, none is found.
	Recordings Recordings
	// Audit may be nil only where there is nothing to see: without it nobody
	// knows who saw what.
	Audit AuditLog
	// Exports may be nil: nothing is exported.
	Exports Exports
	// Retention may be nil: nothing is held or erased.
	Retention Retention
	// PatientPlayback lets patients and companions see the recordings of calls
	// they took part in.
	PatientPlayback bool
	// TURN may be nil: there is no TURN server.
	TURN TURN
	// Tunnel says that media may go through the WebSocket.
	Tunnel bool
	// Untrusted tells how a client has refused the server's certificate a moment
	// ago; false if it has not. May be nil.
	Untrusted func(client netip.Addr) (evidence map[string]any, refused bool)
	// Ready tells why the server takes no calls just now. May be nil.
	Ready func() error
	// PublicURL is scheme://host[:port] as users see the server; if empty,
	// links are made from the request.
	PublicURL string
	// Metrics may be nil.
	Metrics *metrics.Registry
	// Log may be nil.
	Log *slog.Logger
}

// API is the handler of all its routes. It is safe for concurrent use and has
// no goroutines of its own.
type API struct {
	config   Config
	log      *slog.Logger
	mux      *http.ServeMux
	answers  *answerStore
	playback *playbackKey
	// verifying holds a token while a recording is verified: one at a time.
	verifying chan struct{}
	diag      *rate.Limiter
	precheck  *rate.Limiter

	requests *metrics.CounterVec
	duration *metrics.Histogram
}

// Client logs are taken from anybody with a join token, so their rate is
// bounded for all together: entries a second, and at once.
const (
	diagRate  = 50
	diagBurst = 500
)

// New returns the API.
func New(config Config) (*API, error) {
	if config.Calls == nil || config.Auth == nil || config.Journal == nil {
		return nil, errors.New("api: Calls, Auth and Journal are required")
	}
	if config.Metrics == nil {
		config.Metrics = metrics.New()
	}
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	a := &API{
		config: config, log: config.Log, mux: http.NewServeMux(),
		answers: newAnswerStore(), playback: newPlaybackKey(), verifying: make(chan struct{}, 1),
		diag: rate.NewLimiter(diagRate, diagBurst), precheck: rate.NewLimiter(precheckRate, precheckBurst),
	}
	a.register(config.Metrics)
	a.mount()
	return a, nil
}

func (a *API) register(r *metrics.Registry) {
	a.requests = r.CounterVec("consilium_api_requests_total",
		"Requests to the HTTP API, by route and class of status.",
		metrics.Label{Name: "route", Values: Paths()},
		metrics.Label{Name: "class", Values: []string{"1xx", "2xx", "3xx", "4xx", "5xx"}})
	a.duration = r.Histogram("consilium_api_request_seconds", "Time to answer a request to the HTTP API.",
		0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
}

// ServeHTTP answers the paths of Prefixes.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.mux.ServeHTTP(w, r) }
