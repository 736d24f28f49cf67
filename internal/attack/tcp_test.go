package attack

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pion/stun/v4"
)

// fromAddress opens a TCP connection to the server from an address of
// loopback.
func (c *child) fromAddress(ip string) *raw {
	c.t.Helper()
	r := c.tryFrom(ip)
	if r == nil {
		c.t.Fatalf("a connection from %s was refused", ip)
	}
	return r
}

// tryFrom is fromAddress; nil means that the connection was reset at once.
func (c *child) tryFrom(ip string) *raw {
	c.t.Helper()
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(ip), 0))}
	conn, err := d.DialContext(c.t.Context(), "tcp4", c.tcp.String())
	if errors.Is(err, syscall.ECONNRESET) {
		return nil
	}
	return c.client(conn, err, credential{}, true)
}

// longFrames claim more than a datagram may have. The first four kept a core
// busy for ever in pion/turn before v5.1.3.
var longFrames = map[string][]byte{
	"ChannelData of 65532":    append([]byte{0x40, 0, 0xff, 0xfc}, make([]byte, 16)...),
	"ChannelData of 65533":    append([]byte{0x40, 0, 0xff, 0xfd}, make([]byte, 16)...),
	"ChannelData of 65535":    append([]byte{0x40, 0, 0xff, 0xff}, make([]byte, 16)...),
	"STUN message of 65516":   append([]byte{0, 1, 0xff, 0xec, 0x21, 0x12, 0xa4, 0x42}, make([]byte, 12)...),
	"ChannelData of 2000":     channelData(0x4000, make([]byte, 2000)),
	"STUN message of 2020":    append([]byte{0, 1, 0x07, 0xd0, 0x21, 0x12, 0xa4, 0x42}, make([]byte, 2012)...),
	"neither STUN nor a data": bytes.Repeat([]byte{0xff}, 20),
}

func TestLongFramesEndTheConnectionAndCostNothing(t *testing.T) {
	t.Parallel() // it waits, mostly
	for name, keys := range map[string]options{"plain": nil, "inside TLS": certificate(t)} {
		t.Run(name, func(t *testing.T) {
			c := serve(t, keys)
			open := c.overTCP
			if keys != nil {
				open = c.overTLS
			}
			for what, frame := range longFrames {
				first, later, gone := open(credential{}), open(credential{}), open(credential{})
				first.send(frame)
				later.greet() // it is TURN's from here on
				later.send(frame)
				gone.greet()
				gone.send(frame)
				_ = gone.conn.Close() // the spin went on when the sender had gone
				later.wantClosed(what+" after a request", time.Second)
				if !bytes.HasPrefix(frame, []byte{0, 1}) { // a first message, even a long one, may yet come
					first.wantClosed(what+" as first bytes", time.Second)
				}
			}
			before := c.cpu()
			pause(2 * time.Second)
			if used := c.cpu() - before; used > 100*time.Millisecond {
				t.Errorf("%v of processor time in 2 s of nothing, want less than 5 %%", used)
			}
			c.wantServed("long frames")
		})
	}
}

func TestSlowClientsAreClosedAndOthersServed(t *testing.T) {
	t.Parallel() // it waits, mostly
	c := serve(t, nil)
	before := c.descriptors()
	var silent []*raw
	refused := 0
	for range 300 { // more than one address may have undecided
		if r := c.tryFrom("127.0.3.1"); r != nil {
			silent = append(silent, r)
		} else {
			refused++
		}
	}
	slow, page := c.fromAddress("127.0.4.1"), c.fromAddress("127.0.4.2")
	request, header := unsigned(stun.MethodAllocate).Raw, []byte("GET / HTTP/1.1\r\nHost: a\r\nX: ")
	c.wantServed("300 silent connections of another address")
	for _, s := range silent {
		_ = s.conn.SetReadDeadline(time.Now().Add(time.Millisecond))
		_, err := s.conn.Read(make([]byte, 1))
		var timeout net.Error
		if !errors.As(err, &timeout) || !timeout.Timeout() {
			refused++
		}
	}
	if refused < 300-256 {
		t.Errorf("%d of 300 silent connections of one address were refused, want %d", refused, 300-256)
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for i := range 12 { // a byte a second
		<-tick.C
		slow.send(request[i : i+1])
		page.send(header[min(i, len(header)-1):][:1])
	}
	for _, s := range silent {
		s.wantClosed("a silent connection", time.Second)
	}
	page.wantClosed("a request of a byte a second", 2*time.Second)
	slow.wantClosed("a TURN message of a byte a second", 15*time.Second)
	eventually(t, 5*time.Second, "descriptors are as many as before", func() bool { return c.descriptors() <= before+1 })
}

func TestFailedHandshakesLeaveNoDescriptors(t *testing.T) {
	c := serve(t, certificate(t))
	c.wantServed("the start")
	before := c.descriptors()
	hello := []byte{0x16, 3, 1, 0, 40, 1, 0, 0, 36, 3, 3}
	for i := range 200 {
		r := c.fromAddress("127.0.5.1")
		r.send(append(hello, bytes.Repeat([]byte{byte(i)}, 60)...))
		if i%2 == 0 {
			_ = r.conn.Close()
			continue
		}
		r.wantClosed("a handshake of garbage", 5*time.Second)
	}
	eventually(t, 5*time.Second, "descriptors are as many as before", func() bool { return c.descriptors() <= before+1 })
	c.wantServed("200 handshakes of garbage")
}

func TestProtocolsInTheWrongPlaceAreAnsweredOrClosed(t *testing.T) {
	c := serve(t, certificate(t))
	udp := c.overUDP(user("a"), 9)
	udp.send([]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
	udp.wantSilence("HTTP on the UDP port of TURN")
	if got := c.ask("GET", "/readyz", "", ""); got.status != 200 { // an address, so no SNI is sent
		t.Errorf("TLS without SNI: %d", got.status)
	}
	c.overTLS(user("a")).allocate()
	c.overTCP(user("a")).allocate()
	for name, cfg := range map[string]*tls.Config{
		"TLS 1.0": {MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10, InsecureSkipVerify: true},
		"TLS 1.1": {MinVersion: tls.VersionTLS11, MaxVersion: tls.VersionTLS11, InsecureSkipVerify: true},
		"h2 only": {NextProtos: []string{"h2"}, InsecureSkipVerify: true},
	} {
		d := &net.Dialer{Timeout: 5 * time.Second}
		if conn, err := tls.DialWithDialer(d, "tcp4", c.tcp.String(), cfg); err == nil {
			t.Errorf("%s was agreed on", name)
			_ = conn.Close()
		}
	}
	for name, text := range map[string]string{
		"HTTP 0.9": "GET /\r\n", "SMTP": "EHLO a\r\n", "a method of our own": "FETCH / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
		"HTTP/2 by prior knowledge": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "SSH": "SSH-2.0-x\r\n", "SOCKS": "\x05\x01\x00", "zeros": strings.Repeat("\x00", 40),
	} {
		r := c.overTCP(credential{})
		r.send([]byte(text))
		r.wantClosed(name, 11*time.Second)
	}
}

// iceFrame is a frame of ICE-TCP (RFC 4571).
func iceFrame(payload []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(payload))), payload...)
}

