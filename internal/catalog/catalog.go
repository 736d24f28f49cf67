// Package catalog keeps the list of recordings in SQLite, to be searched by
// time, room, external id, participant and state. It is an index and nothing
// more: manifests are the truth, and it is made again from them whenever it is
// missing or older than they are.
//
//	recorder ─► Changed ─► set of ids ─► Run ─► reads the manifest ─► SQLite ─► List
//
// Changed never waits. What a full set, a crash or a command of another process
// keeps from it is found by comparing the stamps of all manifests: at the
// start, before the first List answers, and every few minutes.
//
// The package is a leaf: it imports nothing of ours but leaves.
package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"consilium/internal/database"
	"consilium/internal/metrics"
)

// Recording is what the catalog tells of a recording.
type Recording struct {
	ID           string        `json:"id"`
	Room         string        `json:"room"`
	ExternalID   string        `json:"external_id,omitempty"`
	State        string        `json:"state"`
	Started      time.Time     `json:"started"`
	Ended        *time.Time    `json:"ended,omitempty"`
	Participants []Participant `json:"participants"`
	Files        int           `json:"files"`
	Bytes        int64         `json:"bytes"`
	// Problem says why the manifest can't be read; the other fields are then
	// empty, but for ID.
	Problem string `json:"problem,omitempty"`
}

// Participant took part in the call.
type Participant struct {
	Identity string `json:"identity"`
	Role     string `json:"role,omitempty"`
}

// Stamp changes whenever a manifest does.
type Stamp struct {
	Modified int64 // nanoseconds since 1970
	Bytes    int64
}

// Source is where manifests are. It is used by Run only.
type Source interface {
	// Stamps returns the stamp of every recording there is, by id.
	Stamps() (map[string]Stamp, error)
	// Read returns one recording and the stamp its manifest had before it was
	// read. The error wraps fs.ErrNotExist if there is none. A manifest that
	// can't be understood is a Recording with a Problem.
	Read(id string) (Recording, Stamp, error)
}

// Bounds.
const (
	maxChanged   = 1024 // recordings that changed and are not written yet
	writeAtOnce  = 64   // recordings a transaction, so that others get the lock
	compareEvery = 5 * time.Minute
	retryAfter   = 2 * time.Second
)

// Config of a Catalog. Path and Source are required.
type Config struct {
	// Path of the database file, which others may use, too.
	Path    string
	Source  Source
	Metrics *metrics.Registry // may be nil
	Log     *slog.Logger      // may be nil
}

// Catalog is the index. Its methods are safe for concurrent use.
type Catalog struct {
	config        Config
	log           *slog.Logger
	failures      *metrics.Counter
	writes, reads *sql.DB
	wake          chan struct{} // tells Run that something changed
	compared      chan struct{} // closed when the first comparison is done

	mu      sync.Mutex
	changed map[string]struct{}
	missed  bool // a change did not fit: compare everything
}

// New opens the database; this takes milliseconds.
func New(config Config) (*Catalog, error) {
	if config.Metrics == nil {
		config.Metrics = metrics.New()
	}
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	c := &Catalog{
		config: config, log: config.Log, wake: make(chan struct{}, 1), compared: make(chan struct{}),
		changed: make(map[string]struct{}),
		failures: config.Metrics.Counter("consilium_catalog_failures_total",
			"Updates of the index of recordings that failed and were tried again."),
	}
	var err error
	if c.writes, err = database.OpenWriter(config.Path); err == nil {
		err = database.Migrate(c.writes, "catalog", migrations())
	}
	if err == nil {
		c.reads, err = database.OpenReader(config.Path)
	}
	if err != nil {
		return nil, fmt.Errorf("open index of recordings %s: %w", config.Path, errors.Join(err, c.close()))
	}
	return c, nil
}

func (c *Catalog) close() error {
	var errs []error
	for _, db := range []*sql.DB{c.reads, c.writes} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	return errors.Join(errs...)
}

// Changed says that a manifest was written or removed. It never waits.
func (c *Catalog) Changed(id string) {
	c.mu.Lock()
	if len(c.changed) < maxChanged {
		c.changed[id] = struct{}{}
	} else {
		c.missed = true
	}
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default: // it has been told already
	}
}

