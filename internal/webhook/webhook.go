package webhook

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"consilium/internal/event"
	"consilium/internal/metrics"
)

// Defaults of Config.
const (
	defaultTimeout  = 5 * time.Second
	defaultRetryFor = time.Hour
	defaultQueue    = 4096
)

// Config of a sender: one receiver.
type Config struct {
	// URL that gets the POST, http or https.
	URL string
	// Secrets sign: usually one; two while a receiver changes its secret.
	// "whsec_" and base64 as Standard Webhooks has it, or any other text.
	Secrets []string
	// Timeout of one attempt, 5 s unless set.
	Timeout time.Duration
	// RetryFor is how long after its first attempt an event is tried again,
	// 1 h unless set.
	RetryFor time.Duration
	// Queue is how many events may be waiting, being sent or retried; 4096
	// unless set. Three quarters of it may be retries, so that new events get
	// their first attempt even after a long outage.
	Queue int
	// Transport makes the requests; http.DefaultTransport's settings unless
	// set.
	Transport http.RoundTripper
	// Metrics and Log may be nil.
	Metrics *metrics.Registry
	Log     *slog.Logger
}

// Reasons for which an event is not delivered.
const (
	droppedFull     = "queue_full"
	droppedExpired  = "retries_expired"
	droppedGone     = "receiver_gone"
	droppedShutdown = "shutdown"
	droppedInvalid  = "invalid"
)

// Sender sends events to one receiver. It is an event.Sink for events that
// have an id; put it behind the journal, which gives it.
type Sender struct {
	config Config
	keys   [][]byte
	client *http.Client
	log    *slog.Logger

	incoming chan event.Event
	held     atomic.Int64 // events taken and not yet delivered or given up
	gone     atomic.Bool  // the receiver answered 410

	attempts *metrics.CounterVec
	dropped  *metrics.CounterVec
	latency  *metrics.Histogram
}

// New checks the configuration. It opens nothing.
func New(config Config) (*Sender, error) {
	target, err := url.Parse(config.URL)
	if err != nil {
		return nil, fmt.Errorf("webhook url: %w", err)
	}
	if (target.Scheme != "http" && target.Scheme != "https") || target.Host == "" {
		return nil, errors.New("webhook url: must be http://... or https://...")
	}
	if len(config.Secrets) == 0 {
		return nil, errors.New("webhook secret: missing; what is not signed can't be trusted")
	}
	s := &Sender{config: config.withDefaults()}
	for _, secret := range config.Secrets {
		key, err := parseSecret(secret)
		if err != nil {
			return nil, fmt.Errorf("webhook %w", err)
		}
		s.keys = append(s.keys, key)
	}
	s.log = s.config.Log
	s.incoming = make(chan event.Event, s.config.Queue)
	s.client = &http.Client{
		Transport: s.config.Transport,
		// A redirect would take the event somewhere nobody configured.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	s.register(s.config.Metrics)
	return s, nil
}

func (c Config) withDefaults() Config {
	if c.Timeout <= 0 {
		c.Timeout = defaultTimeout
	}
	if c.RetryFor <= 0 {
		c.RetryFor = defaultRetryFor
	}
	if c.Queue <= 0 {
		c.Queue = defaultQueue
	}
	if c.Transport == nil {
		c.Transport = newTransport()
	}
	if c.Metrics == nil {
		c.Metrics = metrics.New()
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// newTransport keeps as many idle connections as there may be attempts.
func newTransport() http.RoundTripper {
	standard, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return &http.Transport{MaxIdleConnsPerHost: maxAttempts}
	}
	transport := standard.Clone()
	transport.MaxIdleConnsPerHost = maxAttempts
	return transport
}

func (s *Sender) register(r *metrics.Registry) {
	s.attempts = r.CounterVec("consilium_webhook_attempts_total",
		"Attempts to deliver an event to the webhook receiver, by outcome.",
		metrics.Label{Name: "outcome", Values: []string{"delivered", "refused", "unreachable"}})
	s.dropped = r.CounterVec("consilium_webhook_dropped_total",
		"Events that were never delivered to the webhook receiver, by reason.",
		metrics.Label{Name: "reason", Values: []string{
			droppedFull, droppedExpired, droppedGone, droppedShutdown, droppedInvalid,
		}})
	s.latency = r.Histogram("consilium_webhook_delivery_seconds",
		"Time from an event to its delivery at the webhook receiver.",
		0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600)
	r.GaugeFunc("consilium_webhook_pending", "Events waiting for delivery to the webhook receiver.",
		func() float64 { return float64(s.held.Load()) })
}

// Emit takes an event of the contract and ignores notes. It never blocks: when
// Queue events are held already, the event is dropped and counted.
func (s *Sender) Emit(e event.Event) {
	if !e.Type.Public() {
		return
	}
	if s.gone.Load() {
		s.dropped.With(droppedGone).Inc()
		return
	}
	if s.held.Add(1) > int64(s.config.Queue) {
		s.release(droppedFull)
		return
	}
	// held bounds what is in the channel, so there is room.
	select {
	case s.incoming <- e:
	default:
		s.release(droppedFull)
	}
}

// release gives a place in the queue back; reason is "" for a delivered event.
func (s *Sender) release(reason string) {
	s.held.Add(-1)
	if reason != "" {
		s.dropped.With(reason).Inc()
	}
}

// Dropped returns how many events were never delivered.
func (s *Sender) Dropped() uint64 {
	var n uint64
	for _, reason := range []string{droppedFull, droppedExpired, droppedGone, droppedShutdown, droppedInvalid} {
		n += s.dropped.With(reason).Value()
	}
	return n
}
