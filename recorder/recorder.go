// Package recorder keeps every track of every call: RTP packets become frames,
// frames a spool that survives a crash at any byte, and the spool a clean WebM
// file with a manifest that places it on the time axis of the call. DESIGN.md
// says why it is built this way.
package recorder

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path"
	"sync"
	"time"

	"consilium/internal/event"
	"consilium/internal/media"
	"consilium/internal/seal"
)

// Config of a Recorder. Dir is required.
type Config struct {
	// Dir is the data directory; recordings and spools are made below it.
	Dir string
	// Space says from where on space is short, and what then happens.
	Space Marks
	// Grace is how long Run finalises after its context ended; what is not
	// done then is recovered at the next start. 0 means 20 s.
	Grace time.Duration
	// Sealer seals spools and files; nil: they lie open on the disk.
	Sealer seal.Sealer
	// Version of the software, for manifests and files.
	Version string
	Log     *slog.Logger // nil: discard
	Events  event.Sink   // nil: discard
	// Changed is told when the manifest of a call was written, or removed with
	// its recording. It must not block. It may be nil.
	Changed func(call string)
	// Keep is how long recordings are kept after the end of their call, unless
	// they are on hold; 0: for ever.
	Keep time.Duration
	// Erased is told what was erased by retention, or at a start that finished
	// it. It may be nil.
	Erased func(Tombstone)
}

// Recorder makes recordings. Its methods are safe for concurrent use.
type Recorder struct {
	config Config
	log    *slog.Logger
	events event.Sink

	// Replaced by tests.
	create func(root *os.Root, name string) (spoolFile, error)
	step   func(name string) // called when a step of finalising is durable

	volume  *volume
	ready   chan struct{} // closed when Arm may be called
	closing chan struct{} // closed when no call may begin any more
	slots   chan struct{} // one for each finaliser at work

	// Set before ready.
	root       *os.Root
	work       context.Context // ends when finalising must stop
	chain      *chain
	signingKey ed25519.PrivateKey

	wg     sync.WaitGroup
	mu     sync.Mutex
	closed bool
	open   map[string]*call
	arming map[string]*attempt // by call
	tries  int                 // of finalising a file while the disk fails
}

// call is a call that is being recorded, armed or recovered.
type call struct {
	book      *book
	users     int        // recording, arming and recovery
	recording *Recording // nil: not yet, or only recovered
}

// errClosed says that the recorder does not run.
var errClosed = errors.New("recorder is shutting down")

// New checks the configuration. It opens nothing.
func New(c Config) (*Recorder, error) {
	if c.Dir == "" {
		return nil, errors.New("recorder: no data directory")
	}
	if c.Grace == 0 {
		c.Grace = defaultGrace
	}
	r := &Recorder{
		config: c, log: c.Log, events: c.Events,
		create: createFile, step: func(string) {}, volume: newVolume(c.Space),
		ready: make(chan struct{}), closing: make(chan struct{}),
		slots: make(chan struct{}, finaliseAtOnce),
		open:  make(map[string]*call), arming: make(map[string]*attempt),
		tries: finaliseTries,
	}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	if r.events == nil {
		r.events = event.Func(func(event.Event) {})
	}
	if r.config.Changed == nil {
		r.config.Changed = func(string) {}
	}
	if r.config.Erased == nil {
		r.config.Erased = func(Tombstone) {}
	}
	return r, nil
}

// Run opens the data directory, recovers what an earlier run left and serves
// Arm until ctx ends. Then it ends every recording, finalises for at most
// Config.Grace and returns when all its goroutines have ended.
func (r *Recorder) Run(ctx context.Context) error {
	if err := r.openData(); err != nil {
		return fmt.Errorf("recorder: %w", err)
	}
	defer r.root.Close()
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	r.work, r.volume.root = work, r.root

	// What is left is found before any call can begin, so that a new spool
	// is never taken for an old one.
	left, err := r.findLeft()
	if err != nil {
		return fmt.Errorf("recorder: look for unfinished recordings: %w", err)
	}
	r.wg.Go(func() { r.recover(left) })
	r.wg.Go(func() { r.volume.run(ctx) })
	r.wg.Go(func() { r.watch(ctx) })
	r.wg.Go(func() { r.retain(ctx) })
	close(r.ready)
	r.tend(ctx)
	return r.shutdown(stop)
}

// openData opens the data directory, making in it what is missing.
func (r *Recorder) openData() (err error) {
	for _, dir := range []string{recordingsDir, spoolDir} {
		if err := os.MkdirAll(path.Join(r.config.Dir, dir), dirMode); err != nil {
			return fmt.Errorf("make directory: %w", err)
		}
	}
	if r.root, err = os.OpenRoot(r.config.Dir); err != nil {
		return fmt.Errorf("open data directory: %w", err)
	}
	if r.signingKey, err = loadSigningKey(r.root); err == nil {
		r.chain, err = openChain(r.root, r.step)
	}
	if err == nil && r.chain.wrong != nil {
		r.log.Error("the chain of manifests was changed", "error", r.chain.wrong)
	}
	if err != nil {
		_ = r.root.Close() // nothing was written to it
	}
	return err
}

// tend writes changed manifests and syncs spools while the recorder runs.
func (r *Recorder) tend(ctx context.Context) {
	tick := time.NewTicker(syncInterval)
	defer tick.Stop()
	var clock wallClock
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		r.noteClock(clock.stepped(time.Now()))
		for _, c := range r.calls() {
			if c.recording != nil {
				c.recording.sync()
			}
			if n%saveTicks != 0 {
				continue
			}
			if err := c.book.save(); err != nil {
				r.log.Error("manifest not written", "call", c.book.dir, "error", err)
			}
		}
	}
}

// shutdown ends what is open. stop ends what takes longer than the grace time.
func (r *Recorder) shutdown(stop context.CancelFunc) error {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	close(r.closing)
	for _, c := range r.calls() {
		if c.recording != nil {
			c.recording.end(media.EndShutdown, time.Now())
		}
	}
	timer := time.AfterFunc(r.config.Grace, stop)
	defer timer.Stop()
	r.wg.Wait()
	return nil
}

// calls returns what is open now.
func (r *Recorder) calls() []call {
	r.mu.Lock()
	defer r.mu.Unlock()
	calls := make([]call, 0, len(r.open))
	for _, c := range r.open {
		calls = append(calls, *c)
	}
	return calls
}

// emit reports an event of a call.
func (r *Recorder) emit(b *book, t event.Type, fill func(*event.Event)) {
	e := b.event(t)
	e.Time = time.Now()
	e.Data = map[string]any{}
	if fill != nil {
		fill(&e)
	}
	r.events.Emit(e)
}
