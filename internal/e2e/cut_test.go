package e2e

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"consilium/internal/auth"
	"consilium/internal/browser"
)

// cutter is a TCP proxy in front of a server: it can cut every connection and
// refuse new ones, while media goes on over UDP.
type cutter struct {
	listener net.Listener
	target   string
	wg       sync.WaitGroup

	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]bool
}

func newCutter(t *testing.T, target string) *cutter {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{listener: listener, target: target, conns: map[net.Conn]bool{}}
	c.wg.Go(c.accept)
	t.Cleanup(func() {
		listener.Close()
		c.set(true)
		c.wg.Wait()
	})
	return c
}

func (c *cutter) accept() {
	for {
		client, err := c.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		server, err := net.Dial("tcp", c.target)
		if err != nil || !c.keep(client, server) {
			client.Close()
			continue
		}
		for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
			c.wg.Go(func() {
				_, _ = io.Copy(way[0], way[1]) // ends when either side does
				client.Close()
				server.Close()
			})
		}
	}
}

// keep notes a pair of connections, unless they are to be cut.
func (c *cutter) keep(client, server net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cut {
		server.Close()
		return false
	}
	c.conns[client], c.conns[server] = true, true
	return true
}

func (c *cutter) set(cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = cut
	if cut {
		for conn := range c.conns {
			conn.Close()
		}
		clear(c.conns)
	}
}

func TestMediaGoesOnWhileTheSocketIsCut(t *testing.T) {
	l := start(t, nil)
	c := newCutter(t, l.server.Address())
	b := browser.Start(t, browser.Options{})
	l.bot("room", "patient", auth.RolePatient, nil)
	l.url = "http://" + c.listener.Addr().String()
	doctor := l.enter(b, "room", "doctor", auth.RoleDoctor)
	doctor.sees("patient")
	doctor.WatchFrames(picture("patient", "cam"))
	c.set(true)
	timer := time.NewTimer(5 * time.Second)
	defer timer.Stop()
	doctor.WaitFor("the page to notice", stateIs("reconnecting"))
	<-timer.C
	c.set(false)
	doctor.WaitFor("the socket to be resumed", stateIs("connected"))
	frames, gap := doctor.FrameGap(picture("patient", "cam"))
	if frames < 30 || gap > 500*time.Millisecond {
		t.Errorf("%d frames, longest gap %v; want none above 500ms", frames, gap)
	}
	if n := doctor.tiles(); n != 1 {
		t.Errorf("%d tiles, want 1", n)
	}
}

// stateIs is the JavaScript that says whether the page shows this state.
func stateIs(state string) string {
	return strings.ReplaceAll(`document.querySelector('[data-testid=connection-state]').dataset.state === 'X'`, "X", state)
}

func TestAReloadComesBackWithoutAClickAndWithOneTile(t *testing.T) {
	t.Parallel()
	for _, kind := range []browser.Kind{browser.Chromium, browser.Firefox} {
		t.Run(string(kind), func(t *testing.T) {
			l := start(t, nil)
			b := browser.Start(t, browser.Options{Kind: kind})
			other := browser.Start(t, browser.Options{})
			patient := l.enter(other, "room", "patient", auth.RolePatient)
			doctor := l.enter(b, "room", "doctor", auth.RoleDoctor)
			patient.sees("doctor")
			doctor.Reload()
			doctor.WaitVisible("call")
			doctor.sees("patient")
			doctor.hears()
			patient.sees("doctor")
			if n := patient.tiles(); n != 1 {
				t.Errorf("the patient has %d tiles, want 1", n)
			}
		})
	}
}
