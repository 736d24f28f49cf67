package attack

import (
	"context"
	"maps"
	"net/netip"
	"strings"
	"testing"
	"time"

	"consilium/internal/testserver"
)

// Secrets of the servers under attack.
const (
	keyID      = "mis"
	keySecret  = "a secret of the attack tests, long enough"
	turnSecret = "a TURN secret of the attack tests, long enough"
	realm      = "consilium"
)

// child is a running server.
type child struct {
	*testserver.Server
	t     *testing.T
	tcp   netip.AddrPort // of everything over TCP
	media netip.AddrPort // UDP
	turn  netip.AddrPort // UDP
}

// options are keys of the configuration, given by the environment.
type options map[string]string

// serve starts a server on loopback, with ports that the kernel chooses, and
// stops it with the test.
func serve(t *testing.T, keys options) *child {
	t.Helper()
	all := options{
		"keys." + keyID + ".secret": keySecret,
		"turn.secret":               turnSecret, "turn.realm": realm, "recording.enabled": "false",
	}
	maps.Copy(all, keys)
	s := testserver.Start(t, testserver.Config{
		Binary: program, Keys: all, Forbidden: []string{"goroutine ", keySecret, turnSecret},
	})
	c := &child{Server: s, t: t, tcp: s.TCP, media: s.Media}
	c.turn = c.turnAddress()
	return c
}

func (c *child) logged() string { return c.Log() }

// logLines counts the lines of the log so far.
func (c *child) logLines() int { return strings.Count(c.Log(), "\n") }

// stop ends the server and returns how long that took.
func (c *child) stop() time.Duration {
	c.t.Helper()
	return c.Stop()
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	return testserver.Within(t, d)
}

func eventually(t *testing.T, d time.Duration, what string, look func() bool) {
	t.Helper()
	testserver.Eventually(t, d, what, look)
}

// pause lets d pass: for what must not happen meanwhile.
func pause(d time.Duration) { <-time.After(d) }
