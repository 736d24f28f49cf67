package portmux

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/pion/stun/v4"

	"consilium/internal/leak"
)

// serve runs a Mux on a loopback port and returns it and its address. It stops
// with the test.
func serve(t *testing.T, cfg Config) (*Mux, string) {
	t.Helper()
	leak.Check(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg.Listeners = []net.Listener{l}
	m, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- m.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ran; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return m, l.Addr().String()
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

func send(t *testing.T, c net.Conn, b []byte) {
	t.Helper()
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
}

// accept takes one connection from l and reads want from it.
func accept(t *testing.T, l net.Listener, want []byte) net.Conn {
	t.Helper()
	type result struct {
		c   net.Conn
		err error
	}
	got := make(chan result, 1)
	go func() { c, err := l.Accept(); got <- result{c, err} }()
	select {
	case r := <-got:
		if r.err != nil {
			t.Fatal(r.err)
		}
		t.Cleanup(func() { _ = r.c.Close() })
		buf := make([]byte, len(want))
		if _, err := io.ReadFull(r.c, buf); err != nil || string(buf) != string(want) {
			t.Fatalf("read %x, %v; want %x", buf, err, want)
		}
		return r.c
	case <-time.After(5 * time.Second):
		t.Fatal("nothing was accepted")
		return nil
	}
}

// closedWithin fails the test unless the other side closes c in that time.
func closedWithin(t *testing.T, c net.Conn, limit time.Duration) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	n, err := c.Read(make([]byte, 100))
	var timeout net.Error
	if err == nil || errors.As(err, &timeout) && timeout.Timeout() {
		t.Errorf("still open after %v: %d bytes, %v", limit, n, err)
	}
}

func TestEachProtocolReachesItsListenerWithAllItsBytes(t *testing.T) {
	m, addr := serve(t, Config{})
	allocate, binding := stunRequest(t, stun.MethodAllocate), rfc4571(stunRequest(t, stun.MethodBinding))
	tests := map[string]struct {
		bytes    []byte
		listener net.Listener
	}{
		"HTTP": {[]byte("GET / HTTP/1.1\r\n\r\n"), m.HTTP()},
		"TURN": {allocate, m.TURN()},
		"ICE":  {binding, m.ICE()},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			c := dial(t, addr)
			send(t, c, tc.bytes)
			in := accept(t, tc.listener, tc.bytes)
			send(t, in, []byte("answer"))
			buf := make([]byte, 6)
			if _, err := io.ReadFull(c, buf); err != nil || string(buf) != "answer" {
				t.Errorf("answer %q, %v", buf, err)
			}
			if got, want := in.RemoteAddr().String(), c.LocalAddr().String(); got != want {
				t.Errorf("remote address %s, want %s", got, want)
			}
		})
		t.Run(name+" one byte at a time", func(t *testing.T) {
			c := dial(t, addr)
			for _, b := range tc.bytes {
				send(t, c, []byte{b})
			}
			accept(t, tc.listener, tc.bytes)
		})
	}
}

func TestHTTPServerAnswersThroughTheMux(t *testing.T) {
	m, addr := serve(t, Config{})
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") })}
	var wg sync.WaitGroup
	wg.Go(func() { _ = server.Serve(m.HTTP()) })
	t.Cleanup(func() { _ = server.Close(); wg.Wait() })
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	resp, err := (&http.Client{Transport: transport}).Get("http://" + addr)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "hello" {
		t.Errorf("body %q, %v", body, err)
	}
}

func TestAddressOfICEIsUnspecifiedWithTheSharedPort(t *testing.T) {
	m, addr := serve(t, Config{})
	ice := m.ICE().Addr().(*net.TCPAddr)
	if !ice.IP.IsUnspecified() || ice.AddrPort().Port() != netip.MustParseAddrPort(addr).Port() {
		t.Errorf("address %v, listening on %s", ice, addr)
	}
	if m.HTTP().Addr().String() != addr || m.TURN().Addr().String() != addr {
		t.Errorf("HTTP %v, TURN %v, want %s", m.HTTP().Addr(), m.TURN().Addr(), addr)
	}
}

