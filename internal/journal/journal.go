package journal

import (
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"consilium/internal/event"
	"consilium/internal/metrics"
)

// defaultPending is how many entries may wait for the database. At the rate of
// a busy server, some 100 a second, that is more than a minute.
const defaultPending = 8192

// Config of a journal.
type Config struct {
	// Path of the database file. It and its directory are made if missing,
	// for the owner only.
	Path string
	// Keep is how long entries and ended calls are kept; 0 keeps them for ever.
	Keep time.Duration
	// Pending is how many entries may wait for the database, 8192 unless set.
	// Of the last quarter only events are taken, no notes.
	Pending int
	// Sinks get every entry, in order, with its id, from within Emit: they
	// must not block and must not emit.
	Sinks []event.Sink
	// Metrics may be nil.
	Metrics *metrics.Registry
	// Log may be nil.
	Log *slog.Logger
}

// Journal keeps events. All methods are safe for concurrent use.
type Journal struct {
	config Config
	log    *slog.Logger
	count  counters

	writes *sql.DB // one connection, used by Run only
	reads  *sql.DB
	wake   chan struct{} // tells the writer that something is pending
	orphan []event.Event // call.ended of calls a crash cut off; emitted by Run

	mu          sync.Mutex
	last        uint64 // the last id given
	incidents   incidents
	pending     []event.Event
	recent      recent
	subscribers map[*subscriber]struct{}
	closed      bool
}

// Reasons for which an entry does not reach the database.
const (
	droppedFull     = "queue_full"
	droppedShutdown = "shutdown"
)

// counters of the journal.
type counters struct {
	dropped  *metrics.CounterVec
	overflow *metrics.Counter
	failed   *metrics.Counter
}

// New opens the database, brings its schema up to date and finds the last id.
// This takes milliseconds, or up to 5 s if another process holds the file.
// Entries emitted before Run is called wait in memory.
func New(config Config) (*Journal, error) {
	if config.Pending <= 0 {
		config.Pending = defaultPending
	}
	if config.Metrics == nil {
		config.Metrics = metrics.New()
	}
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	j := &Journal{
		config: config, log: config.Log, wake: make(chan struct{}, 1),
		subscribers: make(map[*subscriber]struct{}),
	}
	j.register(config.Metrics)
	if err := j.open(); err != nil {
		return nil, fmt.Errorf("open journal %s: %w", config.Path, errors.Join(err, j.close()))
	}
	j.recent.floor = formatID(j.last)
	return j, nil
}

func (j *Journal) register(r *metrics.Registry) {
	j.count = counters{
		dropped: r.CounterVec("consilium_journal_dropped_total",
			"Entries of the journal that never reached the database, by reason.",
			metrics.Label{Name: "reason", Values: []string{droppedFull, droppedShutdown}}),
		overflow: r.Counter("consilium_journal_subscriber_overflows_total",
			"Subscribers of the journal that were cut off because they did not keep up."),
		failed: r.Counter("consilium_journal_write_failures_total",
			"Writes to the journal's database that failed and were tried again."),
	}
	r.GaugeFunc("consilium_journal_pending", "Entries of the journal waiting for the database.",
		func() float64 { return float64(j.Pending()) })
}

// Emit takes an entry: it sets its id, its time if that is zero and a failure's
// incident number (see Number), and hands it to sinks and subscribers before it
// returns. What happens in the room of a
// precheck is dropped. It implements event.Sink.
func (j *Journal) Emit(e event.Event) {
	if event.InPrecheck(e.Room) {
		return
	}
	now := time.Now()
	if e.Time.IsZero() {
		e.Time = now
	}
	// The journal keeps microseconds; what is delivered must be the same.
	e.Time = e.Time.UTC().Truncate(time.Microsecond)

	j.mu.Lock()
	defer j.mu.Unlock()
	e = j.incidents.number(e, now)
	e.ID = j.nextID(now)
	if e.Type.Public() {
		j.recent.add(e, now)
	}
	for _, sink := range j.config.Sinks {
		sink.Emit(e)
	}
	for s := range j.subscribers {
		j.deliver(s, e)
	}
	j.keep(e)
}

// nextID returns an id above all earlier ones. It is the time in microseconds
// where that rises, else one more than the last: so ids go on rising after a
// restart even if the last entries never reached the database.
func (j *Journal) nextID(now time.Time) string {
	j.last = max(j.last+1, uint64(max(now.UnixMicro(), 0)))
	return formatID(j.last)
}

func formatID(n uint64) string { return fmt.Sprintf("%016x", n) }

func parseID(id string) (uint64, error) { return strconv.ParseUint(id, 16, 64) }

// keep queues an entry for the database.
func (j *Journal) keep(e event.Event) {
	room := j.config.Pending - len(j.pending)
	switch {
	case j.closed:
		j.count.dropped.With(droppedShutdown).Inc()
		return
	case room <= 0, !e.Type.Public() && room <= j.config.Pending/4:
		j.count.dropped.With(droppedFull).Inc()
		return
	}
	j.pending = append(j.pending, e)
	select {
	case j.wake <- struct{}{}:
	default: // the writer has been told already
	}
}

// Pending returns how many entries wait for the database.
func (j *Journal) Pending() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.pending)
}

// Dropped returns how many entries never reached the database.
func (j *Journal) Dropped() uint64 {
	return j.count.dropped.With(droppedFull).Value() + j.count.dropped.With(droppedShutdown).Value()
}

// subscriber is one channel of Subscribe.
type subscriber struct {
	entries chan event.Event
}

// Subscribe returns a channel of all entries from now on, in order, notes
// included. A subscriber that lets buffer entries pile up is cut off: its
// channel is closed after what is in it. It then subscribes again and catches
// up by Events or Timeline, by the last id it saw. cancel ends the
// subscription and closes the channel; it may be called more than once.
func (j *Journal) Subscribe(buffer int) (entries <-chan event.Event, cancel func()) {
	s := &subscriber{entries: make(chan event.Event, max(buffer, 1))}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.subscribers[s] = struct{}{}
	return s.entries, func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.drop(s)
	}
}

func (j *Journal) deliver(s *subscriber, e event.Event) {
	select {
	case s.entries <- e:
	default:
		j.count.overflow.Inc()
		j.drop(s)
	}
}

func (j *Journal) drop(s *subscriber) {
	if _, ok := j.subscribers[s]; ok {
		delete(j.subscribers, s)
		close(s.entries)
	}
}

// unwritten returns copies of the pending entries that match, in order.
func (j *Journal) unwritten(match func(event.Event) bool) []event.Event {
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []event.Event
	for _, e := range j.pending {
		if match(e) {
			out = append(out, e)
		}
	}
	return out
}
