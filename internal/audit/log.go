package audit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"consilium/internal/event"
	"consilium/internal/metrics"
)

// Bounds of a Log.
const (
	maxBacklog  = 4096 // entries that wait because the disk failed
	maxViewings = 4096 // pairs of viewer and file at the same time
	maxRefusals = 1024 // different refusals at the same time

	sweepEvery   = 5 * time.Second
	viewingIdle  = 30 * time.Second // after which what was read is written
	viewingEvery = 5 * time.Minute  // and how often while it is being read
	appendFor    = 5 * time.Second  // somebody waits for a row, then he is refused
	finishFor    = 3 * time.Second  // for the last rows, at the end
)

// Config of a Log. Path is required.
type Config struct {
	Path    string
	Metrics *metrics.Registry // may be nil
	Log     *slog.Logger      // may be nil
}

// Log is the audit log of a running server. Its methods are safe for concurrent
// use. Append, View and Entries need Run.
type Log struct {
	store    *Store
	log      *slog.Logger
	dropped  *metrics.Counter
	failures *metrics.Counter

	requests chan request  // unbuffered: who sends, waits
	wake     chan struct{} // tells Run that the backlog has something
	closed   chan struct{} // Run has ended

	mu       sync.Mutex
	backlog  []Entry
	viewings map[viewKey]*viewing
	refusals map[viewKey]*refusal
	broken   bool // the last write failed
}

// request is entries that somebody waits for.
type request struct {
	entries []Entry
	done    chan<- error // has room for one
}

// errClosed says that the log does not run.
var errClosed = errors.New("the audit log is closed")

// New opens the file; this takes milliseconds.
func New(config Config) (*Log, error) {
	store, err := Open(config.Path)
	if err != nil {
		return nil, err
	}
	if config.Metrics == nil {
		config.Metrics = metrics.New()
	}
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	return &Log{
		store: store, log: config.Log,
		dropped: config.Metrics.Counter("consilium_audit_dropped_total",
			"Entries of the audit log about the recorder, or about refused access, that were never written."),
		failures: config.Metrics.Counter("consilium_audit_write_failures_total",
			"Writes to the audit log that failed; playback is refused until one succeeds."),
		requests: make(chan request), wake: make(chan struct{}, 1), closed: make(chan struct{}),
		viewings: make(map[viewKey]*viewing), refusals: make(map[viewKey]*refusal),
	}, nil
}

// Run writes until ctx ends, then writes what is left (for 3 s at most) and
// closes the file.
func (l *Log) Run(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	// A row that is being written is not cut off: neither when its reader goes
	// away, who may have been given what he asked for, nor by a stop, which would
	// look like a broken disk.
	whole := context.WithoutCancel(ctx)
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case r := <-l.requests:
			r.done <- l.write(whole, r.entries)
		case <-l.wake:
			_ = l.write(whole, nil) // it is in the log, and tried again
		case now := <-tick.C:
			l.sweep(now, false)
			_ = l.write(whole, nil)
		}
	}
	close(l.closed)
	last, cancel := context.WithTimeout(whole, finishFor)
	defer cancel()
	l.sweep(time.Now(), true)
	err := l.write(last, nil)
	if err := errors.Join(err, l.store.Close()); err != nil {
		return fmt.Errorf("close audit log: %w", err)
	}
	return nil
}

// write writes the backlog and then entries, in one transaction. When it fails
// the backlog stays.
func (l *Log) write(ctx context.Context, entries []Entry) error {
	l.mu.Lock()
	waiting := len(l.backlog)
	all := append(l.backlog[:waiting:waiting], entries...)
	l.mu.Unlock()
	if len(all) == 0 {
		return nil
	}
	err := l.store.Append(ctx, all...)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		l.backlog = append([]Entry(nil), l.backlog[waiting:]...)
		l.broken = false
		return nil
	}
	l.failures.Inc()
	if !l.broken {
		l.log.Error("the audit log can't be written: playback is refused until it can", "error", err)
	}
	l.broken = true
	return err
}

// Append writes entries and returns when they are on disk, or fails after 5 s.
// On an error nothing may be done of what they tell.
func (l *Log) Append(ctx context.Context, entries ...Entry) error {
	ctx, cancel := context.WithTimeout(ctx, appendFor)
	defer cancel()
	done := make(chan error, 1)
	select {
	case l.requests <- request{entries, done}:
	case <-l.closed:
		return errClosed
	case <-ctx.Done():
		return fmt.Errorf("append to audit log: %w", ctx.Err())
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("append to audit log: %w", ctx.Err())
	}
}

// Entries is Store.Entries.
func (l *Log) Entries(ctx context.Context, f Filter) ([]Entry, error) { return l.store.Entries(ctx, f) }

// Emit takes what the recorder reports. It never waits: a full backlog is
// counted and logged. It implements event.Sink.
func (l *Log) Emit(e event.Event) {
	if !strings.HasPrefix(string(e.Type), "recording.") {
		return
	}
	entry := Entry{
		Time: e.Time, Action: Action(e.Type), Actor: "consilium", Role: RoleServer, Recording: e.Call, Data: map[string]any{},
	}
	for _, key := range []string{"reason", "state", "file", "by", "incident"} {
		if value, ok := e.Data[key]; ok {
			entry.Data[key] = value
		}
	}
	if by, ok := e.Data["by"].(string); ok && by != "" {
		entry.Actor, entry.Role = by, ""
		delete(entry.Data, "by")
	}
	if e.Code != "" {
		entry.Outcome, entry.Data["code"] = Failed, string(e.Code)
	}
	l.put(entry)
}

// put adds an entry to the backlog.
func (l *Log) put(e Entry) {
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.backlog) >= maxBacklog {
		l.dropped.Inc()
		l.log.Error("an entry of the audit log is lost", "action", e.Action, "recording", e.Recording)
		return
	}
	l.backlog = append(l.backlog, e)
	select {
	case l.wake <- struct{}{}:
	default: // it has been told already
	}
}
