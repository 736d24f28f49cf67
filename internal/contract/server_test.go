package contract

import (
	"context"
	"fmt"
	"maps"
	"net"
	"os/exec"
	"testing"
	"time"

	"consilium/internal/testserver"
)

// Keys of the servers under test.
const (
	keyID      = "mis"
	keySecret  = "a secret of the contract tests, long enough"
	hookSecret = "whsec_Y29uc2lsaXVtIGNvbnRyYWN0IHRlc3RzIHNlY3JldA=="
)

// child is a running server.
type child struct {
	*testserver.Server
	t     *testing.T
	data  string
	cmd   *exec.Cmd
	ended chan struct{} // closed when the process has ended and its log is read
}

// options are keys of the configuration, given by the environment, and the
// file under "config".
type options map[string]string

// serve starts a server on loopback with ports that the kernel chooses, and
// stops it with the test.
func serve(t *testing.T, keys options) *child {
	t.Helper()
	return serveIn(t, "", keys)
}

// serveIn is serve with a data directory, which may have been used before.
func serveIn(t *testing.T, data string, keys options) *child {
	t.Helper()
	return serveBy(t, data, keys, exec.Command)
}

// serveBy is serveIn with a choice of how the program is started.
func serveBy(t *testing.T, data string, keys options, start func(name string, args ...string) *exec.Cmd) *child {
	t.Helper()
	all := options{"keys." + keyID + ".secret": keySecret, "recording.min_free": "1MiB"}
	maps.Copy(all, keys)
	delete(all, "config")
	s := testserver.Start(t, testserver.Config{
		Binary: binary, Data: data, Keys: all, File: keys["config"], Command: start,
		Forbidden: []string{keySecret, hookSecret},
	})
	return &child{Server: s, t: t, data: s.Data, cmd: s.Cmd, ended: s.Ended}
}

func (c *child) logged() string { return c.Log() }

// stop ends the server by SIGTERM and checks that it ends in time and well.
func (c *child) stop() {
	c.t.Helper()
	c.Stop()
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

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	return testserver.Within(t, d)
}

func eventually(t *testing.T, d time.Duration, what string, look func() bool) time.Time {
	t.Helper()
	return testserver.Eventually(t, d, what, look)
}
