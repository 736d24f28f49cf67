package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"consilium/internal/auth"
	"consilium/internal/config"
)

// fakeServer is ready when told and stops with its context.
type fakeServer struct {
	ready   chan struct{}
	reloads chan config.Config
	err     error // of Run
}

func newFakeServer() *fakeServer {
	return &fakeServer{ready: make(chan struct{}), reloads: make(chan config.Config, 1)}
}

func (s *fakeServer) Ready() <-chan struct{} { return s.ready }

func (s *fakeServer) Address() string { return "127.0.0.1:8080" }

func (s *fakeServer) Run(ctx context.Context) error {
	if s.err != nil {
		return s.err
	}
	<-ctx.Done()
	return nil
}

func (s *fakeServer) Reload(cfg config.Config) error {
	s.reloads <- cfg
	return nil
}

// lines is a stdout that hands over what is written to it.
type lines chan string

func (l lines) Write(b []byte) (int, error) {
	l <- string(b)
	return len(b), nil
}

// serving runs `serve` with a fake server and returns its exit code when it
// ends.
func serving(t *testing.T, srv *fakeServer, stdout io.Writer, stderr io.Writer, args ...string) (code <-chan int, cancel context.CancelFunc) {
	t.Helper()
	p := &program{stdout: stdout, stderr: stderr, newServer: func(config.Config, *slog.Logger) (runner, error) { return srv, nil }}
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	ended := make(chan int, 1)
	go func() { ended <- p.run(ctx, append([]string{"serve"}, args...)) }()
	return ended, cancel
}

func wait[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	var v T
	select {
	case v = <-c:
	case <-time.After(10 * time.Second):
		t.Fatalf("waited 10 s for %s", what)
	}
	return v
}

func TestServeDevPrintsTwoLinksOnceReady(t *testing.T) {
	srv, stdout := newFakeServer(), make(lines, 10)
	ended, cancel := serving(t, srv, stdout, io.Discard, "--dev")
	select {
	case line := <-stdout:
		t.Fatalf("printed %q before it was ready", line)
	default:
	}
	close(srv.ready)
	for _, want := range []struct {
		prefix string
		role   auth.Role
	}{
		{"doctor: http://127.0.0.1:8080/r/demo#", auth.RoleDoctor},
		{"patient: http://127.0.0.1:8080/r/demo#", auth.RolePatient},
	} {
		line := wait(t, "a link", stdout)
		token, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), want.prefix)
		if !ok {
			t.Fatalf("got %q, want %q...", line, want.prefix)
		}
		c, err := devAuthority(t).VerifyJoin(token)
		if err != nil {
			t.Fatal(err)
		}
		if left := time.Until(c.Expires); c.Role != want.role || left < 23*time.Hour || left > 24*time.Hour {
			t.Errorf("got role %s for %v, want %s for 24 h", c.Role, left, want.role)
		}
	}
	cancel()
	if code := wait(t, "the end", ended); code != exitDone {
		t.Errorf("exit code %d", code)
	}
	if len(stdout) > 0 {
		t.Errorf("printed a third line: %q", <-stdout)
	}
}

func TestServeWithoutDevPrintsNothingToStdout(t *testing.T) {
	srv, stdout := newFakeServer(), make(lines, 10)
	close(srv.ready)
	file := writeConfig(t, "http: {address: ['127.0.0.1:0']}\nkeys: {mis: {secret: 0123456789abcdef0123456789abcdef}}\n")
	ended, cancel := serving(t, srv, stdout, io.Discard, "--config", file)
	cancel()
	if code := wait(t, "the end", ended); code != exitDone || len(stdout) > 0 {
		t.Errorf("exit code %d, %d lines", code, len(stdout))
	}
}

func TestServeFailsWhenTheServerFails(t *testing.T) {
	srv := newFakeServer()
	srv.err = errors.New("port 8080 is taken\nstop the other one")
	var stderr bytes.Buffer
	ended, _ := serving(t, srv, io.Discard, &stderr, "--dev")
	if code := wait(t, "the end", ended); code != exitFailed {
		t.Errorf("exit code %d, want %d", code, exitFailed)
	}
	if stderr.String() != "consilium: port 8080 is taken; stop the other one\n" {
		t.Errorf("got stderr %q", stderr.String())
	}
}

func TestServeReloadsOnSIGHUPAndStopsOnSIGTERM(t *testing.T) {
	srv, stdout := newFakeServer(), make(lines, 10)
	file := writeConfig(t, "log: {level: error}\n")
	ended, _ := serving(t, srv, stdout, io.Discard, "--dev", "--config", file)
	// Signals are caught before the server is made, and the links are printed
	// after it: from here on they can be sent.
	close(srv.ready)
	wait(t, "the doctor's link", stdout)
	wait(t, "the patient's link", stdout)
	if err := os.WriteFile(file, []byte("log: {level: debug}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	send := func(sig syscall.Signal) {
		if err := syscall.Kill(os.Getpid(), sig); err != nil {
			t.Fatal(err)
		}
	}
	send(syscall.SIGHUP)
	if cfg := wait(t, "the reload", srv.reloads); cfg.Log.Level != "debug" {
		t.Errorf("reloaded level %s, want debug", cfg.Log.Level)
	}
	send(syscall.SIGTERM)
	if code := wait(t, "the end", ended); code != exitDone {
		t.Errorf("exit code %d", code)
	}
}

func TestReloadOfABadConfigurationChangesNothing(t *testing.T) {
	srv := newFakeServer()
	var stderr bytes.Buffer
	p := &program{stderr: &stderr}
	level := new(slog.LevelVar)
	file := writeConfig(t, "log: {level: loud}\n")
	reload(p, &source{dev: true, file: file}, srv, level, slog.New(slog.NewTextHandler(&stderr, nil)))
	if len(srv.reloads) > 0 || level.Level() != slog.LevelInfo || !strings.Contains(stderr.String(), "log.level") {
		t.Errorf("reloaded, or said nothing: %q", stderr.String())
	}
}

func TestLinksUseAnAddressThatABrowserCanOpen(t *testing.T) {
	for name, tc := range map[string]struct{ public, mode, address, want string }{
		"loopback":   {"", config.TLSOff, "127.0.0.1:8080", "http://127.0.0.1:8080"},
		"every":      {"", config.TLSOff, "0.0.0.0:81", "http://127.0.0.1:81"},
		"every, v6":  {"", config.TLSOff, "[::]:81", "http://127.0.0.1:81"},
		"v6":         {"", config.TLSOff, "[::1]:81", "http://[::1]:81"},
		"TLS":        {"", config.TLSFiles, "[::1]:81", "https://[::1]:81"},
		"public URL": {"https://x", config.TLSOff, "127.0.0.1:81", "https://x"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := config.Config{HTTP: config.HTTP{PublicURL: tc.public}, TLS: config.TLS{Mode: tc.mode}}
			if got, err := baseURL(cfg, tc.address); err != nil || got != tc.want {
				t.Errorf("got %q, %v, want %q", got, err, tc.want)
			}
		})
	}
}