// Run keeps the index until ctx ends, writes what has changed by then and
// closes the database.
func (c *Catalog) Run(ctx context.Context) error {
	c.compare(ctx, true)
	tick := time.NewTicker(compareEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-c.wake:
			c.update(ctx)
		case <-tick.C:
			c.compare(ctx, false)
		}
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), retryAfter)
	defer cancel()
	_ = c.updateOnce(last) // what it can't do the next start does
	if err := c.close(); err != nil {
		return fmt.Errorf("close index of recordings: %w", err)
	}
	return nil
}

// compare brings the index to what the manifests say, trying until it can.
// While first, the index is not ready before.
func (c *Catalog) compare(ctx context.Context, first bool) {
	begun := time.Now()
	n := 0
	c.retry(ctx, func() (err error) {
		n, err = c.rebuild(ctx)
		return err
	})
	if first && ctx.Err() == nil {
		if n > 0 {
			c.log.Info("index of recordings is up to date", "read", n, "took", time.Since(begun).Round(time.Millisecond))
		}
		close(c.compared)
	}
}

// update writes what has changed.
func (c *Catalog) update(ctx context.Context) {
	c.retry(ctx, func() error { return c.updateOnce(ctx) })
}

// retry calls do until it succeeds or ctx ends.
func (c *Catalog) retry(ctx context.Context, do func() error) {
	for ctx.Err() == nil {
		err := do()
		if err == nil || ctx.Err() != nil {
			return
		}
		c.failures.Inc()
		c.log.Error("index of recordings is not written; will try again", "error", err, "pause", retryAfter)
		select {
		case <-ctx.Done():
		case <-time.After(retryAfter):
		}
	}
}

// updateOnce writes what has changed, or puts it back.
func (c *Catalog) updateOnce(ctx context.Context) error {
	c.mu.Lock()
	changed, missed := c.changed, c.missed
	c.changed, c.missed = make(map[string]struct{}), false
	c.mu.Unlock()
	ids := make([]string, 0, len(changed))
	for id := range changed {
		ids = append(ids, id)
	}
	err := c.read(ctx, ids)
	if err == nil && missed {
		_, err = c.rebuild(ctx)
	}
	if err != nil {
		c.mu.Lock()
		c.missed = true // everything is looked at again: nothing needs to be remembered
		c.mu.Unlock()
	}
	return err
}

// Rebuild reads every manifest that is newer than its row, drops the rows of
// recordings that are gone, and returns how many it read. A command may call it
// beside a running server.
func (c *Catalog) rebuild(ctx context.Context) (int, error) {
	stamps, err := c.config.Source.Stamps()
	if err != nil {
		return 0, fmt.Errorf("look for manifests: %w", err)
	}
	known, err := c.stamps(ctx)
	if err != nil {
		return 0, err
	}
	var ids []string
	for id, stamp := range stamps {
		if old, ok := known[id]; !ok || old != stamp {
			ids = append(ids, id)
		}
	}
	for id := range known {
		if _, ok := stamps[id]; !ok {
			ids = append(ids, id)
		}
	}
	return len(ids), c.read(ctx, ids)
}

// read reads recordings and writes their rows, some at a time.
func (c *Catalog) read(ctx context.Context, ids []string) error {
	for len(ids) > 0 && ctx.Err() == nil {
		some := ids[:min(len(ids), writeAtOnce)]
		ids = ids[len(some):]
		rows := make([]row, 0, len(some))
		for _, id := range some {
			recording, stamp, err := c.config.Source.Read(id)
			switch {
			case errors.Is(err, fs.ErrNotExist):
				rows = append(rows, row{id: id, gone: true})
			case err != nil:
				return fmt.Errorf("read manifest of %s: %w", id, err)
			default:
				rows = append(rows, row{id: id, recording: recording, stamp: stamp})
			}
		}
		if err := c.write(ctx, rows); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// Reindex makes the index at path again from nothing and returns how many
// recordings it has. It may be used beside a running server.
func Reindex(ctx context.Context, path string, source Source) (int, error) {
	c, err := New(Config{Path: path, Source: source})
	if err != nil {
		return 0, err
	}
	err = c.empty(ctx)
	n := 0
	if err == nil {
		n, err = c.rebuild(ctx)
	}
	return n, errors.Join(err, c.close())
}
