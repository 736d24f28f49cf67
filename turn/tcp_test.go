package turn

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/pion/stun/v4"
)

// spin is 20 bytes that kept a core busy for ever in pion/turn before v5.1.3:
// ChannelData whose length, with its header, wraps around 16 bits.
func spin(low byte) []byte { return append([]byte{0x40, 0, 0xff, low}, make([]byte, 16)...) }

func cpuTime(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func TestNoFrameKeepsACoreBusy(t *testing.T) {
	b := start(t, nil)
	for name, frame := range map[string][]byte{
		"ChannelData of 65532":  spin(0xfc),
		"ChannelData of 65533":  spin(0xfd),
		"ChannelData of 65535":  spin(0xff),
		"STUN length 65516":     append([]byte{0, 1, 0xff, 0xec, 0x21, 0x12, 0xa4, 0x42}, make([]byte, 12)...),
		"ChannelData of none":   {0x40, 0, 0, 0},
		"STUN without a cookie": make([]byte, 20),
	} {
		conn, err := net.Dial("tcp", b.tcp.String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(frame); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		_ = conn.Close() // the spin went on after the sender had gone
	}
	before := cpuTime(t)
	<-time.After(2 * time.Second)
	if used := cpuTime(t) - before; used > 200*time.Millisecond {
		t.Errorf("%v of CPU in 2 s of nothing", used)
	}
	eventually(t, "all connections are closed", func() bool { return b.Stats().Connections == 0 })
}

func TestTCPClientWithoutAllocationIsClosed(t *testing.T) {
	b := start(t, func(c *Config) { c.Idle = 300 * time.Millisecond })
	cred := b.mint(t, Session, "s1")
	silent, asks, allocates := dialRaw(t, "tcp", b.tcp, cred), dialRaw(t, "tcp", b.tcp, cred), dialRaw(t, "tcp", b.tcp, cred)
	allocates.allocate()
	asks.request(stun.MethodRefresh, lifetimeAttr(600))
	for name, c := range map[string]*raw{"silent": silent, "without an allocation": asks} {
		_ = c.conn.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := c.conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("a client %s is not closed: %v", name, err)
		}
	}
	if code, _ := allocates.request(stun.MethodRefresh, lifetimeAttr(600)); code != 0 {
		t.Errorf("Refresh of the one with an allocation: %d", code)
	}
	if code, _ := allocates.request(stun.MethodRefresh, lifetimeAttr(0)); code != 0 {
		t.Errorf("Refresh to zero: %d", code)
	}
	eventually(t, "the last is closed when it has given its allocation up", func() bool { return b.Stats().Connections == 0 })
}

func TestTCPConnectionsAreCapped(t *testing.T) {
	b := start(t, func(c *Config) { c.MaxConnections = 3 })
	for range 10 {
		dialRaw(t, "tcp", b.tcp, Credential{})
	}
	eventually(t, "seven are refused", func() bool { return b.Stats().Denied["connections"] == 7 })
	if n := b.Stats().Connections; n != 3 {
		t.Errorf("%d connections, want 3", n)
	}
}

func TestRequestArrivingByteByByteIsAnswered(t *testing.T) {
	b := start(t, nil)
	c := dialRaw(t, "tcp", b.tcp, b.mint(t, Session, "s1"))
	c.allocate()
	m := c.signed(stun.MethodRefresh, lifetimeAttr(600))
	for _, x := range m.Raw[:len(m.Raw)-1] {
		if _, err := c.conn.Write([]byte{x}); err != nil {
			t.Fatal(err)
		}
	}
	last := *m
	last.Raw = m.Raw[len(m.Raw)-1:]
	answer, err := c.exchange(&last)
	if err != nil || errorCode(answer) != 0 {
		t.Errorf("answer %v, %v", answer, err)
	}
}

func TestFramesAreCutAsTheyWereSent(t *testing.T) {
	stunFrame := stun.MustBuild(stun.TransactionID, stun.BindingRequest, stun.NewUsername("abcd")).Raw
	padded := append(channelData(0x4000, []byte("hello")), 0, 0, 0)
	f := newFrameReader(bytes.NewReader(append(append(append([]byte(nil), stunFrame...), padded...), stunFrame...)))
	buf := make([]byte, maxFrame)
	for i, want := range [][]byte{stunFrame, padded, stunFrame} {
		n, err := f.read(buf)
		if err != nil || !bytes.Equal(buf[:n], want) {
			t.Errorf("frame %d: %x, %v; want %x", i, buf[:n], err, want)
		}
	}
	if _, err := f.read(buf); !errors.Is(err, io.EOF) {
		t.Errorf("after the last: %v", err)
	}
	for name, tc := range map[string]struct {
		bytes []byte
		want  error
	}{
		"too long":          {channelData(0x4000, make([]byte, maxFrame)), errLongFrame},
		"spin":              {spin(0xfc), errLongFrame},
		"not a frame":       {[]byte{0x80, 0, 0, 0}, errNotFrame},
		"no cookie":         {make([]byte, 20), errNotFrame},
		"odd length":        {[]byte{0, 1, 0, 3, 0x21, 0x12, 0xa4, 0x42}, errNotFrame},
		"cut off":           {stunFrame[:10], io.ErrUnexpectedEOF},
		"cut off in header": {stunFrame[:2], io.EOF},
	} {
		if _, err := newFrameReader(bytes.NewReader(tc.bytes)).read(buf); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
	}
}

func TestDamagedMessagesAreNotIntact(t *testing.T) {
	good := stun.MustBuild(stun.TransactionID, stun.BindingRequest, stun.NewUsername("abcd"), stun.Fingerprint).Raw
	damaged := bytes.Clone(good)
	damaged[len(damaged)-1] ^= 1
	for name, tc := range map[string]struct {
		frame []byte
		want  bool
	}{
		"fingerprint":           {good, true},
		"no fingerprint":        {stun.MustBuild(stun.TransactionID, stun.BindingRequest).Raw, true},
		"ChannelData":           {channelData(0x4000, []byte("hello")), true},
		"less than a header":    {[]byte{0, 1, 0, 0}, true}, // Pion's to refuse
		"wrong fingerprint":     {damaged, false},
		"fingerprint not last":  {stun.MustBuild(stun.TransactionID, stun.BindingRequest, stun.Fingerprint, stun.NewSoftware("x")).Raw, false},
		"more than it says":     {append(bytes.Clone(good), 0), false},
		"less than it says":     {good[:len(good)-4], false},
		"attribute beyond end":  {append([]byte{0, 1, 0, 4, 0x21, 0x12, 0xa4, 0x42}, append(make([]byte, 12), 0, 6, 0xff, 0xff)...), false},
		"fingerprint too short": {append([]byte{0, 1, 0, 4, 0x21, 0x12, 0xa4, 0x42}, append(make([]byte, 12), 0x80, 0x28, 0, 0)...), false},
	} {
		if got := intact(tc.frame); got != tc.want {
			t.Errorf("%s: intact is %v, want %v", name, got, tc.want)
		}
	}
}

func FuzzIntact(f *testing.F) {
	f.Add(stun.MustBuild(stun.TransactionID, stun.BindingRequest, stun.Fingerprint).Raw)
	f.Fuzz(func(t *testing.T, b []byte) {
		m := &stun.Message{Raw: bytes.Clone(b)}
		if !intact(b) || len(b) < stunHeader || b[0] >= 0x40 || m.Decode() != nil || !m.Contains(stun.AttrFingerprint) {
			return
		}
		if err := stun.Fingerprint.Check(m); err != nil {
			t.Errorf("%x passed for intact: %v", b, err)
		}
	})
}

func FuzzFrameReader(f *testing.F) {
	f.Add(spin(0xfc))
	f.Add(channelData(0x4000, []byte("hello")))
	f.Add(stun.MustBuild(stun.TransactionID, stun.BindingRequest).Raw)
	f.Fuzz(func(t *testing.T, b []byte) {
		r, buf := newFrameReader(bytes.NewReader(b)), make([]byte, maxFrame)
		for read := 0; ; {
			n, err := r.read(buf)
			if err != nil {
				return
			}
			if n < channelHeader || read+n > len(b) || !bytes.Equal(buf[:n], b[read:read+n]) {
				t.Fatalf("frame of %d bytes at %d of %d", n, read, len(b))
			}
			read += n
		}
	})
}

func TestStrangersGetFewAnswersOverUDP(t *testing.T) {
	b := start(t, nil)
	c := b.client(t, Credential{})
	const asked = 300
	m := stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodAllocate, stun.ClassRequest))
	binding := stun.MustBuild(stun.TransactionID, stun.BindingRequest)
	begin := time.Now()
	for i := range asked {
		frame := m.Raw
		if i%2 == 0 {
			frame = binding.Raw
		}
		if _, err := c.conn.Write(frame); err != nil {
			t.Fatal(err)
		}
	}
	answers := 0
	buf := make([]byte, 200)
	for {
		_ = c.conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		n, err := c.conn.Read(buf)
		if err != nil {
			break
		}
		if n > 4*len(m.Raw) {
			t.Errorf("%d bytes for %d: worth reflecting", n, len(m.Raw))
		}
		answers++
	}
	most := answersBurst + int(answersPerSecond*time.Since(begin).Seconds()) + 1
	if answers == 0 || answers > most {
		t.Errorf("%d answers to %d requests, want at most %d", answers, asked, most)
	}
}

