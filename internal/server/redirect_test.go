package server

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
)

func TestPlainHTTPIsRedirectedToTheSamePlace(t *testing.T) {
	for name, tc := range map[string]struct {
		public, method, host, path string
		status                     int
		location                   string
	}{
		"the host asked for":          {"", "GET", "video.example", "/r/room?x=1", 308, "https://video.example/r/room?x=1"},
		"HEAD":                        {"", "HEAD", "video.example", "/", 308, "https://video.example/"},
		"the same port":               {"", "GET", "video.example:8443", "/", 308, "https://video.example:8443/"},
		"port 80 means 443":           {"", "GET", "video.example:80", "/", 308, "https://video.example/"},
		"port 80 of an IPv6 address":  {"", "GET", "[2001:db8::1]:80", "/", 308, "https://[2001:db8::1]/"},
		"the public URL wins":         {"https://video.example:444", "GET", "evil.example", "/a%2Fb", 308, "https://video.example:444/a%2Fb"},
		"a path that looks like host": {"", "GET", "video.example", "//evil.example/", 308, "https://video.example//evil.example/"},
		"POST":                        {"", "POST", "video.example", "/whip/room", 400, ""},
		"no host":                     {"", "GET", "", "/", 400, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(tc.method, tc.path, nil)
			if strings.HasPrefix(tc.path, "//") { // NewRequest takes what follows for a host
				r.URL.Host, r.URL.Path = "", tc.path
			}
			r.Host = tc.host
			w := httptest.NewRecorder()
			redirect(tc.public).ServeHTTP(w, r)
			if w.Code != tc.status || w.Header().Get("Location") != tc.location {
				t.Errorf("got %d to %q, want %d to %q", w.Code, w.Header().Get("Location"), tc.status, tc.location)
			}
			if got := w.Header().Get("Content-Type"); tc.status == 400 && got != "application/problem+json" {
				t.Errorf("content type %q, want a problem", got)
			}
		})
	}
}

func TestOnlyListedProxiesAreBelieved(t *testing.T) {
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	said := map[string][]string{
		"X-Forwarded-For":   {"6.6.6.6, 203.0.113.9", "10.0.0.2"},
		"X-Forwarded-Proto": {"https"},
		"X-Forwarded-Host":  {"video.example"},
	}
	for name, tc := range map[string]struct {
		peer                 string
		headers              map[string][]string
		remote, host, scheme string
	}{
		"a listed proxy":       {"10.0.0.1:1234", said, "203.0.113.9:0", "video.example", "https"},
		"a mapped address":     {"[::ffff:10.0.0.1]:1234", said, "203.0.113.9:0", "video.example", "https"},
		"anybody else":         {"203.0.113.5:1234", said, "203.0.113.5:1234", "inner", ""},
		"a proxy says nothing": {"[::1]:1", nil, "[::1]:1", "inner", ""},
		"a proxy says garbage": {"[::1]:1", map[string][]string{"X-Forwarded-For": {"x"}, "X-Forwarded-Proto": {"gopher"}}, "[::1]:1", "inner", ""},
		"all are proxies":      {"10.0.0.1:1", map[string][]string{"X-Forwarded-For": {"10.0.0.3"}}, "10.0.0.3:0", "inner", ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			r.RemoteAddr, r.Host = tc.peer, "inner"
			for header, lines := range tc.headers {
				r.Header[header] = append([]string(nil), lines...)
			}
			called := false
			behind(proxies, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				called = true
				if r.RemoteAddr != tc.remote || r.Host != tc.host || r.URL.Scheme != tc.scheme {
					t.Errorf("got %s %s %q, want %s %s %q", r.RemoteAddr, r.Host, r.URL.Scheme, tc.remote, tc.host, tc.scheme)
				}
				if name == "anybody else" && len(r.Header) > 0 {
					t.Errorf("headers %v of a stranger were left", r.Header)
				}
			})).ServeHTTP(httptest.NewRecorder(), r)
			if !called {
				t.Error("not handled")
			}
		})
	}
}
