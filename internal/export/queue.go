package export

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"sync"
	"time"

	"consilium/internal/metrics"
)

// Maker makes files.
type Maker interface {
	// Check says whether the request can be met at all. If not, the error is or
	// wraps one of this package, or fs.ErrNotExist.
	Check(ctx context.Context, recording string, r Request) error
	// Make makes the files of a job. It returns soon after ctx ended.
	Make(ctx context.Context, recording string, r Request, progress func(float64)) ([]File, error)
	// Remove removes a file that Make made. One that is not there is no error.
	Remove(recording, name string) error
}

// Config of a Queue. Dir and Maker are required.
type Config struct {
	Dir   string // the server's data directory
	Maker Maker
	// Waiting is how many jobs may wait; 0 means 16.
	Waiting int
	// Timeout of a job; 0 means 6 h.
	Timeout time.Duration
	// Space returns an error while the disk is too full to export; it is asked
	// every two seconds while a job runs. May be nil.
	Space   func() error
	Metrics *metrics.Registry // may be nil
	Log     *slog.Logger      // nil: discard
}

const (
	defaultWaiting = 16
	defaultTimeout = 6 * time.Hour
	spacePeriod    = 2 * time.Second
	// maxKept is how many jobs of a recording are listed.
	maxKept = 100
)

// Outcomes of an export, in metrics.
const (
	outcomeDone     = "done"
	outcomeFailed   = "failed"
	outcomeCanceled = "canceled"
	outcomeFull     = "queue_full" // refused
)

// Queue runs jobs, one at a time. It is safe for concurrent use.
type Queue struct {
	config  Config
	log     *slog.Logger
	store   store
	exports *metrics.CounterVec

	mu     sync.Mutex
	closed bool
	live   []*entry      // the first may be running; at most Config.Waiting others
	wake   chan struct{} // something was added to live; one pending is enough
}

// entry is a job that has not ended.
type entry struct {
	recording string
	job       Job
	cancel    context.CancelCauseFunc // of the running job; nil before
	canceled  bool
}

// errCanceled is why a job ends that was taken back.
var errCanceled = errors.New("canceled")

// New checks the configuration. It opens nothing.
func New(c Config) (*Queue, error) {
	if c.Dir == "" || c.Maker == nil {
		return nil, errors.New("export: Dir and Maker are required")
	}
	if c.Waiting == 0 {
		c.Waiting = defaultWaiting
	}
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	if c.Space == nil {
		c.Space = func() error { return nil }
	}
	if c.Metrics == nil {
		c.Metrics = metrics.New()
	}
	q := &Queue{config: c, log: c.Log, store: store{c.Dir}, wake: make(chan struct{}, 1)}
	if q.log == nil {
		q.log = slog.New(slog.DiscardHandler)
	}
	q.exports = c.Metrics.CounterVec("consilium_exports_total", "Exports of recordings, by kind and outcome.",
		metrics.Label{Name: "kind", Values: []string{string(Merged), string(Composed)}},
		metrics.Label{Name: "outcome", Values: []string{outcomeDone, outcomeFailed, outcomeCanceled, outcomeFull}})
	c.Metrics.GaugeFunc("consilium_exports_unfinished", "Exports that wait or run.", func() float64 {
		q.mu.Lock()
		defer q.mu.Unlock()
		return float64(len(q.live))
	})
	return q, nil
}

