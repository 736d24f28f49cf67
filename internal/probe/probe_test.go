package probe

import (
	"bufio"
	"context"
	"crypto/x509"
	"encoding/pem"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/pion/stun/v4"

	"consilium/internal/certs"
	"consilium/internal/event"
	"consilium/signaling"
)

func TestTheFirstCauseOnTheWayIsTheVerdict(t *testing.T) {
	up := map[string]Status{CheckPort: OK, CheckTLS: OK, CheckHTTP: OK, CheckToken: OK, CheckSocket: OK}
	with := func(more map[string]Status) map[string]Status {
		all := map[string]Status{}
		for _, m := range []map[string]Status{up, more} {
			maps.Copy(all, m)
		}
		return all
	}
	codes := map[string]event.Code{
		CheckDNS: event.NoRoute, CheckPort: event.NoRoute, CheckTLS: event.CertUntrusted, CheckHTTP: event.SignalLost,
		CheckToken: event.TokenExpired, CheckSocket: event.SignalLost,
		CheckUDP: event.UDPBlocked, CheckTCP: event.NoRoute, CheckTURNTLS: event.TURNAuth,
	}
	for name, c := range map[string]struct {
		checks  map[string]Status
		verdict string
		code    event.Code
	}{
		"everything works":          {with(map[string]Status{CheckUDP: OK, CheckTCP: OK, CheckTURNTLS: OK}), Good, ""},
		"no UDP":                    {with(map[string]Status{CheckUDP: Failed, CheckTCP: OK}), Limited, event.UDPBlocked},
		"the relay alone":           {with(map[string]Status{CheckUDP: Failed, CheckTCP: Failed, CheckTURNTLS: OK}), Limited, event.UDPBlocked},
		"the tunnel alone":          {with(map[string]Status{CheckUDP: Failed, CheckTCP: Failed, CheckTunnel: OK}), Limited, event.UDPBlocked},
		"nothing for media":         {with(map[string]Status{CheckUDP: Failed, CheckTCP: Failed}), Bad, event.NoRoute},
		"the relay refuses":         {with(map[string]Status{CheckUDP: Failed, CheckTURNTLS: Failed}), Bad, event.TURNAuth},
		"expired, all ways open":    {with(map[string]Status{CheckToken: Failed, CheckUDP: OK}), Bad, event.TokenExpired},
		"no socket, all ways open":  {with(map[string]Status{CheckSocket: Failed, CheckUDP: OK}), Bad, event.SignalLost},
		"untrusted":                 {map[string]Status{CheckPort: OK, CheckTLS: Failed}, Bad, event.CertUntrusted},
		"no name":                   {map[string]Status{CheckDNS: Failed}, Bad, event.NoRoute},
		"no port":                   {map[string]Status{CheckDNS: OK, CheckPort: Failed}, Bad, event.NoRoute},
		"the proxy, not the port":   {with(map[string]Status{CheckPort: Failed, CheckProxy: OK, CheckTCP: OK}), Good, ""},
		"redirect is no call":       {with(map[string]Status{CheckRedirect: Failed, CheckUDP: OK}), Good, ""},
		"a wrong clock is no cause": {with(map[string]Status{CheckClock: Failed, CheckUDP: OK}), Good, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var r Report
			for check, status := range c.checks {
				one := Check{Name: check, Status: status, Words: "words"}
				if status == Failed {
					one.Code = codes[check]
				}
				r.Checks = append(r.Checks, one)
			}
			r.judge()
			if r.Verdict != c.verdict || r.Code != c.code || r.Words == "" || r.Works() != (c.verdict != Bad) {
				t.Errorf("got %s %s %q, want %s %s", r.Verdict, r.Code, r.Words, c.verdict, c.code)
			}
		})
	}
}

func TestWhyACertificateIsNotTrustedIsSaid(t *testing.T) {
	now := time.Now()
	authority, err := certs.NewAuthority("Hospital", []string{"hospital.example"}, now)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := authority.Save(dir); err != nil {
		t.Fatal(err)
	}
	chainPEM, _, err := authority.Issue([]string{"video.hospital.example"}, certs.MinLifetime, now)
	if err != nil {
		t.Fatal(err)
	}
	chain := parse(t, chainPEM)
	for name, c := range map[string]struct {
		host string
		at   time.Time
		say  string
	}{
		"nobody knows the authority": {"video.hospital.example", now, "local authority"},
		"another host":               {"other.hospital.example", now, "not for other.hospital.example"},
		"too late":                   {"video.hospital.example", now.AddDate(5, 0, 0), "ended on"},
		"too early":                  {"video.hospital.example", now.AddDate(-5, 0, 0), "begins on"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := distrust(chain, c.host, x509.NewCertPool(), c.at); !strings.Contains(got, c.say) {
				t.Errorf("got %q, want %q", got, c.say)
			}
		})
	}
}

