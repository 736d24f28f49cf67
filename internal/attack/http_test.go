package attack

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"consilium/internal/testserver"

	"github.com/golang-jwt/jwt/v5"
)

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

// ask sends a request. Headers are given as "Name: value".
func (c *child) ask(method, path, authorization, body string, headers ...string) answer {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), method, c.URL+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header.Set("Authorization", authorization)
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		r.Header.Set(name, value)
	}
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
	}}
	response, err := client.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, string(data)}
}

// wantServed checks that the server still answers, and soon.
func (c *child) wantServed(after string) {
	c.t.Helper()
	begin := time.Now()
	if got := c.ask("GET", "/readyz", "", ""); got.status != http.StatusOK {
		c.t.Errorf("after %s: %d %s", after, got.status, got.body)
	}
	if took := time.Since(begin); took > 3*time.Second {
		c.t.Errorf("after %s an answer took %v", after, took)
	}
}

// token is a join token.
func token(t *testing.T, room, identity, role string) string {
	t.Helper()
	text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"iss": keyID, "sub": identity, "room": room, "role": role, "name": identity,
		"exp": time.Now().Add(time.Hour).Unix(),
	}).SignedString([]byte(keySecret))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// turnAddress asks the server for the UDP address of TURN.
func (c *child) turnAddress() netip.AddrPort {
	c.t.Helper()
	r := http.Request{Header: http.Header{}}
	r.SetBasicAuth(keyID, keySecret)
	a := c.ask("GET", "/v1/turn?username=probe", r.Header.Get("Authorization"), "")
	var got struct{ URIs []string }
	if err := json.Unmarshal([]byte(a.body), &got); err != nil {
		c.t.Fatalf("GET /v1/turn: %d %s: %v", a.status, a.body, err)
	}
	for _, uri := range got.URIs {
		u, err := url.Parse(uri)
		if err != nil || u.RawQuery != "transport=udp" {
			continue
		}
		_, port, _ := strings.Cut(u.Opaque, ":")
		return netip.MustParseAddrPort("127.0.0.1:" + port)
	}
	c.t.Fatalf("no TURN over UDP in %q", got.URIs)
	return netip.AddrPort{}
}

// certificate are the options of a server with a certificate of its own.
func certificate(t *testing.T) options {
	t.Helper()
	return testserver.WithTLS(t, "video.hospital.example")
}
