package upload

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"consilium/internal/event"
	"consilium/internal/metrics"
)

// Config of an Uploader. Dir, Store, Source and Metrics are required.
type Config struct {
	Dir    string // the server's data directory; progress is kept below it
	Store  Store
	Source Source
	// Prefix of every key: "" or with a slash at its end.
	Prefix string
	// PartSize in bytes; 0 means 16 MiB. S3 takes no part below 5 MiB but the
	// last.
	PartSize int64
	// Concurrency is how many recordings travel at once; 0 means 1.
	Concurrency int
	// KeepLocal is how long files stay here once their copy was verified; 0:
	// for ever.
	KeepLocal time.Duration
	// AllowUnsealed lets files leave that anybody can play.
	AllowUnsealed bool
	// LateAfter is when a recording without a copy raises an alarm; 0: 24 h.
	LateAfter time.Duration
	// Interval of looking for new recordings; 0 means a minute.
	Interval time.Duration
	// MinBackoff and MaxBackoff bound the wait after a failure, which doubles
	// each time; 0 means 1 s and 5 min.
	MinBackoff, MaxBackoff time.Duration
	Metrics                *metrics.Registry
	Events                 event.Sink   // nil: discard
	Log                    *slog.Logger // nil: discard
}

// Uploader copies recordings to a store. What waits is on the disk, so there
// is no queue that could overflow or be lost. It is safe for concurrent use.
type Uploader struct {
	config Config
	log    *slog.Logger
	instruments

	opened chan struct{} // closed when states can be used
	ended  chan struct{} // closed when Run has returned
	wake   chan struct{} // a recording changed; one pending is enough
	hurry  chan struct{} // something can't wait; one pending is enough
	states states        // set before opened

	// Of Run's goroutine: when stale uploads, and local files to remove, were
	// last looked for.
	cleaned, trimmed time.Time

	mu      sync.Mutex
	settled map[string]settled
	waiting map[string]waiting
	active  map[string]context.CancelFunc
	retries map[string]retry
	reason  Reason // why the latest attempt failed; "" after a success
}

// settled is a recording whose copy is complete.
type settled struct {
	manifest Stamp
	verified time.Time
	removed  bool // the local files
}

// waiting is a recording whose copy is not complete.
type waiting struct {
	since time.Time
	bytes int64 // that are not verified yet
}

// retry is when a recording may be tried again that failed for a reason of its
// own.
type retry struct {
	after time.Time
	delay time.Duration
}

// New checks the configuration. It opens nothing.
func New(c Config) (*Uploader, error) {
	if c.Dir == "" || c.Store == nil || c.Source == nil || c.Metrics == nil {
		return nil, errors.New("upload: Dir, Store, Source and Metrics are required")
	}
	for value, standard := range map[*time.Duration]time.Duration{
		&c.LateAfter: 24 * time.Hour, &c.Interval: time.Minute, &c.MinBackoff: time.Second, &c.MaxBackoff: 5 * time.Minute,
	} {
		if *value == 0 {
			*value = standard
		}
	}
	if c.PartSize == 0 {
		c.PartSize = 16 << 20
	}
	c.Concurrency = max(c.Concurrency, 1)
	u := &Uploader{
		config: c, log: c.Log, opened: make(chan struct{}), ended: make(chan struct{}), wake: make(chan struct{}, 1),
		hurry: make(chan struct{}, 1), settled: map[string]settled{}, waiting: map[string]waiting{},
		active: map[string]context.CancelFunc{}, retries: map[string]retry{},
	}
	if u.log == nil {
		u.log = slog.New(slog.DiscardHandler)
	}
	if u.config.Events == nil {
		u.config.Events = event.Func(func(event.Event) {})
	}
	u.instruments = newInstruments(u, c.Metrics)
	return u, nil
}

// Changed says that a recording may have become final, so that it need not
// wait for the next look. It never blocks.
func (u *Uploader) Changed(string) {
	select {
	case u.wake <- struct{}{}:
	default:
	}
}

// Hurry ends a pause at once, also one after a failure: the disk fills up, or
// what made attempts fail was changed. It never blocks.
func (u *Uploader) Hurry() {
	select {
	case u.hurry <- struct{}{}:
	default:
	}
}