func TestICETCPOfStrangersIsClosedAndCapped(t *testing.T) {
	t.Parallel() // it waits, mostly
	c := serve(t, nil)
	unknown := check("nobody1234567890:someone", "a password that is not right")
	notFirst := unsigned(stun.MethodAllocate).Raw
	for name, b := range map[string][]byte{
		"frame of no length":   {0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
		"frame of 65535":       append([]byte{0xff, 0xff}, unknown...),
		"RTP first":            iceFrame(append([]byte{0x80, 96}, make([]byte, 40)...)),
		"Allocate first":       iceFrame(notFirst),
		"check without a name": iceFrame(unsigned(stun.MethodBinding).Raw),
		"name without a colon": iceFrame(check("nobody", "x")),
	} {
		r := c.fromAddress("127.0.46.2")
		r.send(b)
		if name == "name without a colon" {
			continue // kept for ten seconds, as an unknown name is
		}
		r.wantClosed(name, time.Second)
	}
	before := c.descriptors()
	const flood, most = 400, 256
	var conns []*raw
	for range flood {
		r := c.tryFrom("127.0.46.1")
		if r == nil {
			continue
		}
		r.send(iceFrame(unknown))
		conns = append(conns, r)
	}
	c.wantServed("400 ICE-TCP connections of nobody")
	pause(300 * time.Millisecond)
	open := 0 // as the attacker sees it: descriptors of the server are others' too
	for _, r := range conns {
		_ = r.conn.SetReadDeadline(time.Now().Add(time.Millisecond))
		if _, err := r.conn.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
			open++
		}
	}
	if open > most || open == 0 {
		t.Errorf("%d of %d ICE-TCP connections of one address are open, want at most %d", open, flood, most)
	}
	begin := time.Now()
	for _, r := range conns {
		_ = r.conn.SetReadDeadline(begin.Add(13 * time.Second))
		if n, err := r.conn.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Fatal("a check of nobody was answered")
		} else if !errors.Is(err, io.EOF) && !strings.Contains(err.Error(), "reset") {
			t.Fatalf("an ICE-TCP connection of nobody is open after 13 s: %v", err)
		}
	}
	eventually(t, 5*time.Second, "descriptors are as many as before", func() bool { return c.descriptors() <= before+1 })
}

// TestClientThatStopsReadingIsCutOff looks at the server: a reset that comes
// when the client's window is closed is nothing to its kernel, which learns of
// the end by its next probe of the server's window, many seconds later.
func TestClientThatStopsReadingIsCutOff(t *testing.T) {
	c := serve(t, nil)
	call := c.call(nil)
	before := c.descriptors()
	r := c.fromAddress("127.0.38.1")
	if err := r.conn.(*net.TCPConn).SetReadBuffer(4096); err != nil {
		t.Fatal(err)
	}
	r.greet() // the server has it
	if c.descriptors() <= before {
		t.Fatal("a connection has no descriptor")
	}
	requests := bytes.Repeat(unsigned(stun.MethodAllocate).Raw, 1000) // each is answered with more
	sent := 0
	call.measure("a TURN client that asks and does not read", func() {
		eventually(t, 10*time.Second, "the server closes the connection", func() bool {
			_ = r.conn.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
			n, _ := r.conn.Write(requests[sent%len(requests):])
			sent += n
			return c.descriptors() <= before
		})
	})
}
