package recorder

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"sync"
	"time"

	"consilium/internal/event"
	"consilium/internal/media"
	"consilium/internal/seal"
)

// book keeps the manifest of one call, in memory and on disk. It is safe for
// concurrent use: the call's recording, its tracks and the recovery of older
// segments of the same call share it.
type book struct {
	root    *os.Root
	call    string
	dir     string
	changed func()

	loadMu sync.Mutex
	loaded bool
	fresh  bool            // when it was loaded nothing at all was there
	taken  map[string]bool // stems of names of files that were there

	mu       sync.Mutex
	manifest Manifest
	version  int             // of manifest, counts changes
	saved    int             // the version on disk
	closed   bool            // final: what changes later is not written
	goesOn   bool            // the call is being recorded
	ours     map[string]bool // files that were begun since it was loaded
	size     int             // bytes of what was last written
	// notBefore is when a large manifest may be written again for a change that
	// can wait. It is set as a write begins: who comes later finds it.
	notBefore time.Time

	saveMu     sync.Mutex // held while writing; taken before mu
	concludeMu sync.Mutex // one of its users at a time may be the last; taken first

	keysMu sync.Mutex
	keys   []seal.Key // once needed; the first seals
}

// loadManifest reads the manifest in a call's directory.
func loadManifest(root *os.Root, dir string) (Manifest, error) {
	f, err := root.Open(path.Join(dir, manifestName))
	if err != nil {
		return Manifest{}, fmt.Errorf("open manifest: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxManifestBytes+1))
	if err != nil {
		return Manifest{}, fmt.Errorf("read manifest: %w", err)
	}
	if len(data) > maxManifestBytes {
		return Manifest{}, fmt.Errorf("read manifest: %w: larger than %d bytes", errBroken, maxManifestBytes)
	}
	return decodeManifest(data)
}

// newBook returns the book of a call's directory, which must be loaded. changed
// is called when the manifest on disk is another one.
func newBook(root *os.Root, call string, changed func()) *book {
	return &book{
		root: root, dir: path.Join(recordingsDir, call), call: call, changed: changed,
		taken: make(map[string]bool), ours: make(map[string]bool),
	}
}

// load reads the manifest unless that was done. Without one it begins with
// fresh; one that is broken is kept aside. One that can't be read, or is of a
// newer version, is an error and stays where it is.
func (b *book) load(fresh Manifest) error {
	b.loadMu.Lock()
	defer b.loadMu.Unlock()
	if b.loaded {
		return nil
	}
	empty := true
	for _, top := range []string{recordingsDir, spoolDir, quarantineDir} {
		entries, err := fs.ReadDir(b.root.FS(), path.Join(top, b.call))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("list files: %w", err)
		}
		empty = empty && len(entries) == 0
		for _, e := range entries {
			b.taken[stem(e.Name())] = true
		}
	}
	m, err := loadManifest(b.root, b.dir)
	switch {
	case err == nil:
	case errors.Is(err, fs.ErrNotExist):
		m = fresh
	case errors.Is(err, errBroken):
		if e := b.keepBroken(); e != nil {
			return fmt.Errorf("%w; keep it aside: %w", err, e)
		}
		m = fresh
	default:
		return err
	}
	b.loaded, b.fresh = true, empty
	b.update(func(now *Manifest) { *now = m })
	return nil
}

// keepBroken renames a manifest that nobody can read.
func (b *book) keepBroken() error {
	name := path.Join(b.dir, manifestName)
	aside := name + ".broken"
	for n := 2; ; n++ {
		if _, err := b.root.Lstat(aside); errors.Is(err, fs.ErrNotExist) {
			return b.root.Rename(name, aside)
		} else if err != nil {
			return err
		}
		aside = fmt.Sprintf("%s.broken-%d", name, n)
	}
}

// begin enters a segment under a name that no file of the call has or had, and
// returns that.
func (b *book) begin(s Segment, number int, extension string) (name string) {
	b.update(func(m *Manifest) {
		s.File = m.name(number, s.Source, extension, b.taken)
		m.Segments = append(m.Segments, s)
		b.ours[s.File] = true
	})
	return s.File
}

// update changes the manifest in memory.
func (b *book) update(change func(*Manifest)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change(&b.manifest)
	b.version++
}

// save writes the manifest to disk unless every change made before the call is
// there already: of several callers the first writes for all.
func (b *book) save() error {
	b.mu.Lock()
	wanted := b.version
	b.mu.Unlock()
	return b.saveUpTo(wanted)
}

// saveUpTo is save for the changes up to a version.
func (b *book) saveUpTo(wanted int) error {
	b.saveMu.Lock()
	defer b.saveMu.Unlock()
	b.mu.Lock()
	if b.saved >= wanted || b.closed {
		b.mu.Unlock()
		return nil
	}
	place(b.manifest.Segments)
	m := b.manifest.snapshot() // encoding takes long and must not hold up update
	version := b.version
	b.notBefore = time.Now().Add(savePause(b.size))
	b.mu.Unlock()
	data, err := m.encode()
	if err != nil {
		return err
	}
	if err := b.write(data); err != nil {
		return err
	}
	b.mu.Lock()
	b.saved, b.size = version, len(data)
	b.mu.Unlock()
	return nil
}

// savePause is how long a manifest of size bytes is left alone after a write.
// Each file of a call is a few changes of its manifest, and each write is of
// all of it: without a pause, who joins and leaves all day would have it
// written as often as it is long.
func savePause(size int) time.Duration {
	if size <= freeManifest {
		return 0
	}
	return min(time.Duration(size)*time.Second/manifestRate, longestPause)
}

// saveIfDue is save for a change that the next write may take along: at the
// latest that of Run. It does not wait.
func (b *book) saveIfDue() error {
	b.mu.Lock()
	due := !time.Now().Before(b.notBefore)
	b.mu.Unlock()
	if !due {
		return nil
	}
	return b.save()
}

// saveSoon is save for a change that must be on disk when it returns, together
// with others: it waits for longestPause at most, and no longer once hurry is
// closed.
func (b *book) saveSoon(hurry <-chan struct{}) error {
	b.mu.Lock()
	wanted, pause := b.version, time.Until(b.notBefore)
	b.mu.Unlock()
	if pause > 0 {
		timer := time.NewTimer(pause)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-hurry:
		}
	}
	return b.saveUpTo(wanted)
}