func TestTheClockIsJudgedByTheLeewayOfTokens(t *testing.T) {
	for name, c := range map[string]struct {
		ahead  time.Duration
		status Status
		say    string
	}{
		"same":            {time.Millisecond, OK, "agree"},
		"seconds":         {-10 * time.Second, OK, "differ by 10s"},
		"server ahead":    {40 * time.Second, Failed, "40s behind"},
		"server behind":   {-time.Hour, Failed, "1h0m0s ahead"},
		"just within":     {29 * time.Second, OK, "no harm"},
		"rounds to limit": {30 * time.Second, OK, "no harm"},
	} {
		t.Run(name, func(t *testing.T) {
			p := &prober{checks: map[string]Check{}}
			p.noteClock(time.Now(), c.ahead)
			if got := p.checks[CheckClock]; got.Status != c.status || !strings.Contains(got.Words, c.say) {
				t.Errorf("got %+v, want %s %q", got, c.status, c.say)
			}
		})
	}
}

func TestEachRelayIsFoundByItsTransport(t *testing.T) {
	servers := []signaling.ICEServer{{
		URLs: []string{
			"stun:a:3478", "turn:b:3478?transport=udp", "turn:c:443?transport=tcp", "turns:d:443?transport=tcp", "turn:e", "?", "",
		},
		Username: "u", Credential: "p",
	}}
	for name, want := range map[string]string{CheckTURNUDP: "b:3478", CheckTURNTCP: "c:443", CheckTURNTLS: "d:443"} {
		if r, ok := pick(servers, name); !ok || r.address() != want || r.username != "u" || r.password != "p" {
			t.Errorf("%s: got %+v, want %s", name, r, want)
		}
	}
	if r, ok := pick(nil, CheckTURNUDP); ok {
		t.Errorf("without a server there is %+v", r)
	}
}

// proxy answers one CONNECT with a line, and returns what was asked.
func proxy(t *testing.T, answer string) (*url.URL, <-chan *http.Request) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan *http.Request, 1)
	go func() {
		defer close(asked)
		conn, err := l.Accept()
		if err != nil {
			return // nobody asks
		}
		defer conn.Close()
		if r, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
			asked <- r
		}
		_, _ = conn.Write([]byte(answer))
	}()
	t.Cleanup(func() { l.Close() })
	return &url.URL{Scheme: "http", Host: l.Addr().String(), User: url.UserPassword("anna", "secret")}, asked
}

func TestATunnelIsAskedOfTheProxy(t *testing.T) {
	for name, c := range map[string]struct{ answer, say string }{
		"granted":   {"HTTP/1.1 200 OK\r\n\r\n", ""},
		"forbidden": {"HTTP/1.1 403 Forbidden\r\n\r\n", "403 Forbidden"},
		"closed":    {"", "read the answer"},
		"no HTTP":   {"hello\r\n\r\n", "read the answer"},
	} {
		t.Run(name, func(t *testing.T) {
			at, asked := proxy(t, c.answer)
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			conn, err := connectThrough(ctx, at, "video.example.org:443")
			if err == nil {
				conn.Close()
			}
			if (err == nil) != (c.say == "") || err != nil && !strings.Contains(err.Error(), c.say) {
				t.Errorf("got %v, want %q", err, c.say)
			}
			r := <-asked
			if r == nil || r.Method != http.MethodConnect || r.Host != "video.example.org:443" || r.Header.Get("Proxy-Authorization") == "" {
				t.Errorf("the proxy was asked %+v", r)
			}
		})
	}
}

func TestOnlyTheAnswerToOurTransactionCounts(t *testing.T) {
	request := stun.MustBuild(stun.TransactionID, stun.BindingRequest)
	answer := func(id stun.Setter, kind stun.MessageType) []byte {
		return stun.MustBuild(id, kind, &stun.XORMappedAddress{IP: net.IPv4(192, 0, 2, 7), Port: 5000}).Raw
	}
	own := stun.NewTransactionIDSetter(request.TransactionID)
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"ours":           {answer(own, stun.BindingSuccess), "192.0.2.7:5000"},
		"somebody's":     {answer(stun.TransactionID, stun.BindingSuccess), ""},
		"an error":       {answer(own, stun.BindingError), ""},
		"without one":    {stun.MustBuild(own, stun.BindingSuccess).Raw, ""},
		"noise":          {[]byte("noise"), ""},
		"nothing at all": {nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got, ok := mapped(c.data, request.TransactionID); got != c.want || ok != (c.want != "") {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func parse(t *testing.T, chainPEM []byte) []*x509.Certificate {
	t.Helper()
	var chain []*x509.Certificate
	for rest := chainPEM; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return chain
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		chain = append(chain, c)
	}
}
