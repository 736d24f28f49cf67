package e2e

import (
	"flag"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"consilium/internal/auth"
	"consilium/internal/config"
	"consilium/internal/testserver"
	"consilium/recorder"
)

// soak makes the tests of recording that can be longer as long as the cases
// they are about: make soak.
var soak = flag.Bool("soak", false, "run the tests of recording at full length")

// buildProgram returns the program as it is shipped, or builds it with the given
// flags of go build.
func buildProgram(t *testing.T, flags ...string) string {
	t.Helper()
	if len(flags) == 0 {
		binary, err := shippedProgram()
		if err != nil {
			t.Fatal(err)
		}
		return binary
	}
	binary := filepath.Join(t.TempDir(), "consilium")
	if err := build(t.Context(), binary, nil, flags...); err != nil {
		t.Fatal(err)
	}
	return binary
}

// program is a server that is a process of its own, so that it can be killed.
type program struct {
	*lab
	process *testserver.Server
}

// startProgram serves a data directory, which may have been used before, until
// the test ends. Its keys are those of lab; keys are more of the configuration.
func startProgram(t *testing.T, binary, data string, keys map[string]string) *program {
	t.Helper()
	cfg := config.Dev()
	cfg.Data = data
	authority, err := auth.New(auth.Config{Keys: cfg.Keys})
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{"media.tcp_port": "0", "recording.min_free": "1MiB", "log.level": "info"}
	maps.Copy(all, keys)
	process := testserver.Start(t, testserver.Config{
		Binary: binary, Data: data, Keys: all,
		Command: func(name string, args ...string) *exec.Cmd { return exec.Command(name, append(args, "--dev")...) },
	})
	return &program{lab: &lab{t: t, url: process.URL, cfg: cfg, auth: authority}, process: process}
}

// kill ends the program at once. It returns when that was.
func (p *program) kill() time.Time {
	at := time.Now()
	_ = p.process.Cmd.Process.Kill() // it may have ended
	<-p.process.Ended
	return at
}

// manifest waits until the recording of a call is in a state.
func (p *program) manifest(call string, state recorder.State) (m recorder.Manifest) {
	p.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; <-tick.C {
		found, err := recorder.Show(p.cfg.Data, call)
		if err == nil && found.State == state {
			return found
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("the recording is %q, not %q: %v", found.State, state, err)
		}
	}
}

// file is where a file of a recording is.
func (p *program) file(call, name string) string {
	return filepath.Join(p.cfg.Data, "recordings", call, name)
}

// identities are those of n participants.
func identities(n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprintf("person-%02d", i+1))
	}
	return all
}
