package upload

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"consilium/internal/metrics"
)

// shelf is a Store in memory. What a real one does is tested with a real one,
// in s3store; this one lets hours pass in a moment.
type shelf struct {
	mu       sync.Mutex
	objects  map[string][]byte
	parts    map[string][]byte // by upload
	fail     func(doing, key string) error
	attempts map[string]int // by what was asked for
	begun    time.Time      // of what Unfinished says of any upload
}

func newShelf() *shelf {
	return &shelf{objects: map[string][]byte{}, parts: map[string][]byte{}, attempts: map[string]int{}}
}

// ask counts a request and says whether it fails. It holds no lock while it
// does, so that a request may take its time.
func (s *shelf) ask(doing, key string) error {
	s.mu.Lock()
	s.attempts[doing]++
	fails := s.fail
	s.mu.Unlock()
	if fails != nil {
		return fails(doing, key)
	}
	return nil
}

// breaks lets requests fail from now on; nil: none.
func (s *shelf) breaks(fail func(doing, key string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = fail
}

func (s *shelf) asked(doing string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.attempts[doing]
}

func (s *shelf) has(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.objects[key]
	return ok
}

func (s *shelf) Place() string { return "shelf" }

func (s *shelf) Begin(_ context.Context, key string) (string, error) {
	if err := s.ask("begin", key); err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	id := key + "#" + strconv.Itoa(s.attempts["begin"])
	s.parts[id] = nil
	return id, nil
}

func (s *shelf) Put(_ context.Context, key, id string, number int, content *io.SectionReader) (string, error) {
	data, err := io.ReadAll(content)
	if err != nil {
		return "", err
	}
	if err := s.ask("put", key); err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.parts[id] = append(s.parts[id], data...)
	return strconv.Itoa(number), nil
}

func (s *shelf) Complete(_ context.Context, key, id string, _ []string) (string, error) {
	if err := s.ask("complete", key); err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.objects[key] = s.parts[id]
	delete(s.parts, id)
	return "", nil
}

func (s *shelf) Abort(_ context.Context, key, id string) error {
	if err := s.ask("abort", key); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.parts, id)
	return nil
}

func (s *shelf) Unfinished(context.Context) (list []Unfinished, err error) {
	if err := s.ask("list", ""); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.parts {
		key, _, _ := strings.Cut(id, "#")
		list = append(list, Unfinished{key, id, s.begun})
	}
	return list, nil
}

func (s *shelf) Open(_ context.Context, key, _ string) (*Object, error) {
	if err := s.ask("open", key); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	data, ok := s.objects[key]
	if !ok {
		return nil, ErrNoObject
	}
	return &Object{ReadCloser: io.NopCloser(bytes.NewReader(data))}, nil
}

func (s *shelf) Remove(_ context.Context, key, _ string) error {
	if err := s.ask("remove", key); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.objects, key)
	return nil
}

// calls is a Source in memory: each recording has a file "media" and a manifest.
type calls struct {
	mu     sync.Mutex
	media  map[string]string
	erased map[string]bool
	looks  int
}

func newCalls(ids ...string) *calls {
	c := &calls{media: map[string]string{}, erased: map[string]bool{}}
	for _, id := range ids {
		c.media[id] = "media of " + id
	}
	return c
}

func (c *calls) looked() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.looks
}

func (c *calls) erase(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.media, id)
	c.erased[id] = true
}

func (c *calls) Stamps() (map[string]Stamp, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.looks++
	stamps := map[string]Stamp{}
	for id, media := range c.media {
		stamps[id] = Stamp{Modified: 1, Bytes: int64(len(media))}
	}
	return stamps, nil
}

func (c *calls) content(id, name string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if name == "media" {
		return c.media[id]
	}
	return "manifest of " + c.media[id]
}

func (c *calls) Files(id string) (files []File, err error) {
	for _, name := range []string{"media", "manifest.json"} {
		text := c.content(id, name)
		sum := sha256.Sum256([]byte(text))
		files = append(files, File{Name: name, Bytes: int64(len(text)), SHA256: hex.EncodeToString(sum[:])})
	}
	return files, nil
}

type textContent struct{ *strings.Reader }

func (textContent) Close() error { return nil }

func (c *calls) Open(id, name string) (Content, error) {
	return textContent{strings.NewReader(c.content(id, name))}, nil
}

func (c *calls) Erased(id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.erased[id]
}

func (c *calls) Removable(string) bool { return true }

func (c *calls) Remove(string) error { return errors.New("nothing was to be removed") }

// running starts an Uploader that ends with the test.
func running(t *testing.T, s *shelf, c *calls, change func(*Config)) *Uploader {
	t.Helper()
	u, _ := starting(t, s, c, change)
	return u
}

// starting is running with what ends it.
func starting(t *testing.T, s *shelf, c *calls, change func(*Config)) (u *Uploader, stop func()) {
	t.Helper()
	config := Config{Dir: t.TempDir(), Store: s, Source: c, Metrics: metrics.New(), PartSize: 8}
	if change != nil {
		change(&config)
	}
	u, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- u.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return u, stop
}

// down fails every request.
func down(doing, _ string) error { return fail(Unreachable, "%s: nobody listens", doing) }

// wantCopies checks which recordings lie whole on a shelf.
func wantCopies(t *testing.T, s *shelf, want bool, ids ...string) {
	t.Helper()
	for _, id := range ids {
		if got := s.has(id+"/media") && s.has(id+"/manifest.json"); got != want {
			t.Errorf("%s: copied is %v", id, got)
		}
	}
}