// Start puts a job into the queue. Who asks for what is waiting or running
// already gets that job. The error is or wraps one of this package, or
// fs.ErrNotExist.
func (q *Queue) Start(ctx context.Context, recording string, r Request) (Job, error) {
	r, err := r.Check()
	if err != nil {
		return Job{}, &Refusal{err.Error(), ErrUnusable}
	}
	if err := q.config.Space(); err != nil {
		return Job{}, err
	}
	if err := q.config.Maker.Check(ctx, recording, r); err != nil {
		return Job{}, err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, e := range q.live {
		if e.recording == recording && e.job.Request == r && !e.canceled {
			return e.job.clone(), nil
		}
	}
	switch {
	case q.closed:
		return Job{}, ErrStopped
	case len(q.live) > q.config.Waiting:
		q.exports.With(string(r.Kind), outcomeFull).Inc()
		return Job{}, ErrFull
	}
	e := &entry{recording: recording, job: Job{
		ID: rand.Text(), Request: r, State: Queued, Created: time.Now().UTC().Truncate(time.Millisecond), Files: []File{},
	}}
	if err := q.keep(e); err != nil {
		return Job{}, err
	}
	q.live = append(q.live, e)
	q.nudge()
	return e.job.clone(), nil
}

// Jobs returns the jobs of a recording, the oldest first.
func (q *Queue) Jobs(recording string) ([]Job, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	jobs, err := q.store.load(recording)
	if err != nil {
		return nil, err
	}
	for i := range jobs {
		if e := q.find(recording, jobs[i].ID); e != nil {
			jobs[i] = e.job.clone()
		}
	}
	return jobs, nil
}

// Job returns one job. The error wraps ErrNotFound.
func (q *Queue) Job(recording, id string) (Job, error) {
	jobs, err := q.Jobs(recording)
	if err != nil {
		return Job{}, err
	}
	i := slices.IndexFunc(jobs, func(j Job) bool { return j.ID == id })
	if i < 0 {
		return Job{}, ErrNotFound
	}
	return jobs[i], nil
}

// Delete takes back a job that has not ended, or removes what it made. Either
// way it is listed no more.
func (q *Queue) Delete(recording, id string) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	jobs, err := q.store.load(recording)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(jobs, func(j Job) bool { return j.ID == id })
	if i < 0 {
		return ErrNotFound
	}
	for _, f := range jobs[i].Files {
		if shared(jobs, i, f.Name) {
			continue
		}
		if err := q.config.Maker.Remove(recording, f.Name); err != nil {
			return err
		}
	}
	if err := q.store.save(recording, slices.Delete(jobs, i, i+1)); err != nil {
		return err
	}
	if e := q.find(recording, id); e != nil {
		e.canceled = true
		q.exports.With(string(e.job.Kind), outcomeCanceled).Inc()
		if e.cancel != nil {
			e.cancel(errCanceled) // Run takes it off the list
		} else {
			q.drop(e)
		}
	}
	return nil
}

// shared reports whether another job lists a file: the same request made
// again gives the same name.
func shared(jobs []Job, but int, name string) bool {
	for i, j := range jobs {
		if i != but && slices.ContainsFunc(j.Files, func(f File) bool { return f.Name == name }) {
			return true
		}
	}
	return false
}

// find returns a job that has not ended, or nil. mu is held.
func (q *Queue) find(recording, id string) *entry {
	for _, e := range q.live {
		if e.recording == recording && e.job.ID == id {
			return e
		}
	}
	return nil
}

// drop takes an entry off the list. mu is held.
func (q *Queue) drop(e *entry) {
	q.live = slices.DeleteFunc(q.live, func(other *entry) bool { return other == e })
}

func (q *Queue) nudge() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// keep writes a job to the disk. mu is held.
func (q *Queue) keep(e *entry) error {
	jobs, err := q.store.load(e.recording)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		// A list that can't be read must not keep anybody from exporting: all
		// of it can be made again.
		q.log.Warn("list of exports begun anew", "call", e.recording, "error", err)
		jobs = nil
	}
	if i := slices.IndexFunc(jobs, func(j Job) bool { return j.ID == e.job.ID }); i >= 0 {
		jobs[i] = e.job
	} else {
		jobs = append(jobs, e.job)
	}
	for len(jobs) > maxKept {
		i := slices.IndexFunc(jobs, func(j Job) bool { return j.State.Ended() })
		if i < 0 {
			break
		}
		jobs = slices.Delete(jobs, i, i+1)
	}
	if err := q.store.save(e.recording, jobs); err != nil {
		return fmt.Errorf("keep export: %w", err)
	}
	return nil
}
