package s3store

import (
	"errors"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"consilium/internal/s3test"
	"consilium/internal/upload"
)

// damage changes a byte of an object.
func (g *gateway) damage(key string) {
	f, err := os.OpenFile(g.Object(key), os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteAt([]byte{'x'}, 100)
		_ = f.Close()
	}
	if err != nil {
		g.t.Error(err)
	}
}

func TestADamagedCopyIsFoundAndSentAgain(t *testing.T) {
	g := startGateway(t, "", false)
	var reads atomic.Int64
	g.Disturb(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, mediaName) && reads.Add(1) == 1 {
			g.damage("hospital/call/" + mediaName) // after it was completed, before it is read back
		}
		return false
	})
	s := newSite(t, t.TempDir(), g.store(nil), nil)
	data := content(testPart + 1)
	s.add(t, "call", data)
	s.start()
	waitFor(t, "the copy", func() bool { return s.told("done", "call") })
	if got := s.metric("consilium_upload_failures_total"); got != `[consilium_upload_failures_total{reason="corrupted"} 1]` {
		t.Error(got)
	}
	if err := g.sameRemotely("call", data); err != nil || reads.Load() != 2 {
		t.Errorf("read back %d times, %v", reads.Load(), err)
	}
}

func TestLocalFilesGoOnlyAfterASecondReadBack(t *testing.T) {
	g := startGateway(t, "", false)
	s := newSite(t, t.TempDir(), g.store(nil), func(c *upload.Config) { c.KeepLocal = time.Hour })
	data := content(testPart + 1)
	s.add(t, "call", data)
	s.start()
	waitFor(t, "the copy", func() bool { return s.told("done", "call") })
	s.stop()
	if !s.Removable("call") {
		t.Fatal("removed within its time")
	}
	g.damage("hospital/call/" + mediaName) // by whoever keeps it
	s = newSite(t, s.dir, g.store(nil), func(c *upload.Config) { c.KeepLocal = time.Nanosecond }).start()
	waitFor(t, "the removal", func() bool { return s.progress("call").LocalRemoved != nil && !s.Removable("call") })
	if got := s.metric("consilium_upload_failures_total"); got != `[consilium_upload_failures_total{reason="corrupted"} 1]` {
		t.Error(got)
	}
	if err := g.sameRemotely("call", data); err != nil {
		t.Error(err)
	}
	s.stop()

	// Somebody fetches it: it stays for as long again.
	if err := os.WriteFile(s.path("call", mediaName), data, 0o600); err != nil {
		t.Fatal(err)
	}
	s = newSite(t, s.dir, g.store(nil), func(c *upload.Config) { c.KeepLocal = time.Hour }).start()
	waitFor(t, "the new term", func() bool { return s.progress("call").LocalRemoved == nil })
	if !s.Removable("call") {
		t.Error("a fetched file was removed at once")
	}
}

func TestADamagedOriginalIsNotTakenForADamagedCopy(t *testing.T) {
	g := startGateway(t, "", false)
	s := newSite(t, t.TempDir(), g.store(nil), nil)
	data := content(testPart)
	s.add(t, "call", data)
	data[7]++
	if err := os.WriteFile(s.path("call", mediaName), data, 0o600); err != nil {
		t.Fatal(err)
	}
	s.start()
	waitFor(t, "the failure", func() bool { return strings.Contains(s.metric("consilium_upload_failures_total"), `"local"`) })
	if p := s.progress("call"); p.Uploaded || s.told("done", "call") {
		t.Errorf("%+v", p)
	}
}

func TestUnsealedFilesDoNotLeaveUnlessTheyMay(t *testing.T) {
	g := startGateway(t, "", false)
	s := newSite(t, t.TempDir(), g.store(nil), nil)
	s.add(t, "unsealed", content(1000))
	s.add(t, "sealed", content(1000))
	s.start()
	waitFor(t, "the other's copy", func() bool { return s.told("done", "sealed") })
	waitFor(t, "the refusal", func() bool { return strings.Contains(s.metric("consilium_upload_failures_total"), `"unsealed"`) })
	s.stop()
	if _, err := os.Stat(g.Object("hospital/unsealed")); err == nil {
		t.Error("an unsealed file left")
	}
	s = newSite(t, s.dir, g.store(nil), func(c *upload.Config) { c.AllowUnsealed = true }).start()
	waitFor(t, "its copy", func() bool { return s.told("done", "unsealed") })
}

