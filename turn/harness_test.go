package turn

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/logging"
	"github.com/pion/stun/v4"
	pion "github.com/pion/turn/v5"

	"consilium/internal/leak"
	"consilium/internal/muxconn"
)

const (
	testRealm  = "consilium"
	testSecret = "a secret of the test suite"
)

// bench is a TURN server in front of a media socket, all on loopback.
type bench struct {
	*Server
	media *muxconn.Conn
	group *muxconn.Group
	mux   *ice.UDPMuxDefault // reads media if the test asked for it
	udp   netip.AddrPort
	tcp   netip.AddrPort

	clock *clock
	ended sync.Map // sessions
}

// clock is a clock that a test sets ahead.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time          { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) advance(d time.Duration) { c.ahead.Add(int64(d)) }

// start runs a bench until the test ends, and checks that nothing of it is left
// then. Change, if not nil, adapts the configuration.
func start(t testing.TB, change func(*Config)) *bench {
	t.Helper()
	leak.Check(t)
	b := &bench{clock: &clock{}}
	var err error
	if b.media, err = muxconn.Listen(netip.MustParseAddrPort("127.0.0.1:0"), muxconn.Config{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.media.Close() })
	if b.group, err = muxconn.NewGroup(b.media); err != nil {
		t.Fatal(err)
	}
	udp, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b.udp, b.tcp = udp.LocalAddr().(*net.UDPAddr).AddrPort(), tcp.Addr().(*net.TCPAddr).AddrPort()
	cfg := Config{
		Realm:     testRealm,
		Secrets:   []string{testSecret},
		UDP:       []net.PacketConn{udp},
		TCP:       []net.Listener{tcp},
		OpenRelay: func(network string, port uint16) (net.PacketConn, error) { return b.group.OpenPeer(network, port) },
		Media:     b.group.Advertised(),
		Live:      func(id string) bool { _, ended := b.ended.Load(id); return !ended },
		Now:       b.clock.now,
	}
	if change != nil {
		change(&cfg)
	}
	if b.Server, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- b.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ran; err != nil {
			t.Errorf("Run: %v", err)
		}
		if s := b.Stats(); s.Connections != 0 || b.group.Peers() != 0 {
			t.Errorf("after the end: %d connections, %d relays", s.Connections, b.group.Peers())
		}
		for labels, n := range b.Stats().Allocations {
			if n != 0 {
				t.Errorf("after the end: %d allocations of %v", n, labels)
			}
		}
	})
	return b
}

// readMedia starts the ICE mux on the media socket.
func (b *bench) readMedia(t testing.TB) {
	t.Helper()
	b.mux = ice.NewUDPMuxDefault(ice.UDPMuxParams{
		UDPConn: b.media,
		Logger:  logging.NewDefaultLoggerFactory().NewLogger("ice"),
	})
	t.Cleanup(func() { _ = b.mux.Close() })
}

func (b *bench) mint(t testing.TB, kind Kind, id string) Credential {
	t.Helper()
	c, err := b.Mint(kind, id)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// relays waits until n allocations are open.
func (b *bench) relays(t testing.TB, n int) {
	t.Helper()
	eventually(t, strconv.Itoa(n)+" relays are open", func() bool { return b.group.Peers() == n })
}

// eventually waits for a condition that nothing announces.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(5 * time.Second); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not within 5 s: %s", what)
		}
	}
}

// raw is a TURN client that sends what it is told to, over UDP or TCP.
type raw struct {
	t     testing.TB
	conn  net.Conn
	in    net.PacketConn // frames of a TCP connection
	cred  Credential
	realm string
	nonce stun.Nonce
}