func TestReflectionLimitIsPerNetworkAndBounded(t *testing.T) {
	r := newReflection()
	at := func(s string) net.Addr { return net.UDPAddrFromAddrPort(netip.MustParseAddrPort(s)) }
	for range answersBurst {
		if !r.allow(at("192.0.2.1:1")) {
			t.Fatal("refused within the burst")
		}
	}
	if r.allow(at("192.0.2.200:9")) {
		t.Error("a neighbour in the same /24 got more")
	}
	if !r.allow(at("192.0.3.1:1")) {
		t.Error("another network was refused")
	}
	for i := range 3 * answerNetworks {
		r.allow(at(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1}), 1).String()))
	}
	if len(r.by) > answerNetworks {
		t.Errorf("%d networks are remembered, want at most %d", len(r.by), answerNetworks)
	}
}

func TestGarbageOverUDPIsSurvivedInSilence(t *testing.T) {
	b := start(t, nil)
	c := b.client(t, b.mint(t, Session, "s1"))
	attrs := stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodAllocate, stun.ClassRequest))
	for range 3000 {
		attrs.Add(0x7000, nil)
	}
	for name, frame := range map[string][]byte{
		"empty":            {},
		"one byte":         {0},
		"bad cookie":       append([]byte{0, 3, 0, 0, 1, 2, 3, 4}, make([]byte, 12)...),
		"odd length":       append([]byte{0, 3, 0, 3, 0x21, 0x12, 0xa4, 0x42}, make([]byte, 15)...),
		"attribute beyond": append([]byte{0, 3, 0, 4, 0x21, 0x12, 0xa4, 0x42}, append(make([]byte, 12), 0, 6, 0xff, 0xff)...),
		"3000 attributes":  attrs.Raw,
		"unknown method":   append([]byte{0x0f, 0xef &^ 0x10, 0, 0, 0x21, 0x12, 0xa4, 0x42}, make([]byte, 12)...),
		"65507 bytes":      make([]byte, 65507),
	} {
		if _, err := c.conn.Write(frame); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	c.allocate() // still there
}

