package attack

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1" // as TURN's REST convention has it
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/stun/v4"
)

// credential of TURN.
type credential struct{ username, password string }

// signed makes the credential of a username, right or wrong.
func signed(secret, username string) credential {
	mac := hmac.New(sha1.New, []byte(secret))
	mac.Write([]byte(username))
	return credential{username, base64.StdEncoding.EncodeToString(mac.Sum(nil))}
}

// user is a good credential for an hour.
func user(name string) credential {
	return signed(turnSecret, fmt.Sprintf("%d:%s", time.Now().Add(time.Hour).Unix(), name))
}

// raw is a TURN client that sends what it is told to.
type raw struct {
	t      testing.TB
	conn   net.Conn
	stream bool
	cred   credential
	realm  string
	nonce  stun.Nonce
}

// overUDP opens a client on the UDP port of TURN. Each has a network of its
// own, for answers to strangers are counted by network.
func (c *child) overUDP(cred credential, network byte) *raw {
	c.t.Helper()
	from := &net.UDPAddr{IP: net.IPv4(127, 0, network, 1)}
	conn, err := net.DialUDP("udp4", from, net.UDPAddrFromAddrPort(c.turn))
	return c.client(conn, err, cred, false)
}

// overTCP opens a client on the shared TCP port.
func (c *child) overTCP(cred credential) *raw {
	c.t.Helper()
	conn, err := net.Dial("tcp4", c.tcp.String())
	return c.client(conn, err, cred, true)
}

// overTLS opens a client inside TLS on the shared TCP port.
func (c *child) overTLS(cred credential) *raw {
	c.t.Helper()
	conn, err := tls.Dial("tcp4", c.tcp.String(), &tls.Config{InsecureSkipVerify: true})
	return c.client(conn, err, cred, true)
}

func (c *child) client(conn net.Conn, err error, cred credential, stream bool) *raw {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = conn.Close() })
	return &raw{t: c.t, conn: conn, stream: stream, cred: cred, realm: realm}
}

// send sends any bytes.
func (r *raw) send(b []byte) {
	r.t.Helper()
	if _, err := r.conn.Write(b); err != nil {
		r.t.Logf("write: %v", err) // refused or closed: what matters is what comes back
	}
}

// read returns the next message or frame.
func (r *raw) read(patience time.Duration) ([]byte, error) {
	if err := r.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	buf := make([]byte, 4096)
	if !r.stream {
		n, err := r.conn.Read(buf)
		return buf[:n], err
	}
	if _, err := io.ReadFull(r.conn, buf[:4]); err != nil {
		return nil, err
	}
	rest := int(binary.BigEndian.Uint16(buf[2:]))
	if buf[0] < 0x40 {
		rest += 16 // of a STUN header of 20 bytes
	} else {
		rest = (rest + 3) &^ 3
	}
	_, err := io.ReadFull(r.conn, buf[4:4+rest])
	return buf[:4+rest], err
}

// exchange sends m and returns the answer to it.
func (r *raw) exchange(m *stun.Message) (*stun.Message, error) {
	if _, err := r.conn.Write(m.Raw); err != nil {
		return nil, err
	}
	for {
		b, err := r.read(2 * time.Second)
		if err != nil {
			return nil, err
		}
		answer := &stun.Message{Raw: bytes.Clone(b)}
		if answer.Decode() == nil && answer.TransactionID == m.TransactionID {
			return answer, nil
		}
	}
}

// wantSilence checks that nothing comes back.
func (r *raw) wantSilence(what string) {
	r.t.Helper()
	b, err := r.read(200 * time.Millisecond)
	var timeout net.Error
	if err == nil || !errors.As(err, &timeout) || !timeout.Timeout() {
		r.t.Errorf("%s was answered by %x, %v; want silence", what, b, err)
	}
}

// wantClosed checks that the server closes the connection within d.
func (r *raw) wantClosed(what string, d time.Duration) {
	r.t.Helper()
	until := time.Now().Add(d)
	for {
		_ = r.conn.SetReadDeadline(until)
		_, err := r.conn.Read(make([]byte, 4096))
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			r.t.Errorf("%s: the connection is open after %v", what, d)
		}
		if err != nil {
			return
		}
	}
}

