package attack

import (
	"bytes"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/pion/stun/v4"

	"consilium/internal/bot"
)

// tap is a client's socket on which somebody listens: it keeps the last ICE
// check with USE-CANDIDATE that the client sent.
type tap struct {
	net.PacketConn
	mu    sync.Mutex
	check []byte
}

func newTap(t *testing.T) *tap {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	return &tap{PacketConn: conn}
}

func (p *tap) WriteTo(b []byte, to net.Addr) (int, error) {
	if len(b) > 20 && b[0] == 0 && b[1] == 1 { // Binding request
		m := &stun.Message{Raw: bytes.Clone(b)}
		if m.Decode() == nil && m.Contains(stun.AttrUsername) && m.Contains(stun.AttrUseCandidate) {
			p.mu.Lock()
			p.check = bytes.Clone(b)
			p.mu.Unlock()
		}
	}
	return p.PacketConn.WriteTo(b, to)
}

// captured returns the check.
func (p *tap) captured(t *testing.T) []byte {
	t.Helper()
	var got []byte
	eventually(t, 10*time.Second, "a nominating check of the client", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		got = p.check
		return got != nil
	})
	return got
}

// thief is another address that wants a client's media: the datagrams that came
// there, and how many of them were STUN.
type thief struct{ anything, stun int }

// steal sends each datagram, a tenth of a second apart, for d, and counts what
// comes.
func (c *child) steal(d time.Duration, datagrams ...[]byte) thief {
	c.t.Helper()
	conn, err := net.DialUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 43, 1)}, net.UDPAddrFromAddrPort(c.media))
	if err != nil {
		c.t.Fatal(err)
	}
	defer conn.Close()
	var got thief
	buf := make([]byte, 2048)
	for i, end := 0, time.Now().Add(d); time.Now().Before(end); i++ {
		if _, err := conn.Write(datagrams[i%len(datagrams)]); err != nil {
			c.t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		for {
			n, err := conn.Read(buf)
			if err != nil {
				break
			}
			got.anything++
			if stun.IsMessage(buf[:n]) {
				got.stun++
			}
		}
	}
	return got
}

func TestForgedAndReplayedChecksMoveNoMedia(t *testing.T) {
	t.Parallel() // it waits, mostly
	c := serve(t, nil)
	socket := newTap(t)
	call := c.call(func(cfg *bot.Config) { cfg.Socket = socket })
	captured := &stun.Message{Raw: socket.captured(t)}
	if err := captured.Decode(); err != nil {
		t.Fatal(err)
	}
	name, err := captured.Get(stun.AttrUsername)
	if err != nil {
		t.Fatal(err)
	}
	nominate := stun.RawAttribute{Type: stun.AttrUseCandidate}
	unsigned := stun.MustBuild(stun.TransactionID, stun.BindingRequest, stun.NewUsername(string(name)), nominate, stun.Fingerprint).Raw
	for what, datagrams := range map[string][][]byte{
		"the right name and a wrong password": {check(string(name), "a password that is not right", nominate), unsigned},
		"a name that is only half right":      {check(string(name[:16])+":other", "a password that is not right", nominate)},
	} {
		call.measure(what, func() {
			if got := c.steal(2*time.Second, datagrams...); got.anything != 0 {
				t.Errorf("%s: %d datagrams came back, want silence", what, got.anything)
			}
		})
	}
	// A check is answered to where it came from; media stays where it was.
	call.measure("a check recorded on the way", func() {
		if got := c.steal(3*time.Second, captured.Raw); got.anything != got.stun {
			t.Errorf("the replay has moved %d datagrams of media", got.anything-got.stun)
		}
	})
}

func TestBindingWithoutANameIsSilence(t *testing.T) {
	c := serve(t, nil)
	conn, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(c.media))
	r := c.client(conn, err, credential{}, false)
	for name, b := range map[string][]byte{
		"a Binding request":          unsigned(stun.MethodBinding).Raw,
		"with a fingerprint":         stun.MustBuild(stun.TransactionID, stun.BindingRequest, stun.Fingerprint).Raw,
		"of an unknown name":         check("nobody1234567890:someone", "a password that is not right"),
		"an Allocate":                unsigned(stun.MethodAllocate, relayUDP).Raw,
		"channel data":               channelData(0x4000, []byte("x")),
		"a DTLS ClientHello":         append([]byte{22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 40, 1}, make([]byte, 39)...),
		"from the range of relays":   check("198.18.0.1:x", "y"),
		"with a name of 500 letters": check(string(bytes.Repeat([]byte("u"), 500)), "y"),
	} {
		r.send(b)
		r.wantSilence(name)
	}
}
