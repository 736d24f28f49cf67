package contract

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Keys of the servers under test.
const (
	keyID      = "mis"
	keySecret  = "a secret of the contract tests, long enough"
	hookSecret = "whsec_Y29uc2lsaXVtIGNvbnRyYWN0IHRlc3RzIHNlY3JldA=="
)

// stopTime is how long a stop may take: the stated bound of a drain.
const stopTime = 30 * time.Second

// child is a running server.
type child struct {
	t    *testing.T
	URL  string // of HTTP
	data string
	cmd  *exec.Cmd

	ended chan struct{} // closed when the process has ended and its log is read
	mu    sync.Mutex
	log   strings.Builder
}

// options are keys of the configuration, given by the environment, and the
// file under "config".
type options map[string]string

// serve starts a server on loopback with ports that the kernel chooses, and
// stops it with the test.
func serve(t *testing.T, keys options) *child {
	t.Helper()
	return serveIn(t, filepath.Join(t.TempDir(), "data"), keys)
}

// serveIn is serve with a data directory, which may have been used before.
func serveIn(t *testing.T, data string, keys options) *child {
	t.Helper()
	return serveBy(t, data, keys, exec.Command)
}

// serveBy is serveIn with a choice of how the program is started.
func serveBy(t *testing.T, data string, keys options, start func(name string, args ...string) *exec.Cmd) *child {
	t.Helper()
	all := options{
		"data": data, "http.address": "127.0.0.1:0", "log.format": "json",
		"keys." + keyID + ".secret": keySecret,
		"media.udp_port":            "0", "media.loopback": "true",
		"media.interfaces.include": "lo", "media.families": "ipv4",
		"turn.udp_port": "0", "recording.min_free": "1MiB",
	}
	maps.Copy(all, keys)
	env := []string{"PATH=" + os.Getenv("PATH"), "GOTRACEBACK=all"}
	delete(all, "config")
	for key, value := range all {
		env = append(env, "CONSILIUM_"+strings.ToUpper(strings.ReplaceAll(key, ".", "_"))+"="+value)
	}
	c := &child{t: t, data: data, ended: make(chan struct{})}
	args := []string{"serve"}
	if keys["config"] != "" {
		args = append(args, "--config", keys["config"])
	}
	c.cmd = start(binary, args...)
	c.cmd.Dir, c.cmd.Env = t.TempDir(), env
	stderr, err := c.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make(chan string, 1)
	go c.read(stderr, ready)
	t.Cleanup(c.cleanup)
	select {
	case c.URL = <-ready:
	case <-c.ended:
		t.Fatalf("server ended before it was ready:\n%s", c.logged())
	case <-time.After(30 * time.Second):
		t.Fatalf("server is not ready after 30 s:\n%s", c.logged())
	}
	return c
}

// read keeps the log and looks for the record that says that the server is
// ready. It waits for the end of the process.
func (c *child) read(stderr io.Reader, ready chan<- string) {
	defer close(c.ended)
	lines := bufio.NewScanner(stderr)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		c.mu.Lock()
		c.log.WriteString(lines.Text() + "\n")
		c.mu.Unlock()
		var record struct {
			Msg  string `json:"msg"`
			HTTP string `json:"http"`
		}
		if json.Unmarshal(lines.Bytes(), &record) == nil && record.Msg == "ready" {
			ready <- "http://" + record.HTTP
		}
	}
	_ = c.cmd.Wait()
}

func (c *child) logged() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.log.String()
}

// cleanup stops the server unless the test did, and reads its log for what must
// never be there.
func (c *child) cleanup() {
	c.stop()
	log := c.logged()
	for _, bad := range []string{"panic", keySecret, hookSecret} {
		if strings.Contains(log, bad) {
			c.t.Errorf("the log of the server has %q:\n%s", bad, log)
		}
	}
	if c.t.Failed() {
		c.t.Logf("log of the server:\n%s", log)
	}
}

// stop ends the server by SIGTERM and checks that it ends in time and well.
func (c *child) stop() {
	c.t.Helper()
	select {
	case <-c.ended:
		return
	default:
	}
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-c.ended:
	case <-time.After(stopTime):
		_ = c.cmd.Process.Signal(syscall.SIGQUIT)
		<-c.ended
		c.t.Errorf("server did not stop within %v of SIGTERM", stopTime)
	}
	if code := c.cmd.ProcessState.ExitCode(); code != 0 {
		c.t.Errorf("exit code %d after SIGTERM, want 0:\n%s", code, c.logged())
	}
}

// freePort returns a port that nobody has just now.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return fmt.Sprint(l.Addr().(*net.TCPAddr).Port)
}

// within returns a context that ends the test's patience.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// eventually waits until look says true; what says what was waited for.
func eventually(t *testing.T, d time.Duration, what string, look func() bool) time.Time {
	t.Helper()
	ctx := within(t, d)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if look() {
			return time.Now()
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not within %v", what, d)
		case <-tick.C:
		}
	}
}
