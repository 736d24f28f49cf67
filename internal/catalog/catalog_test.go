package catalog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"consilium/internal/leak"
)

// shelf is a Source in memory.
type shelf struct {
	mu      sync.Mutex
	all     map[string]Recording
	stamps  map[string]int64
	reads   []string
	broken  error
	blocked chan struct{} // Read waits for it, if set
}

func newShelf() *shelf {
	return &shelf{all: make(map[string]Recording), stamps: make(map[string]int64)}
}

func (s *shelf) put(r Recording) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Participants == nil {
		r.Participants = []Participant{}
	}
	s.all[r.ID] = r
	s.stamps[r.ID]++
}

func (s *shelf) remove(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, id)
	delete(s.stamps, id)
}

func (s *shelf) Stamps() (map[string]Stamp, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[string]Stamp)
	for id, n := range s.stamps {
		out[id] = Stamp{Modified: n}
	}
	return out, s.broken
}

func (s *shelf) Read(id string) (Recording, Stamp, error) {
	if s.blocked != nil {
		<-s.blocked
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads = append(s.reads, id)
	r, ok := s.all[id]
	if !ok {
		return Recording{}, Stamp{}, fmt.Errorf("open manifest: %w", fs.ErrNotExist)
	}
	return r, Stamp{Modified: s.stamps[id]}, s.broken
}

func (s *shelf) readSince() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	reads := s.reads
	s.reads = nil
	slices.Sort(reads)
	return reads
}

// runs starts a catalog and returns how to stop it.
func runs(t *testing.T, path string, source Source) (*Catalog, func()) {
	t.Helper()
	leak.Check(t)
	c, err := New(Config{Path: path, Source: source})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return c, stop
}

