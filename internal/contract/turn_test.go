package contract

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"consilium/internal/bot"
	"consilium/internal/testserver"
)

// turnName is the name on the certificate of servers with TURN over TLS.
const turnName = "call.hospital.example"

// turnAccess is what GET /v1/turn answers.
type turnAccess struct {
	Username, Password string
	TTL                int
	URIs               []string
}

// port returns the port of the URI that begins and ends so.
func (a turnAccess) port(t *testing.T, scheme, transport string) string {
	t.Helper()
	for _, uri := range a.URIs {
		u, err := url.Parse(uri)
		if err == nil && u.Scheme == scheme && u.RawQuery == "transport="+transport {
			return u.Opaque[strings.LastIndexByte(u.Opaque, ':')+1:]
		}
	}
	t.Fatalf("no %s over %s in %q", scheme, transport, a.URIs)
	return ""
}

// turnAccess asks a server, with TLS or without, for the credential of a name.
func (c *child) turnAccess(name string) turnAccess {
	c.t.Helper()
	insecure := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
	}}
	r, err := http.NewRequestWithContext(c.t.Context(), http.MethodGet, c.URL+"/v1/turn?username="+name, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header.Set("Authorization", apiKey())
	answer, err := insecure.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer answer.Body.Close()
	var got turnAccess
	if err := json.NewDecoder(answer.Body).Decode(&got); err != nil || answer.StatusCode != http.StatusOK {
		c.t.Fatalf("GET /v1/turn: %d, %v", answer.StatusCode, err)
	}
	return got
}

// uclient runs coturn's client against the TURN server on loopback, over one
// transport, with the credential of a name of its own.
func (c *child) uclient(transport, name string, args ...string) string {
	c.t.Helper()
	access := c.turnAccess(name)
	all := append([]string{"-n", "10", "-z", "10", "-u", access.Username, "-w", access.Password}, args...)
	switch transport {
	case "UDP":
		all = append(all, "-p", access.port(c.t, "turn", "udp"))
	case "TCP":
		all = append(all, "-t", "-p", access.port(c.t, "turn", "tcp"))
	case "TLS":
		all = append(all, "-t", "-S", "-p", access.port(c.t, "turns", "tcp"))
	}
	path, err := exec.LookPath("turnutils_uclient")
	if err != nil {
		c.t.Error("turnutils_uclient is missing: install the Debian package coturn")
		return ""
	}
	ctx, cancel := context.WithTimeout(c.t.Context(), 30*time.Second)
	defer cancel()
	// It ends with an error when the server refuses it, which the test looks
	// for in what it says.
	out, _ := exec.CommandContext(ctx, path, append(all, "127.0.0.1")...).CombinedOutput()
	return string(out)
}

// peer is a UDP host that counts what comes, and sends it back if told to.
type peer struct {
	ip, port string
	got      atomic.Int64
}

func newPeer(t *testing.T, ip string, echo bool) *peer {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(ip)})
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{ip: ip, port: strconv.Itoa(conn.LocalAddr().(*net.UDPAddr).Port)}
	p.serve(t, conn, echo)
	return p
}

// newEcho returns a peer that sends everything back, also on the next port,
// where coturn's client sends RTCP to.
func newEcho(t *testing.T, ip string) *peer {
	t.Helper()
	for range 100 {
		rtp, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(ip)})
		if err != nil {
			t.Fatal(err)
		}
		port := rtp.LocalAddr().(*net.UDPAddr).Port
		rtcp, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(ip), Port: port + 1})
		if err != nil {
			_ = rtp.Close()
			continue
		}
		p := &peer{ip: ip, port: strconv.Itoa(port)}
		p.serve(t, rtp, true)
		p.serve(t, rtcp, true)
		return p
	}
	t.Fatalf("no two ports next to each other are free on %s", ip)
	return nil
}

// serve reads conn until the test ends.
func (p *peer) serve(t *testing.T, conn *net.UDPConn, echo bool) {
	var wg sync.WaitGroup
	wg.Go(func() {
		buf := make([]byte, 2048)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			p.got.Add(1)
			if echo {
				_, _ = conn.WriteToUDPAddrPort(buf[:n], from)
			}
		}
	})
	t.Cleanup(func() { _ = conn.Close(); wg.Wait() })
}

// wantEcho checks that coturn's client got back all it sent.
func wantEcho(t *testing.T, what, out string, least int) {
	t.Helper()
	number := func(pattern string) int {
		all := regexp.MustCompile(pattern).FindAllStringSubmatch(out, -1)
		if len(all) == 0 {
			return -1
		}
		n, _ := strconv.Atoi(all[len(all)-1][1])
		return n
	}
	if got, lost := number(`tot_recv_msgs=(\d+)`), number(`Total lost packets (\d+)`); got < least || lost != 0 {
		t.Errorf("%s: %d messages came back and %d were lost, want at least %d and none:\n%s", what, got, lost, least, out)
	}
}

