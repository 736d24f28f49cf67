package netlab

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// need fails a test on a machine that cannot build labs, and says why.
func need(t *testing.T) {
	t.Helper()
	if err := Check(); err != nil {
		t.Fatal(err)
	}
}

func build(t *testing.T, name string) *Lab {
	t.Helper()
	need(t)
	p, err := FindProfile(name)
	if err != nil {
		t.Fatal(err)
	}
	l, err := New(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("remove network: %v", err)
		}
	})
	return l
}

func TestEachNATIsWhatItSays(t *testing.T) {
	for _, name := range []string{"open", "fullcone", "addrcone", "portcone", "symmetric", "shortmap"} {
		t.Run(name, func(t *testing.T) {
			l := build(t, name)
			got, err := l.ProbeNAT()
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("seen as %v: mapping %q, filtering %q", got.Mapped, got.Mapping, got.Filtering)
			if want := l.Profile; got.Mapping != want.Mapping || got.Filtering != want.Filtering {
				t.Errorf("mapping %q, filtering %q; want %q, %q", got.Mapping, got.Filtering, want.Mapping, want.Filtering)
			}
		})
	}
}

func TestAllProfilesCanBeBuiltAndLeaveNothing(t *testing.T) {
	for _, p := range Profiles() {
		t.Run(p.Name, func(t *testing.T) {
			l := build(t, p.Name)
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			out, err := run(t.Context(), "ip", "netns", "list")
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(out, string(l.Client)) || strings.Contains(out, string(l.Server)) {
				t.Errorf("namespaces are left:\n%s", out)
			}
			if _, err := os.Stat(l.Client.etc()); err == nil {
				t.Errorf("%s is left", l.Client.etc())
			}
		})
	}
}

func TestWhatACrashedLabLeftIsRemoved(t *testing.T) {
	need(t)
	gone := exec.CommandContext(t.Context(), "true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	left := Namespace(fmt.Sprintf("%s%d-left-cli", prefix, gone.Process.Pid))
	if err := left.add(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := left.setHosts(""); err != nil {
		t.Fatal(err)
	}
	build(t, "open")
	if _, err := os.Stat("/run/netns/" + string(left)); err == nil {
		t.Errorf("%s is still there", left)
	}
}

// TestASlowWireIsSlow sends 250 kB through 1 Mbit/s: 2 s, and 100 ms on the way.
func TestASlowWireIsSlow(t *testing.T) {
	l := build(t, "slow1m")
	listener, err := l.Server.Listen("tcp", ServerIPv4+":443")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	const size = 250_000
	received := make(chan time.Time, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		buf, n := make([]byte, 64<<10), 0
		for n < size {
			m, err := conn.Read(buf)
			if err != nil {
				return
			}
			n += m
		}
		received <- time.Now()
	}()
	begin := time.Now()
	conn, err := l.Client.Dial(t.Context(), "tcp", ServerIPv4+":443")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if rtt := time.Since(begin); rtt < 190*time.Millisecond || rtt > 600*time.Millisecond {
		t.Errorf("the handshake took %v, want about 200ms", rtt)
	}
	if _, err := conn.Write(make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	select {
	case at := <-received:
		if took := at.Sub(begin); took < 2*time.Second || took > 6*time.Second {
			t.Errorf("%d bytes took %v, want 2s to 6s", size, took)
		}
	case <-time.After(20 * time.Second):
		t.Error("the bytes never arrive")
	}
}
