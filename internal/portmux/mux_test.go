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

// staysOpen reports whether a connection that sends b is not reset.
func TestProtocolsInsideTLSAreToldApart(t *testing.T) {
	cert := selfSigned(t)
	m, addr := serve(t, Config{TLS: &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"}}})
	allocate := stunRequest(t, stun.MethodAllocate)
	for name, tc := range map[string]struct {
		bytes []byte
		alpn  []string
		to    net.Listener
	}{
		"HTTPS":                   {[]byte("GET / HTTP/1.1\r\n\r\n"), []string{"h2", "http/1.1"}, m.HTTPS()},
		"TURNS without ALPN":      {allocate, nil, m.TURN()},
		"TURNS that says http1.1": {allocate, []string{"http/1.1"}, m.TURN()},
	} {
		t.Run(name, func(t *testing.T) {
			c := tls.Client(dial(t, addr), &tls.Config{InsecureSkipVerify: true, NextProtos: tc.alpn})
			send(t, c, tc.bytes)
			accept(t, tc.to, tc.bytes)
		})
	}
	t.Run("HTTPS says what was negotiated", func(t *testing.T) {
		c := tls.Client(dial(t, addr), &tls.Config{InsecureSkipVerify: true, ServerName: "video.example"})
		send(t, c, []byte("GET"))
		in, err := m.HTTPS().Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		state, ok := in.(interface{ ConnectionState() tls.ConnectionState })
		if !ok || state.ConnectionState().ServerName != "video.example" {
			t.Errorf("%T does not say that it is TLS", in)
		}
	})
	t.Run("garbage for a handshake", func(t *testing.T) {
		c := dial(t, addr)
		send(t, c, []byte{0x16, 3, 1, 0, 5, 9, 9, 9, 9, 9})
		r := bufio.NewReader(c)
		if _, err := io.Copy(io.Discard, r); isTimeout(err) {
			t.Error("still open")
		}
	})
	if s := m.Stats(); s.Dropped["handshake"] != 1 || s.InTLS["turn"] != 2 || s.InTLS["http"] != 2 {
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
