package recorder

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"consilium/internal/media"
	"consilium/internal/testmedia"
)

func TestALargeManifestIsLeftAlonePausesBetweenWrites(t *testing.T) {
	for name, tc := range map[string]struct {
		bytes int
		want  time.Duration
	}{
		"none yet":        {0, 0},
		"of a usual call": {freeManifest, 0},
		"larger":          {manifestRate, time.Second},
		"largest":         {maxManifestBytes, longestPause},
	} {
		if got := savePause(tc.bytes); got != tc.want {
			t.Errorf("%s: a pause of %v, want %v", name, got, tc.want)
		}
	}
}

// bookOf returns a book on disk with n segments, and how often it was written.
func bookOf(t *testing.T, n int) (*book, func() int) {
	t.Helper()
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	var mu sync.Mutex
	writes := 0
	b := newBook(root, testCall, func() {
		mu.Lock()
		defer mu.Unlock()
		writes++
	})
	if err := b.load(Manifest{Version: ManifestVersion, Call: testCall}); err != nil {
		t.Fatal(err)
	}
	b.update(func(m *Manifest) {
		for i := range n {
			m.Segments = append(m.Segments, Segment{File: fmt.Sprintf("p%d-mic-1.webm", i+1), Track: "t"})
		}
	})
	for range 2 { // the second is paced by the size of the first
		b.update(func(*Manifest) {})
		if err := b.save(); err != nil {
			t.Fatal(err)
		}
	}
	return b, func() int {
		mu.Lock()
		defer mu.Unlock()
		return writes - 2
	}
}

func TestManyChangesOfALargeManifestAreWrittenTogether(t *testing.T) {
	const changes, every = 50, 100 * time.Millisecond // five seconds
	for name, tc := range map[string]struct{ segments, least, most int }{
		"small": {10, changes, changes},
		"large": {600, 2, 4},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, writes := bookOf(t, tc.segments)
				var all sync.WaitGroup
				for i := range changes {
					<-time.After(every)
					file := fmt.Sprintf("p9999-cam-%d.webm", i+1)
					b.update(func(m *Manifest) { m.Segments = append(m.Segments, Segment{File: file}) })
					all.Go(func() {
						began := time.Now()
						if err := b.saveSoon(nil); err != nil {
							t.Error(err)
						}
						if took := time.Since(began); took > longestPause {
							t.Errorf("a change was on disk after %v", took)
						}
						if m, err := loadManifest(b.root, b.dir); err != nil || m.segment(file) == nil {
							t.Errorf("%s is not on disk: %v", file, err)
						}
					})
				}
				all.Wait()
				if n := writes(); n < tc.least || n > tc.most {
					t.Errorf("%d writes of %d changes", n, changes)
				}
			})
		})
	}
}

func TestAChangeThatCanWaitDoesNotWaitAndAStopHurriesTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, writes := bookOf(t, 600)
		began := time.Now()
		change := func(*Manifest) {}
		b.update(change)
		if err := b.saveIfDue(); err != nil || writes() != 0 {
			t.Errorf("%d writes within the pause, %v", writes(), err)
		}
		stop := make(chan struct{})
		close(stop)
		if err := b.saveSoon(stop); err != nil || writes() != 1 {
			t.Errorf("%d writes at a stop, %v", writes(), err)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("they waited for %v", took)
		}
		<-time.After(longestPause) // more than its pause
		b.update(change)
		if err := b.saveIfDue(); err != nil || writes() != 2 {
			t.Errorf("%d writes after the pause, %v", writes(), err)
		}
	})
}

// A call lists everybody who was ever in it, so it grows with each visit while
// it lasts; what stays when it has ended must not.
func TestVisitsToOneCallTakeLittleMemoryAndGiveItBack(t *testing.T) {
	const visits, live, left = 100, 3 << 10, 256 // bytes of a visit with one track
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := newStudio(t, dir)
		r := s.arm()
		mic := newSource(t, testmedia.Beep).between(0, 300*time.Millisecond)
		visit := func(n int) {
			track := micTrack(fmt.Sprintf("visitor-%03d", n))
			track.ID = fmt.Sprintf("track-%03d", n)
			sink := r.Track(track, nil)
			play(sink, mic, time.Now())
			sink.End(media.EndLeft, time.Now())
			synctest.Wait()
		}
		held := func() int {
			synctest.Wait()
			s.mu.Lock()
			s.events = nil // the test's own
			s.mu.Unlock()
			return liveHeap()
		}
		const warm = 20 // pools and buffers
		for n := range warm {
			visit(n)
		}
		before := held()
		for n := range visits {
			visit(warm + n)
		}
		during := held()
		r.End(time.Now())
		<-time.After(longestPause)
		after := held()
		t.Logf("%d bytes of a visit in the call, %d after it", (during-before)/visits, (after-before)/visits)
		if each := (during - before) / visits; each > live {
			t.Errorf("a visit takes %d bytes while the call lasts", each)
		}
		if each := (after - before) / visits; each > left {
			t.Errorf("%d bytes of a visit are left after the call", each)
		}
		s.close()
	})
	if m, err := Show(dir, testCall); err != nil || m.State != Final || len(m.Segments) != visits+20 {
		t.Errorf("%s with %d files, %v", m.State, len(m.Segments), err)
	}
}

// liveHeap is what is reachable, in bytes.
func liveHeap() int {
	var stats runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return int(stats.HeapAlloc)
}

func TestAManifestThatNobodyCouldReadReplacesNone(t *testing.T) {
	b, writes := bookOf(t, 1)
	before := writes()
	b.update(func(m *Manifest) { m.Room = strings.Repeat("x", maxManifestBytes) })
	if err := b.save(); err == nil {
		t.Error("no error")
	}
	if m, err := loadManifest(b.root, b.dir); err != nil || len(m.Segments) != 1 || writes() != before {
		t.Errorf("%d segments are left, %v", len(m.Segments), err)
	}
}