func dialRaw(t testing.TB, network string, to netip.AddrPort, cred Credential) *raw {
	t.Helper()
	conn, err := net.Dial(network, to.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	r := &raw{t: t, conn: conn, cred: cred, realm: testRealm}
	if network == "tcp" {
		r.in = pion.NewSTUNConn(conn)
	}
	return r
}

func (b *bench) client(t testing.TB, cred Credential) *raw {
	t.Helper()
	return dialRaw(t, "udp", b.udp, cred)
}

var errSilence = errors.New("no answer")

// exchange sends m and returns the answer to it.
func (r *raw) exchange(m *stun.Message) (*stun.Message, error) {
	if _, err := r.conn.Write(m.Raw); err != nil {
		return nil, err
	}
	if err := r.conn.SetReadDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return nil, err
	}
	buf := make([]byte, 2048)
	for {
		var n int
		var err error
		if r.in != nil {
			n, _, err = r.in.ReadFrom(buf)
		} else {
			n, err = r.conn.Read(buf)
		}
		if err != nil {
			return nil, errors.Join(errSilence, err)
		}
		answer := &stun.Message{Raw: append([]byte(nil), buf[:n]...)}
		if answer.Decode() == nil && answer.TransactionID == m.TransactionID {
			return answer, nil
		}
	}
}

// signed builds a request with the client's credential.
func (r *raw) signed(method stun.Method, attrs ...stun.Setter) *stun.Message {
	r.t.Helper()
	setters := append([]stun.Setter{stun.TransactionID, stun.NewType(method, stun.ClassRequest)}, attrs...)
	setters = append(setters, stun.NewUsername(r.cred.Username), stun.NewRealm(r.realm), r.nonce,
		stun.NewLongTermIntegrity(r.cred.Username, r.realm, r.cred.Password))
	m, err := stun.Build(setters...)
	if err != nil {
		r.t.Fatal(err)
	}
	return m
}

// request makes a signed request, gets a nonce first if it has none, and
// returns the error code, 0 for success, -1 for silence.
func (r *raw) request(method stun.Method, attrs ...stun.Setter) (int, *stun.Message) {
	r.t.Helper()
	if r.nonce == nil {
		first, err := r.exchange(stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodAllocate, stun.ClassRequest)))
		if err != nil {
			r.t.Fatalf("first request: %v", err)
		}
		if code := errorCode(first); code != 401 {
			r.t.Fatalf("request without credential: %d, want 401", code)
		}
		if err := r.nonce.GetFrom(first); err != nil {
			r.t.Fatal(err)
		}
	}
	answer, err := r.exchange(r.signed(method, attrs...))
	if err != nil {
		return -1, nil
	}
	return errorCode(answer), answer
}

func errorCode(m *stun.Message) int {
	if m.Type.Class == stun.ClassSuccessResponse {
		return 0
	}
	var code stun.ErrorCodeAttribute
	if code.GetFrom(m) != nil {
		return -1
	}
	return int(code.Code)
}

// Attributes of TURN requests.
var (
	overUDP = stun.RawAttribute{Type: stun.AttrRequestedTransport, Value: []byte{17, 0, 0, 0}}
	overTCP = stun.RawAttribute{Type: stun.AttrRequestedTransport, Value: []byte{6, 0, 0, 0}}
)

type peerAttr netip.AddrPort

func (p peerAttr) AddTo(m *stun.Message) error {
	a := netip.AddrPort(p)
	return stun.XORMappedAddress{IP: a.Addr().AsSlice(), Port: int(a.Port())}.AddToAs(m, stun.AttrXORPeerAddress)
}

func channelAttr(number uint16) stun.RawAttribute {
	return stun.RawAttribute{Type: stun.AttrChannelNumber, Value: []byte{byte(number >> 8), byte(number), 0, 0}}
}

func lifetimeAttr(seconds uint32) stun.RawAttribute {
	return stun.RawAttribute{Type: stun.AttrLifetime,
		Value: []byte{byte(seconds >> 24), byte(seconds >> 16), byte(seconds >> 8), byte(seconds)}}
}

// allocate makes an allocation and fails the test if it gets none.
func (r *raw) allocate() {
	r.t.Helper()
	if code, _ := r.request(stun.MethodAllocate, overUDP); code != 0 {
		r.t.Fatalf("Allocate: %d", code)
	}
}
