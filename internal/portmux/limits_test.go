package portmux

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime/debug"
	"sync"
	"testing"
	"time"

	"github.com/pion/stun/v4"
)

func TestUndecidedConnectionsAreClosedByTheDeadline(t *testing.T) {
	const deadline = 300 * time.Millisecond
	m, addr := serve(t, Config{Deadline: deadline})
	allocate := stunRequest(t, stun.MethodAllocate)

	start := time.Now()
	silent, oneByte, slow := dial(t, addr), dial(t, addr), dial(t, addr)
	send(t, oneByte, allocate[:1])
	var wg sync.WaitGroup
	wg.Go(func() { // a valid header at a byte per 100 ms would take 800 ms
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for _, b := range allocate {
			if _, err := slow.Write([]byte{b}); err != nil {
				return
			}
			<-tick.C
		}
	})
	for _, c := range []net.Conn{silent, oneByte, slow} {
		closedWithin(t, c, 5*time.Second)
	}
	if took := time.Since(start); took < deadline || took > deadline+2*time.Second {
		t.Errorf("closed after %v, want %v", took, deadline)
	}
	_ = slow.Close()
	wg.Wait()
	if got := m.Stats().Dropped["silent"]; got != 3 {
		t.Errorf("%d counted as silent, want 3", got)
	}
}

func TestSilentConnectionsOfOneAddressAreCappedAndOthersStillServed(t *testing.T) {
	m, addr := serve(t, Config{UndecidedPerAddress: 5})
	var silent []net.Conn
	for range 5 {
		silent = append(silent, dial(t, addr))
	}
	for range 20 {
		c, err := net.Dial("tcp", addr) // the reset may come before Dial returns
		if err != nil {
			continue
		}
		closedWithin(t, c, 5*time.Second)
		_ = c.Close()
	}
	if got := m.Stats().Dropped["cap"]; got != 20 {
		t.Errorf("%d counted, want 20", got)
	}
	other := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 9)}}
	c, err := other.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	allocate := stunRequest(t, stun.MethodAllocate)
	send(t, c, allocate)
	accept(t, m.TURN(), allocate)

	_ = silent[0].Close() // frees a place as soon as the Mux has noticed
	deadline := time.Now().Add(5 * time.Second)
	for {
		if staysOpen(addr, allocate) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no place became free")
		}
	}
}

func TestMediaConnectionsOfOneAddressAreCapped(t *testing.T) {
	m, addr := serve(t, Config{MediaPerAddress: 3})
	allocate := stunRequest(t, stun.MethodAllocate)
	var taken []net.Conn
	for range 3 {
		send(t, dial(t, addr), allocate)
		taken = append(taken, accept(t, m.TURN(), allocate))
	}
	more := dial(t, addr)
	send(t, more, allocate)
	closedWithin(t, more, 5*time.Second)
	if got := m.Stats().Dropped["media_cap"]; got != 1 {
		t.Errorf("%d counted, want 1", got)
	}
	other := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 9)}}
	c, err := other.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	send(t, c, allocate)
	accept(t, m.TURN(), allocate)
	_, _ = taken[0].Close(), taken[0].Close() // once counts
	for _, want := range []bool{true, false} {
		next := dial(t, addr)
		send(t, next, allocate)
		if !want {
			closedWithin(t, next, 5*time.Second)
			continue
		}
		accept(t, m.TURN(), allocate)
	}
}

func staysOpen(addr string, b []byte) bool {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return false
	}
	defer c.Close()
	if _, err := c.Write(b); err != nil {
		return false
	}
	_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	_, err = c.Read(make([]byte, 1))
	return isTimeout(err)
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

func TestNetworksAreCountedAsOneClient(t *testing.T) {
	tests := map[string]struct {
		a, b string
		same bool
	}{
		"IPv4 addresses differ":     {"192.0.2.1", "192.0.2.2", false},
		"mapped IPv4 is IPv4":       {"192.0.2.1", "::ffff:192.0.2.1", true},
		"one IPv6 /64":              {"2001:db8::1", "2001:db8::ffff:1", true},
		"neighbouring IPv6 /64":     {"2001:db8::1", "2001:db8:0:1::1", false},
		"zones of a link-local one": {"fe80::1%eth0", "fe80::1%eth1", true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := client(netip.MustParseAddr(tc.a)) == client(netip.MustParseAddr(tc.b)); got != tc.same {
				t.Errorf("same client: %v, want %v", got, tc.same)
			}
		})
	}
}

func TestClientThatDoesNotReadIsCutOff(t *testing.T) {
	m, addr := serve(t, Config{WriteLimit: 200 * time.Millisecond})
	c := dial(t, addr)
	allocate := stunRequest(t, stun.MethodAllocate)
	send(t, c, allocate)
	in := accept(t, m.TURN(), allocate)
	start := time.Now()
	for {
		if _, err := in.Write(make([]byte, 64<<10)); err != nil {
			if !errors.Is(err, net.ErrClosed) {
				t.Errorf("write: %v, want the connection closed", err)
			}
			break
		}
		if time.Since(start) > 10*time.Second {
			t.Fatal("writes to a client that does not read go on for ever")
		}
	}
	if _, err := in.Read(make([]byte, 1)); err == nil {
		t.Error("the connection is still readable")
	}
}

func TestConnectionsNobodyAcceptsAreClosed(t *testing.T) {
	m, addr := serve(t, Config{Deadline: 300 * time.Millisecond})
	allocate := stunRequest(t, stun.MethodAllocate)
	var conns []net.Conn
	for range backlog + 1 {
		c := dial(t, addr)
		send(t, c, allocate)
		conns = append(conns, c)
	}
	deadline := time.After(5 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for m.Stats().Dropped["busy"] == 0 {
		select {
		case <-deadline:
			t.Fatal("the connection beyond the backlog was not closed")
		case <-tick.C:
		}
	}
	_ = conns
}

func TestFailedHandshakesLeaveNoDescriptors(t *testing.T) {
	m, addr := serve(t, Config{TLS: &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}}})
	descriptors := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	// The collector would close what was forgotten.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	before := descriptors()
	const attempts = 200
	for range attempts {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		send(t, c, append([]byte{0x16, 3, 1, 0, 200}, make([]byte, 200)...))
		closedAfterAlert(t, c)
	}
	if got := m.Stats().Dropped["handshake"]; got != attempts {
		t.Errorf("%d counted, want %d", got, attempts)
	}
	deadline := time.Now().Add(5 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for ; descriptors() > before; <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("%d descriptors before, %d after %d failed handshakes", before, descriptors(), attempts)
		}
	}
}

// closedAfterAlert reads to the end, which must come soon, and closes c.
func closedAfterAlert(t *testing.T, c net.Conn) {
	t.Helper()
	defer c.Close()
	if err := c.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, c); isTimeout(err) {
		t.Fatal("a failed handshake stays open")
	}
}