// Run uploads until ctx ends. A part on its way is then cut off, and comes
// again at the next start.
func (u *Uploader) Run(ctx context.Context) (err error) {
	defer close(u.ended)
	if u.states, err = openStates(u.config.Dir); err != nil {
		return fmt.Errorf("upload: %w", err)
	}
	defer u.states.root.Close()
	if err := u.remember(); err != nil {
		return fmt.Errorf("upload: %w", err)
	}
	close(u.opened)
	var wg sync.WaitGroup
	wg.Go(func() { u.watch(ctx) })
	defer wg.Wait()
	for backoff := time.Duration(0); ctx.Err() == nil; {
		wait := u.config.Interval
		if err := u.sweep(ctx); err != nil && ctx.Err() == nil {
			backoff = min(max(2*backoff, u.config.MinBackoff), u.config.MaxBackoff)
			wait = backoff
			u.log.Warn("recordings can't be uploaded", "reason", ReasonOf(err), "error", err, "again_in", wait.String())
		} else {
			backoff = 0
		}
		u.pause(ctx, wait, backoff == 0)
	}
	return nil
}

// pause waits; where nothing failed, a change ends it soon: a busy server
// changes recordings many times a second.
func (u *Uploader) pause(ctx context.Context, d time.Duration, wakeable bool) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	wake := u.wake
	if !wakeable {
		wake = nil
	}
	for {
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-u.hurry:
		case <-wake:
			wake = nil
			timer.Reset(min(d, u.config.MinBackoff))
			continue
		}
		return
	}
}

// remember reads which copies are complete.
func (u *Uploader) remember() error {
	recordings, err := u.states.list(stateExtension)
	if err != nil {
		return err
	}
	for _, id := range recordings {
		s, err := u.states.load(id)
		if errors.Is(err, errUnreadable) {
			continue // the first look around says so
		}
		if err != nil {
			return err
		}
		if s.Uploaded && s.Verified != nil && s.Place == u.config.Store.Place() {
			u.settle(s)
			u.lastSuccess.Set(max(u.lastSuccess.Value(), s.Verified.Unix()))
		}
	}
	return nil
}

// settle remembers a recording as one whose copy is complete.
func (u *Uploader) settle(s *state) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.settled[s.Recording] = settled{manifest: s.Manifest, verified: *s.Verified, removed: s.LocalRemoved != nil}
	delete(u.waiting, s.Recording)
	delete(u.retries, s.Recording)
}

// unsettle makes a recording one that is looked at again.
func (u *Uploader) unsettle(id string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.settled, id)
}

// settledNow returns what is settled.
func (u *Uploader) settledNow() map[string]settled {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := make(map[string]settled, len(u.settled))
	maps.Copy(now, u.settled)
	return now
}

// done reports a copy that is complete.
func (u *Uploader) done(s *state) {
	var bytes int64
	for _, o := range s.Objects {
		bytes += o.Bytes
	}
	u.settle(s)
	u.lastSuccess.Set(s.Verified.Unix())
	u.setReason("")
	u.log.Info("recording uploaded and read back", "recording", s.Recording, "bytes", bytes)
	u.config.Events.Emit(event.Event{
		Type: event.RecordingUpload, Time: time.Now(), Call: s.Recording,
		Data: map[string]any{"state": "done", "files": len(s.Objects), "bytes": bytes},
	})
}

// progress takes a verified object off what waits.
func (u *Uploader) progress(id string, bytes int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if w, ok := u.waiting[id]; ok {
		w.bytes -= bytes
		u.waiting[id] = w
	}
}

// failed counts a failure, and keeps back a recording that fails alone.
func (u *Uploader) failed(id string, err error) {
	reason := ReasonOf(err)
	u.failures.With(string(reason)).Inc()
	u.setReason(reason)
	if reason.everywhere() {
		return
	}
	u.mu.Lock()
	r := u.retries[id]
	first := r.delay == 0
	r.delay = min(max(2*r.delay, u.config.Interval), time.Hour)
	r.after = time.Now().Add(r.delay)
	u.retries[id] = r
	u.mu.Unlock()
	if first {
		u.log.Error("the copy of a recording is not as it should be", "recording", id, "reason", reason, "error", err)
	}
}

func (u *Uploader) setReason(r Reason) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.reason = r
}
