package export

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

const call = "c0ffee"

// kitchen is a Maker under the test's control.
type kitchen struct {
	began   chan Request
	finish  chan error // what the running job ends with
	refuse  error
	mu      sync.Mutex
	removed []string
}

func newKitchen() *kitchen {
	return &kitchen{began: make(chan Request, 100), finish: make(chan error)}
}

func (k *kitchen) Check(context.Context, string, Request) error { return k.refuse }

func (k *kitchen) Make(ctx context.Context, _ string, r Request, progress func(float64)) ([]File, error) {
	progress(0.5)
	progress(0.25) // never runs back
	k.began <- r
	select {
	case err := <-k.finish:
		return []File{{Name: "call-composed-1." + r.Format, Bytes: 7}}, err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (k *kitchen) Remove(_, name string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.removed = append(k.removed, name)
	return nil
}

// data makes a data directory with recordings.
func data(t *testing.T, calls ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, id := range append(calls, call) {
		if err := os.MkdirAll(filepath.Join(dir, recordingsDir, id), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, recordingsDir, id, manifestName), []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// serve runs a queue until the returned function is called.
func serve(t *testing.T, c Config) (*Queue, func()) {
	t.Helper()
	q, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- q.Run(ctx) }()
	return q, func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
	}
}

func begin(t *testing.T, q *Queue, r Request) Job {
	t.Helper()
	j, err := q.Start(t.Context(), call, r)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func state(t *testing.T, q *Queue, id string) Job {
	t.Helper()
	j, err := q.Job(call, id)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func mp4() Request  { return Request{Kind: Composed, Format: "mp4"} }
func webm() Request { return Request{Kind: Composed, Format: "webm"} }

func TestJobsRunOneAfterTheOtherAndTellTheirProgress(t *testing.T) {
	dir := data(t)
	synctest.Test(t, func(t *testing.T) {
		k := newKitchen()
		q, stop := serve(t, Config{Dir: dir, Maker: k})
		first, second := begin(t, q, mp4()), begin(t, q, webm())
		synctest.Wait()
		if j := state(t, q, first.ID); j.State != Running || j.Progress != 0.5 {
			t.Errorf("first is %+v", j)
		}
		if j := state(t, q, second.ID); j.State != Queued || j.Progress != 0 {
			t.Errorf("second is %+v", j)
		}
		k.finish <- nil
		k.finish <- &Refusal{Words: "no more flour"}
		synctest.Wait()
		if j := state(t, q, first.ID); j.State != Done || j.Progress != 1 || len(j.Files) != 1 || j.Ended == nil {
			t.Errorf("first is %+v", j)
		}
		if j := state(t, q, second.ID); j.State != Failed || j.Reason != "no more flour" || len(j.Files) != 0 {
			t.Errorf("second is %+v", j)
		}
		for _, outcome := range []string{outcomeDone, outcomeFailed} {
			if n := q.exports.With(string(Composed), outcome).Value(); n != 1 {
				t.Errorf("%d are counted as %s", n, outcome)
			}
		}
		stop()
		if _, err := q.Start(t.Context(), call, mp4()); !errors.Is(err, ErrStopped) {
			t.Errorf("after the end: %v", err)
		}
	})
}

func TestAFullQueueSaysSoAndTheSameRequestIsTheSameJob(t *testing.T) {
	dir := data(t)
	synctest.Test(t, func(t *testing.T) {
		k := newKitchen()
		q, stop := serve(t, Config{Dir: dir, Maker: k, Waiting: 1})
		defer stop()
		running := begin(t, q, mp4())
		synctest.Wait()
		begin(t, q, webm())
		if again := begin(t, q, mp4()); again.ID != running.ID {
			t.Errorf("the same request is job %s beside %s", again.ID, running.ID)
		}
		if _, err := q.Start(t.Context(), call, Request{Kind: Merged}); !errors.Is(err, ErrFull) {
			t.Errorf("a third job: %v", err)
		}
		if n := q.exports.With(string(Merged), outcomeFull).Value(); n != 1 {
			t.Errorf("%d are counted as refused", n)
		}
	})
}

func TestAJobOfAnEarlierRunIsBegunAnew(t *testing.T) {
	dir := data(t)
	synctest.Test(t, func(t *testing.T) {
		k := newKitchen()
		q, stop := serve(t, Config{Dir: dir, Maker: k})
		first, second := begin(t, q, mp4()), begin(t, q, webm())
		synctest.Wait()
		stop() // the first runs, the second waits
		<-k.began

		k = newKitchen()
		q, stop = serve(t, Config{Dir: dir, Maker: k})
		defer stop()
		if r := <-k.began; r != first.Request {
			t.Errorf("begun anew was %+v", r)
		}
		k.finish <- nil
		k.finish <- nil
		synctest.Wait()
		for _, id := range []string{first.ID, second.ID} {
			if j := state(t, q, id); j.State != Done {
				t.Errorf("%+v", j)
			}
		}
	})
}

func TestAJobCanBeTakenBack(t *testing.T) {
	dir := data(t)
	synctest.Test(t, func(t *testing.T) {
		k := newKitchen()
		q, stop := serve(t, Config{Dir: dir, Maker: k})
		defer stop()
		running, waiting := begin(t, q, mp4()), begin(t, q, webm())
		<-k.began
		for _, id := range []string{waiting.ID, running.ID} {
			if err := q.Delete(call, id); err != nil {
				t.Fatal(err)
			}
		}
		if err := q.Delete(call, running.ID); !errors.Is(err, ErrNotFound) {
			t.Errorf("taken back twice: %v", err)
		}
		done := begin(t, q, mp4()) // the same request, a new job
		<-k.began
		k.finish <- nil
		synctest.Wait()
		jobs, err := q.Jobs(call)
		if err != nil || len(jobs) != 1 || jobs[0].ID != done.ID {
			t.Errorf("jobs are %+v, %v", jobs, err)
		}
		if err := q.Delete(call, done.ID); err != nil || len(k.removed) != 1 || k.removed[0] != "call-composed-1.mp4" {
			t.Errorf("removed %v, %v", k.removed, err)
		}
	})
}

func TestALowDiskEndsTheJobThatRunsAndRefusesOthers(t *testing.T) {
	dir := data(t)
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var low error
		space := func() error {
			mu.Lock()
			defer mu.Unlock()
			return low
		}
		k := newKitchen()
		q, stop := serve(t, Config{Dir: dir, Maker: k, Space: space})
		defer stop()
		running := begin(t, q, mp4())
		<-k.began
		mu.Lock()
		low = ErrDiskLow
		mu.Unlock()
		<-time.After(2 * spacePeriod)
		synctest.Wait()
		if j := state(t, q, running.ID); j.State != Failed || j.Reason != ErrDiskLow.Error() {
			t.Errorf("%+v", j)
		}
		if _, err := q.Start(t.Context(), call, mp4()); !errors.Is(err, ErrDiskLow) {
			t.Errorf("start: %v", err)
		}
	})
}

func TestAJobHasItsTime(t *testing.T) {
	dir := data(t)
	synctest.Test(t, func(t *testing.T) {
		k := newKitchen()
		q, stop := serve(t, Config{Dir: dir, Maker: k, Timeout: time.Minute})
		defer stop()
		j := begin(t, q, mp4())
		<-time.After(61 * time.Second)
		synctest.Wait()
		if j = state(t, q, j.ID); j.State != Failed || !strings.Contains(j.Reason, "too long") {
			t.Errorf("%+v", j)
		}
	})
}

func TestRequestsThatMakeNoSenseAreRefused(t *testing.T) {
	q, err := New(Config{Dir: data(t), Maker: newKitchen()})
	if err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]Request{
		"no kind":                     {},
		"unknown kind":                {Kind: "edited"},
		"unknown format":              {Kind: Composed, Format: "avi"},
		"merged mp4":                  {Kind: Merged, Format: "mp4"},
		"composed of one":             {Kind: Composed, Participant: "anna"},
		"merged sound":                {Kind: Merged, Source: "mic"},
		"composed of a shared screen": {Kind: Composed, Source: "screen"},
	} {
		if _, err := q.Start(t.Context(), call, r); !errors.Is(err, ErrUnusable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, id := range []string{"nobody", "../spool", "."} {
		if _, err := q.Start(t.Context(), id, mp4()); err == nil {
			t.Errorf("recording %q: no error", id)
		}
	}
	if _, err := q.Jobs("nobody"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("jobs of no recording: %v", err)
	}
}

func TestAListThatCanNotBeReadIsBegunAnew(t *testing.T) {
	dir := data(t)
	name := filepath.Join(dir, recordingsDir, call, exportsDir, storeName)
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(`{"version":1,"jobs":[{"id"`), 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		k := newKitchen()
		q, stop := serve(t, Config{Dir: dir, Maker: k})
		defer stop()
		j := begin(t, q, mp4())
		<-k.began
		k.finish <- nil
		synctest.Wait()
		if j = state(t, q, j.ID); j.State != Done {
			t.Errorf("%+v", j)
		}
	})
	text, err := os.ReadFile(name)
	var d document
	if err != nil || json.Unmarshal(text, &d) != nil || d.Derived == "" || len(d.Jobs) != 1 {
		t.Errorf("the list is %s, %v", text, err)
	}
}

func TestARecordingErasedAmidAJobStaysErased(t *testing.T) {
	dir := data(t)
	synctest.Test(t, func(t *testing.T) {
		k := newKitchen()
		q, stop := serve(t, Config{Dir: dir, Maker: k})
		defer stop()
		begin(t, q, mp4())
		<-k.began
		for _, name := range []string{exportsDir, manifestName} {
			if err := os.RemoveAll(filepath.Join(dir, recordingsDir, call, name)); err != nil {
				t.Fatal(err)
			}
		}
		k.finish <- nil
		synctest.Wait()
		if left, err := os.ReadDir(filepath.Join(dir, recordingsDir, call)); err != nil || len(left) > 0 {
			t.Errorf("left are %v, %v", left, err)
		}
		if _, err := q.Start(t.Context(), call, mp4()); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a job for it: %v", err)
		}
	})
}

func TestWordsOfAFailureHoldNoPaths(t *testing.T) {
	err := &fs.PathError{Op: "open", Path: "/var/lib/secret", Err: fs.ErrPermission}
	if got := words(err); strings.Contains(got, "/") {
		t.Errorf("words are %q", got)
	}
}

func TestAListIsBounded(t *testing.T) {
	dir := data(t)
	q, err := New(Config{Dir: dir, Maker: newKitchen()})
	if err != nil {
		t.Fatal(err)
	}
	for range maxKept + 5 {
		e := &entry{recording: call, job: Job{ID: time.Now().String(), State: Done}}
		if err := q.keep(e); err != nil {
			t.Fatal(err)
		}
	}
	if jobs, err := q.Jobs(call); err != nil || len(jobs) != maxKept {
		t.Errorf("%d jobs are kept, %v", len(jobs), err)
	}
}
