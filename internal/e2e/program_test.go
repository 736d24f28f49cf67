package e2e

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"consilium/internal/auth"
	"consilium/internal/config"
	"consilium/recorder"
)

// soak makes the tests of recording that can be longer as long as the cases
// they are about: make soak.
var soak = flag.Bool("soak", false, "run the tests of recording at full length")

// buildProgram builds the program as it is shipped, or with the given flags of
// go build.
func buildProgram(t *testing.T, flags ...string) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "consilium")
	cmd := exec.CommandContext(t.Context(), "go", append(append([]string{"build", "-o", binary}, flags...), "consilium/cmd/consilium")...)
	if len(flags) == 0 {
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the program: %v\n%s", err, out)
	}
	return binary
}

// program is a server that is a process of its own, so that it can be killed.
type program struct {
	*lab
	cmd   *exec.Cmd
	ended chan struct{} // closed when it has ended and its log is complete
	log   bytes.Buffer  // read it when ended only
}

// startProgram serves a data directory, which may have been used before, until
// the test ends. Its keys are those of lab.
func startProgram(t *testing.T, binary, data string, args ...string) *program {
	t.Helper()
	cfg := config.Dev()
	cfg.Data = data
	authority, err := auth.New(auth.Config{Keys: cfg.Keys})
	if err != nil {
		t.Fatal(err)
	}
	p := &program{lab: &lab{t: t, cfg: cfg, auth: authority}, ended: make(chan struct{})}
	p.cmd = exec.Command(binary, append([]string{"serve", "--dev", "--data", data,
		"--http.address=127.0.0.1:0", "--media.udp_port=0", "--media.tcp_port=0", "--turn.udp_port=0",
		"--media.interfaces.include=lo", "--media.families=ipv4", "--recording.min_free=1MiB"}, args...)...)
	p.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}
	p.cmd.Stderr = &p.log
	stdout, err := p.cmd.StdoutPipe()
	p.must(err)
	p.must(p.cmd.Start())
	first := make(chan string, 1)
	go func() {
		defer close(p.ended)
		line, _ := bufio.NewReader(stdout).ReadString('\n') // an early end is an empty line
		first <- line
		_, _ = io.Copy(io.Discard, stdout) // ends with the process
		_ = p.cmd.Wait()                   // the exit code is in ProcessState
	}()
	p.stop = p.terminate
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			t.Logf("log of the program:\n%s", p.log.Bytes())
		}
	})
	_, text, _ := strings.Cut(strings.TrimSpace(<-first), ": ")
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		p.stop()
		t.Fatalf("the program does not say where it listens but %q:\n%s", text, p.log.Bytes())
	}
	p.url = "http://" + u.Host
	return p
}

// terminate ends the program by SIGTERM, as an administrator does.
func (p *program) terminate() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-p.ended:
	case <-time.After(stopTime):
		p.kill()
		p.t.Errorf("the program did not stop within %v of SIGTERM", stopTime)
	}
}

// kill ends the program as a power cut does, as far as a process can tell. It
// returns when that was.
func (p *program) kill() time.Time {
	at := time.Now()
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.ended
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
