package leak

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// recorder is a test that is judged by another one.
type recorder struct {
	testing.TB
	cleanups []func()
	errors   []string
}

func (r *recorder) Helper()          {}
func (r *recorder) Cleanup(f func()) { r.cleanups = append(r.cleanups, f) }
func (r *recorder) Errorf(format string, args ...any) {
	r.errors = append(r.errors, fmt.Sprintf(format, args...))
}

func (r *recorder) finish() {
	for _, f := range r.cleanups {
		f()
	}
}

func TestACleanTestPasses(t *testing.T) {
	r := &recorder{TB: t}
	Check(r)
	done := make(chan struct{})
	go func() { close(done) }()
	<-done
	r.finish()
	if len(r.errors) != 0 {
		t.Errorf("got %v, want none", r.errors)
	}
}

func TestLeftOversAreReported(t *testing.T) {
	r := &recorder{TB: t}
	Check(r)
	stop := make(chan struct{})
	defer close(stop)
	go func() { <-stop }()
	file, err := os.CreateTemp(t.TempDir(), "left")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	r.finish()
	all := strings.Join(r.errors, " ")
	if len(r.errors) != 2 || !strings.Contains(all, "TestLeftOversAreReported") || !strings.Contains(all, file.Name()) {
		t.Errorf("got %q, want the goroutine and the descriptor to be reported", r.errors)
	}
}