// build makes a signed request.
func (r *raw) build(method stun.Method, attrs ...stun.Setter) *stun.Message {
	r.t.Helper()
	setters := append([]stun.Setter{stun.TransactionID, stun.NewType(method, stun.ClassRequest)}, attrs...)
	setters = append(setters,
		stun.RawAttribute{Type: stun.AttrUsername, Value: []byte(r.cred.username)}, stun.NewRealm(r.realm), r.nonce,
		stun.NewLongTermIntegrity(r.cred.username, r.realm, r.cred.password))
	m, err := stun.Build(setters...)
	if err != nil {
		r.t.Fatal(err)
	}
	return m
}

// greet gets a nonce.
func (r *raw) greet() {
	r.t.Helper()
	first, err := r.exchange(unsigned(stun.MethodAllocate))
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

// request makes a signed request, with a nonce got before, and returns the
// error code, 0 for success, silence for none.
func (r *raw) request(method stun.Method, attrs ...stun.Setter) (int, *stun.Message) {
	r.t.Helper()
	if r.nonce == nil {
		r.greet()
	}
	answer, err := r.exchange(r.build(method, attrs...))
	if err != nil {
		return silence, nil
	}
	return errorCode(answer), answer
}

// silence stands for the code of an answer that did not come.
const silence = -1

// wantCode makes a request and checks the code of its answer.
func (r *raw) wantCode(what string, want int, method stun.Method, attrs ...stun.Setter) *stun.Message {
	r.t.Helper()
	code, answer := r.request(method, attrs...)
	if code != want {
		r.t.Errorf("%s: got %d, want %d", what, code, want)
	}
	return answer
}

// allocate makes an allocation and returns its relayed address.
func (r *raw) allocate() netip.AddrPort {
	r.t.Helper()
	code, answer := r.request(stun.MethodAllocate, relayUDP)
	if code != 0 {
		r.t.Fatalf("Allocate: %d", code)
	}
	var relayed stun.XORMappedAddress
	if err := relayed.GetFromAs(answer, stun.AttrXORRelayedAddress); err != nil {
		r.t.Fatal(err)
	}
	ip, _ := netip.AddrFromSlice(relayed.IP)
	return netip.AddrPortFrom(ip.Unmap(), uint16(relayed.Port))
}

func unsigned(method stun.Method, attrs ...stun.Setter) *stun.Message {
	return stun.MustBuild(append([]stun.Setter{stun.TransactionID, stun.NewType(method, stun.ClassRequest)}, attrs...)...)
}

func errorCode(m *stun.Message) int {
	if m.Type.Class == stun.ClassSuccessResponse {
		return 0
	}
	var code stun.ErrorCodeAttribute
	if code.GetFrom(m) != nil {
		return silence
	}
	return int(code.Code)
}

// Attributes of TURN requests.
var (
	relayUDP = stun.RawAttribute{Type: stun.AttrRequestedTransport, Value: []byte{17, 0, 0, 0}}
	relayTCP = stun.RawAttribute{Type: stun.AttrRequestedTransport, Value: []byte{6, 0, 0, 0}}
)

type peerAttr netip.AddrPort

func (p peerAttr) AddTo(m *stun.Message) error {
	a := netip.AddrPort(p)
	return stun.XORMappedAddress{IP: a.Addr().AsSlice(), Port: int(a.Port())}.AddToAs(m, stun.AttrXORPeerAddress)
}

func channelAttr(number uint16) stun.RawAttribute {
	return stun.RawAttribute{Type: stun.AttrChannelNumber, Value: binary.BigEndian.AppendUint32(nil, uint32(number)<<16)}
}

func lifetimeAttr(seconds uint32) stun.RawAttribute {
	return stun.RawAttribute{Type: stun.AttrLifetime, Value: binary.BigEndian.AppendUint32(nil, seconds)}
}

// sendIndication sends data to a peer without being asked for a credential.
func sendIndication(peer netip.AddrPort, data []byte) []byte {
	return stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodSend, stun.ClassIndication),
		peerAttr(peer), stun.RawAttribute{Type: stun.AttrData, Value: data}).Raw
}

func channelData(number uint16, data []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, number)
	b = binary.BigEndian.AppendUint16(b, uint16(len(data)))
	return append(b, data...)
}