func TestCoturnClientTalksThroughTheOpenRelay(t *testing.T) {
	t.Parallel()
	keys := testserver.WithTLS(t, turnName)
	keys["turn.mode"], keys["turn.allow_peers"] = "open", "127.0.0.2/32"
	c := serve(t, keys)
	echo := newEcho(t, "127.0.0.2")
	var runs sync.WaitGroup // the tool takes its time, so all at once
	for _, transport := range []string{"UDP", "TCP", "TLS"} {
		for what, args := range map[string][]string{
			"a peer by channels":  {"-c", "-e", echo.ip, "-r", echo.port},
			"a peer by Send":      {"-c", "-s", "-e", echo.ip, "-r", echo.port},
			"a peer, RTP as well": {"-e", echo.ip, "-r", echo.port},
			"each other":          {"-c", "-y", "-m", "2"},
		} {
			runs.Go(func() {
				wantEcho(t, transport+", "+what, c.uclient(transport, transport+strconv.Itoa(len(what)), args...), 10)
			})
		}
	}
	runs.Wait()
	if n := echo.got.Load(); n < 3*3*10 {
		t.Errorf("the peer got %d datagrams, want at least 90", n)
	}
}

func TestCoturnClientReachesNoForbiddenPeerThroughTheOpenRelay(t *testing.T) {
	t.Parallel()
	keys := testserver.WithTLS(t, turnName)
	keys["turn.mode"], keys["media.families"] = "open", "ipv4,ipv6"
	c := serve(t, keys)
	loopback, beside := newPeer(t, "127.0.0.2", true), newPeer(t, "127.0.0.1", true)
	targets := map[string]*peer{"loopback": loopback}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && !n.IP.IsLoopback() {
			targets["this machine at "+n.IP.String()] = newPeer(t, n.IP.String(), true)
		}
	}
	refused := regexp.MustCompile(`(create permission|channel bind:) error (403|443)`)
	var runs sync.WaitGroup
	runsSoFar := 0
	attempt := func(transport, what, ip, port string, args ...string) {
		runsSoFar++ // each is somebody else, from a network of his own
		name, from := fmt.Sprint("scanner-", runsSoFar), fmt.Sprintf("127.0.%d.1", runsSoFar)
		runs.Go(func() {
			out := c.uclient(transport, name, append(args, "-L", from, "-c", "-e", ip, "-r", port)...)
			if !refused.MatchString(out) {
				t.Errorf("%s, %s: not refused with 403 or 443:\n%s", transport, what, out)
			}
		})
	}
	for _, transport := range []string{"UDP", "TCP", "TLS"} {
		for what, p := range targets {
			attempt(transport, what, p.ip, p.port)
			attempt(transport, what+", by Send", p.ip, p.port, "-s")
			attempt(transport, what+", mapped", "::ffff:"+p.ip, p.port, "-x", "-s")
			attempt(transport, what+", translated", "64:ff9b::"+p.ip, p.port, "-x")
		}
		for _, ip := range []string{"10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "169.254.169.254", "0.0.0.0", "224.0.0.1", "255.255.255.255"} {
			attempt(transport, ip, ip, "53", "-s")
		}
		for _, ip := range []string{"fd00::1", "fe80::1", "ff02::1", "::", "2002:7f00:1::", "::127.0.0.1"} {
			attempt(transport, ip, ip, "53", "-x")
		}
		runs.Go(func() { // the SFU's address, which is allowed by port
			out := c.uclient(transport, "beside", "-c", "-s", "-e", beside.ip, "-r", beside.port)
			if !strings.Contains(out, "tot_recv_msgs=0") {
				t.Errorf("%s, beside the SFU: something came back:\n%s", transport, out)
			}
		})
	}
	runs.Wait()
	for what, p := range targets {
		if n := p.got.Load(); n != 0 {
			t.Errorf("%s got %d datagrams", what, n)
		}
	}
	if n := beside.got.Load(); n != 0 {
		t.Errorf("the port beside the SFU got %d datagrams", n)
	}
}

func TestCallsGoThroughTheOpenRelay(t *testing.T) {
	t.Parallel()
	c := serve(t, options{"turn.mode": "open"})
	p := pair{
		t: t,
		doctor: c.join(joinToken(t, "room", "doctor", "doctor"), func(b *bot.Config) {
			b.Relay, b.RelayProtocol = true, "udp"
		}),
		patient: c.join(joinToken(t, "room", "patient", "patient"), func(b *bot.Config) {
			b.Relay, b.RelayProtocol = true, "tcp"
		}),
	}
	p.wantMedia()
	for identity, protocol := range map[string]string{"doctor": "udp", "patient": "tcp"} {
		connected := c.waitEvent(5*time.Second, "ice.connected", "room", identity)
		if connected.Data["path"] != "relay" || connected.Data["protocol"] != protocol {
			t.Errorf("the path of the %s is %v, want relay over %s", identity, connected.Data, protocol)
		}
	}
	p.leave()
	eventually(t, 5*time.Second, "the relays have ended", func() bool {
		return strings.Contains(c.ask("GET", "/metrics", apiKey(), "").body, "\nconsilium_turn_allocations 0\n")
	})
}
