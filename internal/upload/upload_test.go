package upload

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestAStoreThatIsDownForAnHourCostsFewAttemptsAndNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := newShelf(), newCalls("a", "b", "c")
		s.breaks(down)
		running(t, s, c, nil)
		time.Sleep(time.Hour)
		attempts := s.asked("begin")
		if attempts < 18 || attempts > 22 {
			t.Errorf("%d attempts in an hour", attempts)
		}
		s.breaks(nil)
		begun := time.Now()
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		wantCopies(t, s, true, "a", "b", "c")
		t.Logf("%d attempts in an hour; all copied within %v of its end", attempts, time.Since(begun))
	})
}

func TestHurryEndsThePauseAfterAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := newShelf(), newCalls("a")
		s.breaks(down)
		u := running(t, s, c, nil)
		time.Sleep(time.Hour)
		s.breaks(nil)
		u.Changed("a") // does not
		time.Sleep(time.Millisecond)
		synctest.Wait()
		wantCopies(t, s, false, "a")
		u.Hurry()
		synctest.Wait()
		wantCopies(t, s, true, "a")
	})
}

func TestManyChangesAreOneLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCalls()
		u := running(t, newShelf(), c, nil)
		synctest.Wait()
		before := c.looked()
		for range 5000 {
			u.Changed("a")
			time.Sleep(time.Millisecond)
		}
		if looks := c.looked() - before; looks > 6 {
			t.Errorf("%d looks in 5 s", looks)
		}
	})
}

func TestARecordingThatFailsAloneKeepsNoOtherBack(t *testing.T) {
	for name, reason := range map[string]Reason{"for no known reason": Other, "because its file is damaged": Local} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, c := newShelf(), newCalls("a", "b", "z")
				s.breaks(func(_, key string) error {
					if strings.HasPrefix(key, "a/") {
						return fail(reason, "no")
					}
					return nil
				})
				running(t, s, c, nil)
				synctest.Wait()
				wantCopies(t, s, true, "b", "z")
				before := s.asked("begin")
				time.Sleep(6 * time.Hour)
				if again := s.asked("begin") - before; again < 9 || again > 13 {
					t.Errorf("tried %d times in 6 h", again)
				}
			})
		})
	}
}

func TestACopyThatMustStayIsAskedForHourlyAndKeepsNothingBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := newShelf(), newCalls("a")
		u := running(t, s, c, nil)
		synctest.Wait()
		wantCopies(t, s, true, "a")
		s.breaks(func(doing, _ string) error {
			if doing == "remove" {
				return fail(Locked, "it is on hold")
			}
			return nil
		})
		c.erase("a")
		if err := u.Erase("a"); err != nil {
			t.Fatal(err)
		}
		c.mu.Lock()
		c.media["b"] = "later"
		c.mu.Unlock()
		time.Sleep(6 * time.Hour)
		wantCopies(t, s, true, "a", "b")
		if asked := s.asked("remove"); asked < 9 || asked > 13 { // 6 within the first hour
			t.Errorf("asked %d times in 6 h", asked)
		}
		s.breaks(nil)
		time.Sleep(time.Hour)
		synctest.Wait()
		wantCopies(t, s, false, "a")
	})
}

func TestErasingGoesBeforeABacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := newShelf(), newCalls("a")
		u := running(t, s, c, nil)
		synctest.Wait()
		c.mu.Lock()
		for n := range 20 {
			c.media["b"+strconv.Itoa(n)] = "media"
		}
		c.mu.Unlock()
		s.breaks(func(doing, _ string) error { // each takes a minute
			if doing == "begin" {
				time.Sleep(time.Minute)
			}
			return nil
		})
		u.Hurry()
		time.Sleep(90 * time.Second)
		c.erase("a")
		if err := u.Erase("a"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Minute) // two files of the recording that is on its way
		if s.has("a/media") || s.has("a/manifest.json") {
			t.Error("the copy waits for the backlog")
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		wantCopies(t, s, true, "b0", "b19")
	})
}

func TestErasureIsRememberedOverARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c, dir := newShelf(), newCalls("a"), t.TempDir()
		in := func(c *Config) { c.Dir = dir }
		u, stop := starting(t, s, c, in)
		synctest.Wait()
		s.breaks(down)
		c.erase("a")
		if err := u.Erase("a"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		stop()
		s.breaks(nil)
		c.erased = map[string]bool{} // the tombstone is gone, too
		starting(t, s, c, in)
		synctest.Wait()
		wantCopies(t, s, false, "a")
		if s.has("a/media") || s.has("a/manifest.json") {
			t.Error("it is still there")
		}
	})
}

func TestUploadsOfOthersAreLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf()
		s.begun = time.Now().Add(-30 * 24 * time.Hour)
		s.parts["mine/call/media#1"], s.parts["other/call/media#1"], s.parts["mine/call/a/b#1"] = nil, nil, nil
		running(t, s, newCalls(), func(c *Config) { c.Prefix = "mine/" })
		synctest.Wait()
		if _, ok := s.parts["mine/call/media#1"]; ok || len(s.parts) != 2 {
			t.Errorf("left: %v", s.parts)
		}
	})
}

func TestProgressThatCanNotBeReadIsMadeAgainButNeverTakenForErased(t *testing.T) {
	for name, text := range map[string]string{
		"torn": `{"version": 1, "recor`, "of a later version": `{"version": 2, "recording": "a"}`,
		"of another recording": `{"version": 1, "recording": "b"}`, "empty": "", "huge": strings.Repeat(" ", maxStateBytes+1),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, c, dir := newShelf(), newCalls("a"), t.TempDir()
				file := filepath.Join(dir, stateDir, "a.json")
				if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				u := running(t, s, c, func(c *Config) { c.Dir = dir })
				synctest.Wait()
				wantCopies(t, s, true, "a")
				if _, _, ok := Located(dir, "a", "shelf", "media"); !ok || LocalRemoved(dir, "a") {
					t.Error("it is not written down")
				}
				if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				c.erase("a")
				if err := u.Erase("a"); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if _, err := os.Stat(filepath.Join(dir, stateDir, "a.erase")); err != nil || !s.has("a/media") {
					t.Errorf("the wish to erase what nobody could find: %v", err)
				}
			})
		})
	}
}