func list(t *testing.T, c *Catalog, f Filter) (ids []string, next string) {
	t.Helper()
	if f.Limit == 0 {
		f.Limit = 100
	}
	page, next, err := c.List(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	ids = []string{}
	for _, r := range page {
		ids = append(ids, r.ID)
	}
	return ids, next
}

// eventually waits until the list of all is want.
func eventually(t *testing.T, c *Catalog, want ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for {
		ids, _ := list(t, c, Filter{})
		if slices.Equal(ids, want) {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("the list is %v, want %v", ids, want)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

var day = time.Date(2026, 11, 23, 8, 0, 0, 123456000, time.UTC)

// consultations fills a shelf: a to e, an hour apart, and one that can't be read.
func consultations() *shelf {
	s := newShelf()
	for i, id := range []string{"a", "b", "c", "d", "e"} {
		s.put(Recording{
			ID: id, Room: []string{"red", "blue"}[i%2], ExternalID: "visit-" + id, State: []string{"final", "live", "recovered"}[i%3],
			Started: day.Add(time.Duration(i) * time.Hour), Files: i, Bytes: int64(i) << 40,
			Participants: []Participant{{"doc", "doctor"}, {"patient-" + id, "patient"}},
		})
	}
	s.put(Recording{ID: "torn", Problem: "manifest can't be read"})
	return s
}

func TestRecordingsAreFoundLatestFirst(t *testing.T) {
	c, _ := runs(t, filepath.Join(t.TempDir(), "x.db"), consultations())
	for name, test := range map[string]struct {
		filter Filter
		want   []string
	}{
		"all":               {Filter{}, []string{"e", "d", "c", "b", "a", "torn"}},
		"a room":            {Filter{Room: "blue"}, []string{"d", "b"}},
		"an external id":    {Filter{ExternalID: "visit-c"}, []string{"c"}},
		"a participant":     {Filter{Participant: "doc"}, []string{"e", "d", "c", "b", "a"}},
		"another":           {Filter{Participant: "patient-b"}, []string{"b"}},
		"a state":           {Filter{State: "live"}, []string{"e", "b"}},
		"from then on":      {Filter{From: day.Add(3 * time.Hour)}, []string{"e", "d"}},
		"before then":       {Filter{To: day.Add(time.Hour)}, []string{"a", "torn"}},
		"one hour":          {Filter{From: day, To: day.Add(time.Hour)}, []string{"a"}},
		"several":           {Filter{Participant: "doc", Room: "red", From: day.Add(time.Hour)}, []string{"e", "c"}},
		"nobody":            {Filter{Participant: "nobody"}, []string{}},
		"not to be quoted":  {Filter{Room: "' OR 1=1 --"}, []string{}},
		"longest page":      {Filter{Limit: MaxLimit + 1}, []string{"e", "d", "c", "b", "a", "torn"}},
		"shortest page":     {Filter{Limit: -1}, []string{"e"}},
		"a page of a state": {Filter{State: "live", Limit: 1}, []string{"e"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got, _ := list(t, c, test.filter); !slices.Equal(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
	for _, bad := range []string{"x", "1", ".a", "1e9.a"} {
		if _, _, err := c.List(t.Context(), Filter{After: bad}); !errors.Is(err, ErrBadAfter) {
			t.Errorf("after %q: %v", bad, err)
		}
	}
}

func TestPagesJoinWithoutAHoleAlsoWhenTheirEndIsErased(t *testing.T) {
	s := consultations()
	c, _ := runs(t, filepath.Join(t.TempDir(), "x.db"), s)
	var all []string
	after := ""
	for {
		ids, next := list(t, c, Filter{Limit: 2, After: after})
		all = append(all, ids...)
		if next == "" {
			break
		}
		after = next
	}
	if !slices.Equal(all, []string{"e", "d", "c", "b", "a", "torn"}) {
		t.Errorf("pages give %v", all)
	}
	_, next := list(t, c, Filter{Limit: 2})
	s.remove("d")
	c.Changed("d")
	eventually(t, c, "e", "c", "b", "a", "torn")
	if ids, _ := list(t, c, Filter{Limit: 2, After: next}); !slices.Equal(ids, []string{"c", "b"}) {
		t.Errorf("after the page whose last recording is erased: %v", ids)
	}
}

func TestADeletedIndexIsMadeAgainTheSame(t *testing.T) {
	s := consultations()
	path := filepath.Join(t.TempDir(), "x.db")
	c, stop := runs(t, path, s)
	before, _, err := c.List(t.Context(), Filter{Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	stop()
	for _, name := range []string{path, path + "-wal", path + "-shm"} {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	c, _ = runs(t, path, s)
	after, _, err := c.List(t.Context(), Filter{Limit: 100})
	if err != nil || !reflect.DeepEqual(before, after) || len(after) != 6 {
		t.Errorf("before %+v\nafter  %+v, %v", before, after, err)
	}
}

func TestAStartReadsOnlyWhatHasChangedMeanwhile(t *testing.T) {
	s := consultations()
	path := filepath.Join(t.TempDir(), "x.db")
	c, stop := runs(t, path, s)
	list(t, c, Filter{})
	stop()
	s.readSince()
	s.put(Recording{ID: "b", Room: "green", State: "final", Started: day})
	s.put(Recording{ID: "f", Started: day.Add(24 * time.Hour)})
	s.remove("c")
	c, _ = runs(t, path, s)
	if ids, _ := list(t, c, Filter{}); !slices.Equal(ids, []string{"f", "e", "d", "b", "a", "torn"}) {
		t.Errorf("the list is %v", ids)
	}
	if ids, _ := list(t, c, Filter{Participant: "patient-b"}); len(ids) != 0 {
		t.Errorf("who is no longer there is found in %v", ids)
	}
	if got := s.readSince(); !slices.Equal(got, []string{"b", "c", "f"}) {
		t.Errorf("read %v, want the changed ones", got)
	}
}

func TestChangesThatDoNotFitAreFoundAllTheSame(t *testing.T) {
	s := newShelf()
	s.blocked = make(chan struct{})
	s.put(Recording{ID: "first", Started: day})
	c, _ := runs(t, filepath.Join(t.TempDir(), "x.db"), s)
	for i := range 2 * maxChanged { // nobody reads: Changed must not wait
		id := fmt.Sprintf("r%04d", i)
		s.put(Recording{ID: id, Started: day})
		c.Changed(id)
	}
	c.mu.Lock()
	if len(c.changed) > maxChanged || !c.missed {
		t.Errorf("%d changes wait, missed %v", len(c.changed), c.missed)
	}
	c.mu.Unlock()
	close(s.blocked)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for n := 0; n != 2*maxChanged+1; {
		n = 0
		for after := ""; ; {
			ids, next := list(t, c, Filter{Limit: MaxLimit, After: after})
			if n += len(ids); next == "" {
				break
			}
			after = next
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%d of %d are listed", n, 2*maxChanged+1)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func TestAListBeforeTheIndexIsReadyWaits(t *testing.T) {
	s := consultations()
	s.blocked = make(chan struct{})
	c, _ := runs(t, filepath.Join(t.TempDir(), "x.db"), s)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := c.List(ctx, Filter{}); !errors.Is(err, context.Canceled) {
		t.Errorf("half an index was listed: %v", err)
	}
	close(s.blocked)
	if ids, _ := list(t, c, Filter{}); len(ids) != 6 {
		t.Errorf("then it lists %v", ids)
	}
}

func TestReindexCountsWhatThereIsBesideARunningServer(t *testing.T) {
	s := consultations()
	path := filepath.Join(t.TempDir(), "x.db")
	c, _ := runs(t, path, s)
	list(t, c, Filter{})
	if n, err := Reindex(t.Context(), path, s); err != nil || n != 6 {
		t.Errorf("%d, %v", n, err)
	}
	eventually(t, c, "e", "d", "c", "b", "a", "torn")
}