func TestErasingRemovesTheCopyAlsoWhileItIsMade(t *testing.T) {
	g := startGateway(t, "", false)
	inPart2 := make(chan struct{}, 1)
	g.Disturb(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/going/") || r.URL.Query().Get("partNumber") != "2" {
			return false
		}
		inPart2 <- struct{}{}
		return s3test.Hang(w, r)
	})
	store := g.store(nil)
	s := newSite(t, t.TempDir(), store, nil)
	s.add(t, "done", content(1000))
	s.start()
	waitFor(t, "the copy", func() bool { return s.told("done", "done") })
	s.add(t, "going", content(2*testPart))
	<-inPart2
	for _, recording := range []string{"done", "going"} {
		if err := os.RemoveAll(s.path(recording, "")); err != nil {
			t.Fatal(err)
		}
		if err := s.uploader.Erase(recording); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, "the end of both", func() bool {
		left, err := os.ReadDir(s.dir + "/uploads")
		return err == nil && len(left) == 0
	})
	for _, recording := range []string{"done", "going"} {
		if files, _ := os.ReadDir(g.Object("hospital/" + recording)); len(files) > 0 {
			t.Errorf("%s: %v is left", recording, files)
		}
	}
	if list, err := store.Unfinished(t.Context()); err != nil || len(list) > 0 {
		t.Errorf("unfinished uploads: %v, %v", list, err)
	}
	// One that was erased while nobody looked shows by its tombstone; one that is
	// just gone keeps its copy.
	for _, recording := range []string{"tombstone", "lost"} {
		s.add(t, recording, content(1000))
		waitFor(t, "the copy", func() bool { return s.told("done", recording) })
		if err := os.RemoveAll(s.path(recording, "")); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Mkdir(s.path("tombstone", ""), 0o700), os.WriteFile(s.path("tombstone", "tombstone.json"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the end of the copy", func() bool {
		_, err := os.Stat(s.dir + "/uploads/tombstone.json")
		return err != nil
	})
	if err := g.sameRemotely("lost", content(1000)); err != nil {
		t.Errorf("the copy of a recording that was lost here: %v", err)
	}
	if err := s.uploader.Erase("../x"); err == nil {
		t.Error("a path was taken for a recording")
	}
}

func TestAVersionedBucketKeepsOneVersionAndNoneOfAnErasedRecording(t *testing.T) {
	g := &gateway{s3test.Start(t, s3test.Options{Versioned: true}), t}
	s := newSite(t, t.TempDir(), g.store(nil), nil)
	s.add(t, "call", content(1000))
	s.start()
	waitFor(t, "the copy", func() bool { return s.told("done", "call") })
	if versions := g.Versions(t); len(versions) != 2 {
		t.Errorf("of media and manifest: %q", versions)
	}
	s.add(t, "call", content(2000)) // repaired: other media, another manifest
	waitFor(t, "the new copy, alone", func() bool {
		return g.sameRemotely("call", content(2000)) == nil && len(s.progress("call").Leftovers) == 0 && s.progress("call").Uploaded
	})
	if versions := g.Versions(t); len(versions) != 2 {
		t.Errorf("after a change: %q", versions)
	}

	// The next one is complete in the store when everything ends here.
	s.stop()
	s = newSite(t, s.dir, g.store(nil), nil)
	s.add(t, "cut", content(1000))
	asked, answered := make(chan struct{}), make(chan int, 1)
	late := g.Late(answered)
	g.Disturb(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPost || !r.URL.Query().Has("uploadId") {
			return false
		}
		close(asked)
		return late(w, r)
	})
	s.start()
	<-asked
	s.stop()
	if status := <-answered; status != http.StatusOK {
		t.Fatalf("complete: %d", status)
	}
	g.Disturb(nil)
	if versions := g.Versions(t); len(versions) != 3 {
		t.Errorf("with the media of the one that was cut off: %q", versions)
	}
	for _, recording := range []string{"call", "cut"} {
		if err := errors.Join(os.RemoveAll(s.path(recording, "")), os.MkdirAll(s.path(recording, ""), 0o700),
			os.WriteFile(s.path(recording, "tombstone.json"), nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	s = newSite(t, s.dir, g.store(nil), nil).start()
	waitFor(t, "the end of both", func() bool {
		left, err := os.ReadDir(s.dir + "/uploads")
		return err == nil && len(left) == 0
	})
	if versions := g.Versions(t); len(versions) != 0 {
		t.Errorf("of erased recordings: %q", versions)
	}
}