func TestUnusableConfigurationIsRefused(t *testing.T) {
	udp, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	good := func() Config {
		return Config{
			Realm: testRealm, Secrets: []string{testSecret}, UDP: []net.PacketConn{udp},
			Media:     []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:1")},
			OpenRelay: func(string, uint16) (net.PacketConn, error) { return nil, errors.ErrUnsupported },
		}
	}
	if _, err := New(good()); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*Config){
		"no realm":       func(c *Config) { c.Realm = "" },
		"no secret":      func(c *Config) { c.Secrets = nil },
		"short secret":   func(c *Config) { c.Secrets = []string{"short"} },
		"three secrets":  func(c *Config) { c.Secrets = []string{testSecret, testSecret, testSecret} },
		"no listener":    func(c *Config) { c.UDP = nil },
		"no relay":       func(c *Config) { c.OpenRelay = nil },
		"no media":       func(c *Config) { c.Media = nil },
		"media socket":   func(c *Config) { c.Media = []netip.AddrPort{udp.LocalAddr().(*net.UDPAddr).AddrPort()} },
		"not UDP at all": func(c *Config) { c.UDP = []net.PacketConn{&net.UnixConn{}} },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := good()
			spoil(&cfg)
			if _, err := New(cfg); err == nil {
				t.Error("accepted")
			}
		})
	}
}
