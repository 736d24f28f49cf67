package contract

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pion/turn/v5"
)

// turnClient opens a client of the TURN server, over UDP or TCP.
func (c *child) turnClient(transport string, access turnAccess) *turn.Client {
	c.t.Helper()
	address := "127.0.0.1:" + access.port(c.t, "turn", transport)
	var conn net.PacketConn
	if transport == "tcp" {
		stream, err := net.Dial("tcp4", address)
		if err != nil {
			c.t.Fatal(err)
		}
		conn = turn.NewSTUNConn(stream)
	} else {
		var err error
		if conn, err = net.ListenPacket("udp4", "127.0.0.1:0"); err != nil {
			c.t.Fatal(err)
		}
	}
	client, err := turn.NewClient(&turn.ClientConfig{
		TURNServerAddr: address, Conn: conn, Realm: "consilium",
		Username: access.Username, Password: access.Password,
	})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { client.Close(); _ = conn.Close() })
	if err := client.Listen(); err != nil {
		c.t.Fatal(err)
	}
	return client
}

// mayAllocate reports whether the TURN server opens a relay for a credential.
func (c *child) mayAllocate(transport string, access turnAccess) bool {
	c.t.Helper()
	relay, err := c.turnClient(transport, access).Allocate()
	if err != nil {
		if !strings.Contains(err.Error(), "401") {
			c.t.Errorf("Allocate over %s: %v, want success or 401", transport, err)
		}
		return false
	}
	if err := relay.Close(); err != nil {
		c.t.Error(err)
	}
	return true
}

func TestTURNSecretsRotateUnderRunningRelays(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "config.yaml")
	write := func(current, previous string) {
		t.Helper()
		text := fmt.Sprintf("turn:\n  secret: %q\n  previous_secret: %q\n", current, previous)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const first, second, third = "the first secret of three, long enough", "the second secret of three, long enough", "the third secret of three, long enough"
	write(first, "")
	c := serve(t, options{"config": file})
	reloads := 0
	rotate := func(current, previous string) {
		t.Helper()
		write(current, previous)
		reloads++
		_ = c.cmd.Process.Signal(syscall.SIGHUP)
		eventually(t, 5*time.Second, "the new secret", func() bool { return strings.Count(c.logged(), "configuration reloaded") == reloads })
	}

	old := c.turnAccess("tv-1")
	running := map[string]*turn.Client{"udp": c.turnClient("udp", old), "tcp": c.turnClient("tcp", old)}
	for transport, client := range running {
		if _, err := client.Allocate(); err != nil {
			t.Fatalf("Allocate over %s: %v", transport, err)
		}
	}
	wantRunning := func(when string) {
		t.Helper()
		for transport, client := range running {
			if err := client.CreatePermission(&net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9}); err != nil {
				t.Errorf("%s, the relay over %s: %v", when, transport, err)
			}
		}
	}
	wantMay := func(when string, access turnAccess, want bool) {
		t.Helper()
		for _, transport := range []string{"udp", "tcp"} {
			if got := c.mayAllocate(transport, access); got != want {
				t.Errorf("%s: a new relay over %s is granted: %v, want %v", when, transport, got, want)
			}
		}
	}
	wantRunning("at the start")
	rotate(second, first)
	between := c.turnAccess("tv-2")
	if between.Password == old.Password {
		t.Error("the password is still made with the old secret")
	}
	wantRunning("after a rotation")
	wantMay("a credential of the previous secret", old, true)
	wantMay("a credential of the current secret", between, true)
	rotate(third, second)
	wantRunning("after two rotations")
	wantMay("a credential of two rotations ago", old, false)
	wantMay("a credential of the previous secret", between, true)
	rotate(third, "")
	wantRunning("after the end of the rotation")
	wantMay("a credential of the secret before the last", between, false)
	eventually(t, 5*time.Second, "only the two relays of the start are open", func() bool {
		return strings.Contains(c.ask("GET", "/metrics", apiKey(), "").body, "\nconsilium_turn_allocations 2\n")
	})
}
