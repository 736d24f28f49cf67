package s3store

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"consilium/internal/event"
	"consilium/internal/metrics"
	"consilium/internal/upload"
)

// archive is a directory of recordings: RECORDING/p1-cam-1.webm.age and
// RECORDING/manifest.json, which holds the checksum.
type archive struct{ dir string }

const mediaName, manifestName = "p1-cam-1.webm.age", "manifest.json"

func (a archive) add(t *testing.T, recording string, media []byte) {
	t.Helper()
	sum := sha256.Sum256(media)
	for name, data := range map[string][]byte{mediaName: media, manifestName: []byte(hex.EncodeToString(sum[:]))} {
		file := filepath.Join(a.dir, "recordings", recording, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, data, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
}

func (a archive) path(recording, name string) string {
	return filepath.Join(a.dir, "recordings", recording, name)
}

func (a archive) Stamps() (map[string]upload.Stamp, error) {
	entries, err := os.ReadDir(filepath.Join(a.dir, "recordings"))
	stamps := map[string]upload.Stamp{}
	for _, e := range entries {
		info, err := os.Stat(a.path(e.Name(), manifestName))
		if err != nil {
			stamps[e.Name()] = upload.Stamp{}
			continue
		}
		stamps[e.Name()] = upload.Stamp{Modified: info.ModTime().UnixNano(), Bytes: info.Size()}
	}
	return stamps, err
}

func (a archive) Files(recording string) ([]upload.File, error) {
	manifest, err := os.ReadFile(a.path(recording, manifestName))
	if err != nil {
		return nil, err
	}
	size := int64(20*testPart - 1)
	if info, err := os.Stat(a.path(recording, mediaName)); err == nil {
		size = info.Size()
	}
	own := sha256.Sum256(manifest)
	return []upload.File{
		{Name: mediaName, Bytes: size, SHA256: string(manifest), Unsealed: strings.HasPrefix(recording, "unsealed")},
		{Name: manifestName, Bytes: int64(len(manifest)), SHA256: hex.EncodeToString(own[:])},
	}, nil
}

func (a archive) Open(recording, name string) (upload.Content, error) {
	return os.Open(a.path(recording, name))
}

func (a archive) Removable(recording string) bool {
	_, err := os.Stat(a.path(recording, mediaName))
	return err == nil
}

func (a archive) Erased(recording string) bool {
	_, err := os.Stat(a.path(recording, "tombstone.json"))
	return err == nil
}

func (a archive) Remove(recording string) error { return os.Remove(a.path(recording, mediaName)) }

// site is a server's data directory and what it does with it.
type site struct {
	t *testing.T
	archive
	uploader *upload.Uploader
	metrics  *metrics.Registry
	stop     func()

	mu     sync.Mutex
	events []event.Event
}

// newSite makes an uploader of a directory; start starts it.
func newSite(t *testing.T, dir string, store *Store, change func(*upload.Config)) *site {
	t.Helper()
	s := &site{t: t, archive: archive{dir}, metrics: metrics.New()}
	c := upload.Config{
		Dir: dir, Store: store, Source: s.archive, Prefix: "hospital/", PartSize: testPart, Concurrency: 2,
		Interval: 50 * time.Millisecond, MinBackoff: 10 * time.Millisecond, MaxBackoff: 100 * time.Millisecond,
		Metrics: s.metrics, Events: event.Func(s.emit),
	}
	if change != nil {
		change(&c)
	}
	var err error
	if s.uploader, err = upload.New(c); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *site) emit(e event.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, e)
}

// told reports whether recording.upload had a state, of a recording or "".
func (s *site) told(state, recording string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.events, func(e event.Event) bool { return e.Data["state"] == state && e.Call == recording })
}

func (s *site) start() *site {
	ctx, cancel := contextOf(s.t)
	ended := make(chan error, 1)
	go func() { ended <- s.uploader.Run(ctx) }()
	s.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			s.t.Error(err)
		}
	})
	s.t.Cleanup(s.stop)
	return s
}

// progress is what is kept of a recording's copy.
type progress struct {
	Uploaded     bool       `json:"uploaded"`
	LocalRemoved *time.Time `json:"local_removed"`
	Leftovers    []any      `json:"leftovers"`
	Objects      []struct {
		Upload   string   `json:"upload"`
		ETags    []string `json:"etags"`
		Verified bool     `json:"verified"`
	} `json:"objects"`
}

func (s *site) progress(recording string) (p progress) {
	data, err := os.ReadFile(filepath.Join(s.dir, "uploads", recording+".json"))
	if errors.Is(err, fs.ErrNotExist) {
		return p
	}
	if err == nil {
		err = json.Unmarshal(data, &p)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return p
}

// metric returns the lines of a metric that have a value.
func (s *site) metric(name string) string {
	var b strings.Builder
	if _, err := s.metrics.WriteTo(&b); err != nil {
		s.t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(b.String()) {
		if strings.HasPrefix(line, name) && !strings.HasSuffix(line, " 0\n") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return fmt.Sprint(lines)
}

// sameRemotely compares the copy of a recording with what it must be.
func (g *gateway) sameRemotely(recording string, media []byte) error {
	got, err := os.ReadFile(g.Object("hospital/" + recording + "/" + mediaName))
	if err == nil && !slices.Equal(got, media) {
		err = errors.New("the copy is another")
	}
	if err == nil {
		_, err = os.Stat(g.Object("hospital/" + recording + "/" + manifestName))
	}
	return err
}
