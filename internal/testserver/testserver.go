// Package testserver runs the built binary for tests that see it from outside:
// it builds the program once for a test binary, starts servers of it on
// loopback with ports that the kernel chooses, keeps their logs, and stops them
// with the test. Only tests import it.
package testserver

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
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

const (
	readyTime = 30 * time.Second
	// StopTime is the stated bound of a drain.
	StopTime = 30 * time.Second
)

// Main builds the program, says where it is and runs the tests of m. A TestMain
// gives its result to os.Exit.
func Main(m *testing.M, built func(path string)) int {
	dir, err := os.MkdirTemp("", "consilium-test")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "consilium")
	build := exec.Command("go", "build", "-o", path, "consilium/cmd/consilium")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the binary: %v\n%s", err, out)
		return 1
	}
	built(path)
	return m.Run()
}

// Config of a server. Binary is required.
type Config struct {
	Binary string
	// Data is the data directory; "": a new one.
	Data string
	// Keys of the configuration, given by the environment. They go before the
	// defaults: everything on 127.0.0.1, ports chosen by the kernel.
	Keys map[string]string
	// File is a configuration file; "": none.
	File string
	// Command starts the program another way; nil: exec.Command.
	Command func(name string, args ...string) *exec.Cmd
	// Forbidden is what its log must never have.
	Forbidden []string
}

// Server is a running server.
type Server struct {
	URL   string         // of HTTP
	TCP   netip.AddrPort // of everything over TCP
	Media netip.AddrPort // UDP
	Data  string
	Cmd   *exec.Cmd
	Ended chan struct{} // closed when the process has ended and its log is read

	t         *testing.T
	forbidden []string
	mu        sync.Mutex
	log       strings.Builder
}

// ready is the record of the log that says where the server listens.
type ready struct {
	Msg   string           `json:"msg"`
	HTTP  netip.AddrPort   `json:"http"`
	Media []netip.AddrPort `json:"media"`
}

// Start starts a server and waits until it is ready. It is stopped with the
// test.
func Start(t *testing.T, cfg Config) *Server {
	t.Helper()
	if cfg.Data == "" {
		cfg.Data = filepath.Join(t.TempDir(), "data")
	}
	if cfg.Command == nil {
		cfg.Command = exec.Command
	}
	keys := map[string]string{
		"data": cfg.Data, "http.address": "127.0.0.1:0", "log.format": "json",
		"media.udp_port": "0", "media.loopback": "true", "media.interfaces.include": "lo", "media.families": "ipv4",
		"turn.udp_port": "0",
	}
	maps.Copy(keys, cfg.Keys)
	args := []string{"serve"}
	if cfg.File != "" {
		args = append(args, "--config", cfg.File)
	}
	s := &Server{t: t, Data: cfg.Data, Cmd: cfg.Command(cfg.Binary, args...), Ended: make(chan struct{}), forbidden: cfg.Forbidden}
	s.Cmd.Dir, s.Cmd.Env = t.TempDir(), []string{"PATH=" + os.Getenv("PATH"), "GOTRACEBACK=all"}
	for key, value := range keys {
		name := "CONSILIUM_" + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
		s.Cmd.Env = append(s.Cmd.Env, name+"="+value)
	}
	stderr, err := s.Cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Cmd.Start(); err != nil {
		t.Fatal(err)
	}
	listens := make(chan ready, 1)
	go s.read(stderr, listens)
	t.Cleanup(s.cleanup)
	select {
	case r := <-listens:
		s.TCP, s.Media = r.HTTP, r.Media[0]
	case <-s.Ended:
		t.Fatalf("server ended before it was ready:\n%s", s.Log())
	case <-time.After(readyTime):
		t.Fatalf("server is not ready after %v:\n%s", readyTime, s.Log())
	}
	scheme := "http://"
	if keys["tls.mode"] == "files" {
		scheme = "https://"
	}
	s.URL = scheme + s.TCP.String()
	return s
}

// read keeps the log and looks for the record that says that the server is
// ready. It waits for the end of the process.
func (s *Server) read(stderr io.Reader, listens chan<- ready) {
	defer close(s.Ended)
	lines := bufio.NewScanner(stderr)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		s.mu.Lock()
		s.log.WriteString(lines.Text() + "\n")
		s.mu.Unlock()
		var r ready
		if json.Unmarshal(lines.Bytes(), &r) == nil && r.Msg == "ready" && len(r.Media) > 0 {
			listens <- r
		}
	}
	_ = s.Cmd.Wait()
}

// Log is what the server has said so far.
func (s *Server) Log() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

// cleanup stops the server unless the test did, and reads its log for what must
// never be there.
func (s *Server) cleanup() {
	s.Stop()
	log := s.Log()
	for _, bad := range append([]string{"panic"}, s.forbidden...) {
		if strings.Contains(log, bad) {
			s.t.Errorf("the log of the server has %q", bad)
		}
	}
	if s.t.Failed() {
		s.t.Logf("end of the server's log:\n%s", log[max(0, len(log)-8000):])
	}
}

// Stop ends the server by SIGTERM, checks that it ends in time and well, and
// returns how long that took. Of a process that has ended it says nothing.
func (s *Server) Stop() time.Duration {
	s.t.Helper()
	select {
	case <-s.Ended:
		return 0
	default:
	}
	begin := time.Now()
	_ = s.Cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.Ended:
	case <-time.After(StopTime):
		_ = s.Cmd.Process.Signal(syscall.SIGQUIT)
		<-s.Ended
		s.t.Errorf("server did not stop within %v of SIGTERM", StopTime)
	}
	if code := s.Cmd.ProcessState.ExitCode(); code != 0 {
		s.t.Errorf("exit code %d after SIGTERM, want 0", code)
	}
	return time.Since(begin)
}

// Within returns a context that ends the test's patience.
func Within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// Eventually waits until look says true, and returns when it did; what says
// what was waited for.
func Eventually(t *testing.T, d time.Duration, what string, look func() bool) time.Time {
	t.Helper()
	ctx := Within(t, d)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !look() {
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not within %v", what, d)
		case <-tick.C:
		}
	}
	return time.Now()
}
