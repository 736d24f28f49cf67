package attack

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Secrets of the servers under attack.
const (
	keyID      = "mis"
	keySecret  = "a secret of the attack tests, long enough"
	turnSecret = "a TURN secret of the attack tests, long enough"
	realm      = "consilium"
)

// stopTime is how long a stop may take.
const stopTime = 30 * time.Second

// child is a running server.
type child struct {
	t     *testing.T
	URL   string         // of HTTP
	tcp   netip.AddrPort // of everything over TCP
	media netip.AddrPort // UDP
	turn  netip.AddrPort // UDP
	cmd   *exec.Cmd

	ended chan struct{} // closed when the process has ended and its log is read
	mu    sync.Mutex
	log   strings.Builder
}

// options are keys of the configuration, given by the environment.
type options map[string]string

// ready is the record of the log that says where the server listens.
type ready struct {
	Msg   string           `json:"msg"`
	HTTP  netip.AddrPort   `json:"http"`
	Media []netip.AddrPort `json:"media"`
}

// serve starts a server on loopback, with ports that the kernel chooses, and
// stops it with the test.
func serve(t *testing.T, keys options) *child {
	t.Helper()
	all := options{
		"data": filepath.Join(t.TempDir(), "data"), "http.address": "127.0.0.1:0", "log.format": "json",
		"keys." + keyID + ".secret": keySecret,
		"media.udp_port":            "0", "media.loopback": "true",
		"media.interfaces.include": "lo", "media.families": "ipv4",
		"turn.udp_port": "0", "turn.secret": turnSecret, "turn.realm": realm, "recording.enabled": "false",
	}
	maps.Copy(all, keys)
	env := []string{"PATH=" + os.Getenv("PATH"), "GOTRACEBACK=all"}
	for key, value := range all {
		env = append(env, "CONSILIUM_"+strings.ToUpper(strings.ReplaceAll(key, ".", "_"))+"="+value)
	}
	c := &child{t: t, ended: make(chan struct{})}
	c.cmd = exec.Command(program, "serve")
	c.cmd.Dir, c.cmd.Env = t.TempDir(), env
	stderr, err := c.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	listens := make(chan ready, 1)
	go c.read(stderr, listens)
	t.Cleanup(c.cleanup)
	select {
	case r := <-listens:
		c.tcp, c.media = r.HTTP, r.Media[0]
	case <-c.ended:
		t.Fatalf("server ended before it was ready:\n%s", c.logged())
	case <-time.After(30 * time.Second):
		t.Fatalf("server is not ready after 30 s:\n%s", c.logged())
	}
	scheme := "http://"
	if all["tls.mode"] == "files" {
		scheme = "https://"
	}
	c.URL = scheme + c.tcp.String()
	c.turn = c.turnAddress()
	return c
}

// read keeps the log and looks for the record that says that the server is
// ready. It waits for the end of the process.
func (c *child) read(stderr io.Reader, listens chan<- ready) {
	defer close(c.ended)
	lines := bufio.NewScanner(stderr)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		c.mu.Lock()
		c.log.WriteString(lines.Text() + "\n")
		c.mu.Unlock()
		var r ready
		if json.Unmarshal(lines.Bytes(), &r) == nil && r.Msg == "ready" {
			listens <- r
		}
	}
	_ = c.cmd.Wait()
}

func (c *child) logged() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.log.String()
}

// logLines counts the lines of the log so far.
func (c *child) logLines() int { return strings.Count(c.logged(), "\n") }

// cleanup stops the server unless the test did, and reads its log for what must
// never be there.
func (c *child) cleanup() {
	c.stop()
	log := c.logged()
	for _, bad := range []string{"panic", "goroutine ", keySecret, turnSecret} {
		if strings.Contains(log, bad) {
			c.t.Errorf("the log of the server has %q", bad)
		}
	}
	if c.t.Failed() {
		c.t.Logf("end of the server's log:\n%s", log[max(0, len(log)-8000):])
	}
}

// stop ends the server by SIGTERM, checks that it ends in time and well, and
// returns how long that took.
func (c *child) stop() time.Duration {
	c.t.Helper()
	select {
	case <-c.ended:
		return 0
	default:
	}
	begin := time.Now()
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-c.ended:
	case <-time.After(stopTime):
		_ = c.cmd.Process.Signal(syscall.SIGQUIT)
		<-c.ended
		c.t.Errorf("server did not stop within %v of SIGTERM", stopTime)
	}
	if code := c.cmd.ProcessState.ExitCode(); code != 0 {
		c.t.Errorf("exit code %d after SIGTERM, want 0", code)
	}
	return time.Since(begin)
}

// within returns a context that ends the test's patience.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// eventually waits until look says true; what says what was waited for.
func eventually(t *testing.T, d time.Duration, what string, look func() bool) {
	t.Helper()
	ctx := within(t, d)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !look() {
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not within %v", what, d)
		case <-tick.C:
		}
	}
}

// pause lets d pass: for what must not happen meanwhile.
func pause(d time.Duration) { <-time.After(d) }
