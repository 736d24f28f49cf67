package contract

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// claims of a token.
type claims = jwt.MapClaims

// sign signs claims with HS256 and the key of the servers under test. What is
// missing for a join token is filled in; nil takes a claim away.
func sign(t *testing.T, c claims) string {
	t.Helper()
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, complete(c)).SignedString([]byte(keySecret))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func complete(c claims) claims {
	all := claims{
		"iss": keyID, "sub": "somebody", "room": "room", "role": "patient",
		"exp": time.Now().Add(time.Hour).Unix(),
	}
	maps.Copy(all, c)
	maps.DeleteFunc(all, func(_ string, value any) bool { return value == nil })
	return all
}

// joinToken is a token for somebody.
func joinToken(t *testing.T, room, identity, role string) string {
	t.Helper()
	return sign(t, claims{"room": room, "sub": identity, "role": role, "name": "Name of " + identity})
}

// Credentials of requests.
func bearer(token string) string { return "Bearer " + token }

func basic(key, secret string) string {
	r := http.Request{Header: http.Header{}}
	r.SetBasicAuth(key, secret)
	return r.Header.Get("Authorization")
}

func apiKey() string { return basic(keyID, keySecret) }

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

// client keeps no connections, so that a server may stop when it likes.
func client() *http.Client {
	return &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true, DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       20 * time.Second,
	}
}

// ask sends a request. Headers are given as "Name: value".
func (c *child) ask(method, path, authorization, body string, headers ...string) answer {
	c.t.Helper()
	a, err := c.tryAsk(method, path, authorization, body, headers...)
	if err != nil {
		c.t.Fatal(err)
	}
	return a
}

func (c *child) tryAsk(method, path, authorization, body string, headers ...string) (answer, error) {
	r, err := http.NewRequestWithContext(c.t.Context(), method, c.URL+path, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		r.Header.Set(name, value)
	}
	response, err := client().Do(r)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, response.Header, string(data)}, err
}

// get asks for JSON with the API key.
func (c *child) get(path string, out any) {
	c.t.Helper()
	a := c.ask("GET", path, apiKey(), "")
	if a.status != http.StatusOK {
		c.t.Fatalf("GET %s: %d %s", path, a.status, a.body)
	}
	a.decode(c.t, out)
}

func (a answer) decode(t *testing.T, out any) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.body), out); err != nil {
		t.Fatalf("%v in %q", err, a.body)
	}
}

// wantProblem checks an error answer: status, code, and that it is a problem
// document in every other respect (RFC 9457).
func (a answer) wantProblem(t *testing.T, what string, status int, codes ...string) {
	t.Helper()
	if a.status != status {
		t.Errorf("%s: status %d, want %d: %s", what, a.status, status, a.body)
		return
	}
	if got := a.header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("%s: Content-Type %q, want application/problem+json", what, got)
		return
	}
	var p struct {
		Type, Title, Detail, Code string
		Status                    int
	}
	a.decode(t, &p)
	known := len(codes) == 0 && p.Code != ""
	for _, code := range codes {
		known = known || p.Code == code
	}
	if !known {
		t.Errorf("%s: code %q, want one of %q", what, p.Code, codes)
	}
	if p.Status != status || p.Title == "" || p.Type == "" {
		t.Errorf("%s: incomplete problem document %s", what, a.body)
	}
	if status == http.StatusUnauthorized && a.header.Get("WWW-Authenticate") == "" {
		t.Errorf("%s: 401 without WWW-Authenticate", what)
	}
	if status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable {
		if seconds, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || seconds < 1 {
			t.Errorf("%s: %d with Retry-After %q", what, status, a.header.Get("Retry-After"))
		}
	}
}