// write puts data in the manifest's place and tells who keeps an index.
func (b *book) write(data []byte) error {
	if len(data) > maxManifestBytes { // nobody could read it: spools stay, and the one before it
		return fmt.Errorf("write manifest: it would have %d bytes, and may have %d", len(data), maxManifestBytes)
	}
	if err := replaceFile(b.root, b.dir, manifestName, data); err != nil {
		return err
	}
	b.changed()
	return nil
}

// discard makes that nothing is written any more.
func (b *book) discard() {
	b.saveMu.Lock()
	defer b.saveMu.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
}

// saveFinal signs the manifest, writes it and appends it to the chain. After a
// crash in between it is done again: the chain then holds the call twice, and
// its last line counts. Later changes are not written until reopen.
func (b *book) saveFinal(c *chain, key ed25519.PrivateKey) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	b.saveMu.Lock()
	defer b.saveMu.Unlock()
	if err := c.find(); err != nil {
		return err
	}
	b.mu.Lock()
	place(b.manifest.Segments)
	b.manifest.Previous = c.head
	m := b.manifest.snapshot()
	version := b.version
	b.mu.Unlock()
	if err := m.sign(key); err != nil {
		return err
	}
	data, err := m.encode()
	if err != nil {
		return err
	}
	if err := b.write(data); err != nil {
		return err
	}
	c.step("manifest signed")
	if err := c.append(hexSum(data), m.Call); err != nil {
		return err
	}
	b.mu.Lock()
	b.manifest.Signature, b.saved, b.closed = m.Signature, version, true
	b.mu.Unlock()
	return nil
}

// reopen makes a manifest one that is being written again. concludeMu is held.
func (b *book) reopen(change func(*Manifest)) {
	b.update(func(m *Manifest) {
		b.closed, m.Signature, m.Previous = false, nil, ""
		change(m)
	})
}

// keysFor returns the keys of the recording; nil if its files are not sealed.
// A sealed spool needs a key that is there; for everything else one is made.
func (b *book) keysFor(sealer seal.Sealer, sealedSpool bool) ([]seal.Key, error) {
	switch {
	case sealer == nil && sealedSpool:
		return nil, seal.ErrNoIdentity
	case sealer == nil:
		return nil, nil
	}
	b.keysMu.Lock()
	defer b.keysMu.Unlock()
	if b.keys != nil {
		return b.keys, nil
	}
	var err error
	if sealedSpool {
		b.keys, err = loadKeys(b.root, b.dir, sealer)
	} else {
		b.keys, err = recordingKeys(b.root, b.dir, sealer)
	}
	return b.keys, err
}

// event returns an event of this call.
func (b *book) event(t event.Type) event.Event {
	b.mu.Lock()
	defer b.mu.Unlock()
	return event.Event{
		Type: t, Call: b.manifest.Call, Room: b.manifest.Room,
		ExternalID: b.manifest.ExternalID, Metadata: b.manifest.Metadata,
	}
}

// describe returns what the manifest knows of a spool, enough to finalise it;
// nil if that is too little.
func (b *book) describe(file string) *spoolHeader {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.manifest.segment(file)
	if s == nil {
		return nil
	}
	h := spoolHeader{
		Version: spoolVersion, Call: b.manifest.Call, Room: b.manifest.Room, Segment: *s,
		Format: format{Codec: s.Codec, Width: s.Width, Height: s.Height, TrackUID: 1, WritingApp: b.manifest.Software},
	}
	if s.Codec == media.H264 || s.Codec == media.AV1 {
		return nil // can't be played without what the spool's description holds
	}
	if _, err := h.Format.tracks(); err != nil {
		return nil
	}
	return &h
}

// files lists what can be played, as recording.ready reports it.
func (b *book) files() []map[string]any {
	b.mu.Lock()
	defer b.mu.Unlock()
	files := []map[string]any{}
	for _, s := range b.manifest.Segments {
		if s.State != Final && s.State != Recovered {
			continue
		}
		files = append(files, map[string]any{
			"name": s.File, "participant": s.Participant, "source": string(s.Source),
			"duration_ms": s.DurationMS, "bytes": s.Bytes,
		})
	}
	return files
}
