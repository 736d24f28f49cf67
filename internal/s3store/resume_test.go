package s3store

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"consilium/internal/s3test"
	"consilium/internal/upload"
)

func contextOf(t *testing.T) (context.Context, context.CancelFunc) {
	return context.WithCancel(context.WithoutCancel(t.Context()))
}

const helperEnv = "CONSILIUM_TEST_UPLOAD"

// TestHelperUploadsUntilItIsKilled is not a test of its own: it is the process
// that TestKilledInPart7Of20ItGoesOnThere kills.
func TestHelperUploadsUntilItIsKilled(t *testing.T) {
	dir, endpoint, ok := strings.Cut(os.Getenv(helperEnv), " ")
	if !ok {
		return
	}
	store, err := New(configOf(endpoint))
	if err != nil {
		t.Fatal(err)
	}
	newSite(t, dir, store, nil).start()
	<-time.After(time.Minute)
}

func TestKilledInPart7Of20ItGoesOnThere(t *testing.T) {
	g := startGateway(t, "", false)
	dir, data := t.TempDir(), content(20*testPart-1)
	archive{dir}.add(t, "call", data)

	inPart7 := make(chan struct{}, 1)
	g.Disturb(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Query().Get("partNumber") != "7" {
			return false
		}
		select {
		case inPart7 <- struct{}{}:
		default:
		}
		return s3test.Hang(w, r) // until the process is dead
	})
	helper := exec.Command(os.Args[0], "-test.run=^TestHelperUploadsUntilItIsKilled$")
	helper.Env = append(os.Environ(), helperEnv+"="+dir+" "+g.URL())
	if err := helper.Start(); err != nil {
		t.Fatal(err)
	}
	<-inPart7
	if err := helper.Process.Kill(); err != nil { // SIGKILL
		t.Fatal(err)
	}
	_ = helper.Wait()
	before := g.Seen("PUT part")
	s := newSite(t, dir, g.store(nil), nil)
	if p := s.progress("call"); p.Uploaded || len(p.Objects) != 2 || len(p.Objects[0].ETags) != 6 {
		t.Errorf("after the kill: %+v", p)
	}
	g.Forget()

	// The store is down when the process comes back: nothing is lost.
	g.Disturb(s3test.HangUp)
	s.start()
	waitFor(t, "failures", func() bool { return strings.Contains(s.metric("consilium_upload_failures_total"), "unreachable") })
	g.Forget()
	g.Disturb(nil)
	waitFor(t, "the copy", func() bool { return s.told("done", "call") })

	var want []string
	for n := 7; n <= 20; n++ {
		want = append(want, "PUT part "+strconv.Itoa(n))
	}
	after := g.Seen("PUT part")
	if last := len(after) - 1; last < 0 || !slices.Equal(after[:last], want) || after[last] != "PUT part 1" { // of the manifest
		t.Errorf("sent after the kill: %v", after)
	}
	if begun := g.Seen("POST uploads"); len(begun) != 1 { // the manifest's
		t.Errorf("uploads begun: %v", begun)
	}
	t.Logf("before the kill %d parts, after it %d, of 20 and a manifest", len(before)-1, len(after))
	if err := g.sameRemotely("call", data); err != nil {
		t.Error(err)
	}
	if p := s.progress("call"); !p.Uploaded || !s.Removable("call") {
		t.Errorf("at the end: %+v, here %v", p, s.Removable("call"))
	}
}

func TestAStoreThatIsDownLosesNothingAndRaisesAnAlarm(t *testing.T) {
	g := startGateway(t, "", false)
	g.Disturb(s3test.HangUp)
	s := newSite(t, t.TempDir(), g.store(nil), func(c *upload.Config) {
		c.LateAfter, c.KeepLocal = 300*time.Millisecond, time.Nanosecond
	})
	data := content(testPart + 1)
	for _, recording := range []string{"a", "b", "c"} {
		s.add(t, recording, data)
	}
	s.start()
	waitFor(t, "the alarm", func() bool { return s.told("late", "") })
	if got := s.metric("consilium_upload_pending_recordings"); got != "[consilium_upload_pending_recordings 3]" {
		t.Error(got)
	}
	for _, recording := range []string{"a", "b", "c"} {
		if !s.Removable(recording) || s.progress(recording).Uploaded {
			t.Errorf("%s: here %v, %+v", recording, s.Removable(recording), s.progress(recording))
		}
	}
	g.Disturb(nil)
	waitFor(t, "the end of the alarm", func() bool { return s.told("in_time", "") })
	for _, recording := range []string{"a", "b", "c"} {
		waitFor(t, "the removal", func() bool { return s.progress(recording).LocalRemoved != nil && !s.Removable(recording) })
		if err := g.sameRemotely(recording, data); err != nil {
			t.Errorf("%s: %v", recording, err)
		}
	}
	if got := s.metric("consilium_upload_pending"); got != "[]" {
		t.Error(got)
	}
}

func TestPartsThatTheStoreForgotAreSentAgain(t *testing.T) {
	g := startGateway(t, "", false)
	store := g.store(nil)
	cut := make(chan struct{}, 1)
	g.Disturb(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Query().Get("partNumber") != "2" {
			return false
		}
		select {
		case cut <- struct{}{}:
		default:
		}
		return s3test.HangUp(w, r)
	})
	s := newSite(t, t.TempDir(), store, nil)
	data := content(2*testPart + 1)
	s.add(t, "call", data)
	s.start()
	<-cut
	s.stop()
	g.Disturb(nil)
	if err := store.Abort(t.Context(), "hospital/call/"+mediaName, s.progress("call").Objects[0].Upload); err != nil {
		t.Fatal(err)
	}
	s = newSite(t, s.dir, store, nil).start()
	waitFor(t, "the copy", func() bool { return s.told("done", "call") })
	if err := g.sameRemotely("call", data); err != nil {
		t.Error(err)
	}
}