func TestHTTPIsClosedWhereItIsNotServed(t *testing.T) {
	asked := make(chan netip.Addr, 1)
	m, addr := serve(t, Config{HTTPAllowed: func(local netip.Addr) bool { asked <- local; return false }})
	c := dial(t, addr)
	send(t, c, []byte("GET / HTTP/1.1\r\n\r\n"))
	closedWithin(t, c, 5*time.Second)
	if local := <-asked; local != netip.MustParseAddr("127.0.0.1") {
		t.Errorf("asked about %v, want the local address", local)
	}
	if got := m.Stats().Dropped["http_not_here"]; got != 1 {
		t.Errorf("%d counted, want 1", got)
	}
	turn := dial(t, addr)
	allocate := stunRequest(t, stun.MethodAllocate)
	send(t, turn, allocate)
	accept(t, m.TURN(), allocate)
}

func TestWhatIsNotServedIsClosedAtOnce(t *testing.T) {
	m, addr := serve(t, Config{})
	for name, b := range map[string][]byte{
		"garbage":                 {0xff, 0xfe, 0xfd},
		"TLS without certificate": {0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3},
		"spinning ChannelData":    append([]byte{0x40, 0, 0xff, 0xfc}, make([]byte, 16)...),
		"zeros":                   make([]byte, 64),
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, addr)
			send(t, c, b)
			closedWithin(t, c, 5*time.Second)
		})
	}
	if s := m.Stats(); s.Dropped["unknown"] != 3 || s.Dropped["no_tls"] != 1 {
		t.Errorf("counted %v", s.Dropped)
	}
}

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

// staysOpen reports whether a connection that sends b is not reset.
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

func TestProtocolsInsideTLSAreToldApart(t *testing.T) {
	cert := selfSigned(t)
	m, addr := serve(t, Config{TLS: &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"}}})
	allocate := stunRequest(t, stun.MethodAllocate)
	for name, tc := range map[string]struct {
		bytes []byte
		alpn  []string
		to    net.Listener
	}{
		"HTTPS":                   {[]byte("GET / HTTP/1.1\r\n\r\n"), []string{"h2", "http/1.1"}, m.HTTP()},
		"TURNS without ALPN":      {allocate, nil, m.TURN()},
		"TURNS that says http1.1": {allocate, []string{"http/1.1"}, m.TURN()},
	} {
		t.Run(name, func(t *testing.T) {
			c := tls.Client(dial(t, addr), &tls.Config{InsecureSkipVerify: true, NextProtos: tc.alpn})
			send(t, c, tc.bytes)
			accept(t, tc.to, tc.bytes)
		})
	}
	t.Run("garbage for a handshake", func(t *testing.T) {
		c := dial(t, addr)
		send(t, c, []byte{0x16, 3, 1, 0, 5, 9, 9, 9, 9, 9})
		r := bufio.NewReader(c)
		if _, err := io.Copy(io.Discard, r); isTimeout(err) {
			t.Error("still open")
		}
	})
	if s := m.Stats(); s.Dropped["handshake"] != 1 || s.InTLS["turn"] != 2 || s.InTLS["http"] != 1 {
		t.Errorf("counted %+v", s)
	}
}

func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
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

func TestRunReportsAListenerThatFails(t *testing.T) {
	leak.Check(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m, err := New(Config{Listeners: []net.Listener{l}})
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	if err := m.Run(context.Background()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Run: %v", err)
	}
	if _, err := m.HTTP().Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept after the end: %v", err)
	}
}

func TestUnusableConfigurationIsRefused(t *testing.T) {
	a, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for name, list := range map[string][]net.Listener{"no listeners": nil, "two ports": {a, b}} {
		if _, err := New(Config{Listeners: list}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
