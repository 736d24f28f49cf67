// Package leak fails a test that leaves goroutines or file descriptors behind.
package leak

import (
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// patience is how long Check waits for what a test started to end: closing a
// socket is not the same instant as its reader's return.
const patience = 5 * time.Second

// Check remembers the goroutines and descriptors that exist, and fails the
// test if others are left when it and its other cleanups are over; so call it
// first. It is not for parallel tests: goroutines know no test.
func Check(t testing.TB) {
	t.Helper()
	before := take()
	t.Cleanup(func() {
		ticker := time.NewTicker(10 * time.Millisecond)
		defer ticker.Stop()
		for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-ticker.C {
			if len(take().without(before)) == 0 {
				return
			}
		}
		for _, what := range take().without(before) {
			t.Errorf("left behind: %s", what)
		}
	})
}

// Goroutines returns how many goroutines there are.
func Goroutines() int { return runtime.NumGoroutine() }

// Descriptors returns how many file descriptors the process has open.
func Descriptors() int {
	all := snapshot{}
	all.addDescriptors()
	return len(all)
}

// snapshot is what exists at one instant: a description by a key that is not
// used again.
type snapshot map[string]string

func take() snapshot {
	s := snapshot{}
	s.addGoroutines()
	s.addDescriptors()
	return s
}

func (s snapshot) without(before snapshot) (added []string) {
	for key, what := range s {
		if _, ok := before[key]; !ok {
			added = append(added, what)
		}
	}
	return added
}

func (s snapshot) addGoroutines() {
	buf := make([]byte, 1<<20)
	n := runtime.Stack(buf, true)
	for n == len(buf) { // cut off
		buf = make([]byte, 2*len(buf))
		n = runtime.Stack(buf, true)
	}
	buf = buf[:n]
	for stack := range strings.SplitSeq(strings.TrimSpace(string(buf)), "\n\n") {
		id, _, _ := strings.Cut(stack, " [") // "goroutine 7 [running]:"
		s[id] = stack
	}
}

func (s snapshot) addDescriptors() {
	const dir = "/proc/self/fd"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return // not Linux: goroutines are compared all the same
	}
	for _, e := range entries {
		// The descriptor that read the directory is closed by now: no target.
		target, err := os.Readlink(dir + "/" + e.Name())
		// Go's poller opens an epoll and an eventfd at first use and keeps them.
		if err == nil && !strings.HasPrefix(target, "anon_inode:[event") {
			s["descriptor "+e.Name()+" "+target] = "descriptor " + e.Name() + " " + target
		}
	}
}
