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
	"io/fs"
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
}

// call is a call that is being recorded or recovered.
type call struct {
	book      *book
	users     int        // recording and recovery
	recording *Recording // nil: only recovered
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
		open:  make(map[string]*call),
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

// Arm prepares everything needed to record a call: directories, enough free
// space and a first manifest. Until it has returned without an error no medium
// of the call may pass. The error is an *Error. When ctx ends first, Arm
// returns and what it began is undone.
func (r *Recorder) Arm(ctx context.Context, c media.Call) (*Recording, error) {
	select {
	case <-r.ready:
	case <-ctx.Done():
		return nil, &Error{event.RecorderFailed, fmt.Errorf("arm: not running: %w", ctx.Err())}
	}
	type result struct {
		recording *Recording
		err       error
	}
	done := make(chan result, 1)
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil, &Error{event.RecorderFailed, errClosed}
	}
	// On a goroutine of its own: a stalled disk holds up nobody but it.
	r.wg.Go(func() {
		recording, err := r.arm(c)
		if err == nil && ctx.Err() != nil { // too late: nobody waits for it
			if recording.claimEnd(media.EndCall, time.Now()) { // a shutdown may have been first
				r.conclude(c.ID, recording.book, recording, Failed)
			}
			err = ctx.Err()
		}
		done <- result{recording, err}
	})
	r.mu.Unlock()
	var err error
	select {
	case got := <-done:
		if got.err == nil {
			r.emit(got.recording.book, event.RecordingArmed, nil)
			return got.recording, nil
		}
		err = got.err
	case <-ctx.Done():
		err = ctx.Err()
	}
	return nil, &Error{codeOf(err), fmt.Errorf("arm: %w", err)}
}

// arm does the work of Arm.
func (r *Recorder) arm(c media.Call) (recording *Recording, err error) {
	if !validCall(c.ID) {
		return nil, fmt.Errorf("call id %q can't name a directory", c.ID)
	}
	if err := r.volume.admit(); err != nil {
		return nil, err
	}
	var made []string
	defer func() {
		if err != nil { // a call that is refused leaves nothing behind
			for _, dir := range made {
				_ = r.root.Remove(dir)
			}
		}
	}()
	for _, dir := range []string{path.Join(recordingsDir, c.ID), path.Join(spoolDir, c.ID)} {
		if _, err := r.root.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
			made = append(made, dir)
		}
		if err := r.root.MkdirAll(dir, dirMode); err != nil {
			return nil, fmt.Errorf("make directory: %w", err)
		}
		if err := syncDir(r.root, path.Dir(dir)); err != nil {
			return nil, err
		}
	}
	recording = newRecording(r, c)
	if recording.book, err = r.acquire(c.ID, recording, r.newManifest(c)); err != nil {
		return nil, err
	}
	recording.book.reopen(func(m *Manifest) {
		m.State, m.Ended = Live, nil
		// A call that goes on after a restart keeps its time axis.
		recording.call.Started = recording.call.Started.Add(m.Started.Sub(recording.call.Started.Round(0)))
	})
	if keys, err := recording.book.keysFor(r.config.Sealer, false); err != nil {
		r.release(c.ID, recording)
		return nil, fmt.Errorf("seal: %w", err)
	} else if len(keys) > 0 {
		recording.key = keys[0]
	}
	if err := recording.book.save(); err != nil {
		r.release(c.ID, recording)
		return nil, err
	}
	return recording, nil
}

func (r *Recorder) newManifest(c media.Call) Manifest {
	started := c.Started
	if started.IsZero() {
		started = time.Now()
	}
	return Manifest{
		Version: ManifestVersion, Call: c.ID, Room: c.Room, ExternalID: c.ExternalID, Metadata: c.Metadata,
		Software: "consilium " + r.config.Version, State: Live, Started: started.Round(0).UTC(),
		Participants: []Participant{}, Consents: []Consent{}, Tracks: []TrackInfo{},
		Segments: []Segment{}, Events: []Entry{},
	}
}

// acquire returns the book of a call for one more user. A recording may be the
// only one of its call.
func (r *Recorder) acquire(id string, recording *Recording, fresh Manifest) (*book, error) {
	// Read before the lock is taken: a stalled disk must not hold it.
	b, err := openBook(r.root, id, fresh)
	if err != nil {
		return nil, err
	}
	b.changed = func() { r.config.Changed(id) }
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, errClosed
	}
	c := r.open[id]
	if c == nil {
		c = &call{book: b}
		r.open[id] = c
	}
	if recording != nil {
		if c.recording != nil {
			return nil, fmt.Errorf("call %s is being recorded already", id)
		}
		c.recording = recording
	}
	c.users++
	return c.book, nil
}

// release takes back what acquire gave.
func (r *Recorder) release(id string, recording *Recording) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.open[id]
	if recording != nil && c.recording == recording {
		c.recording = nil
	}
	if c.users--; c.users == 0 {
		delete(r.open, id)
	}
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
