package web

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
)

func newHandler(t *testing.T, c Config) http.Handler {
	t.Helper()
	h, err := Handler(c)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func get(t *testing.T, h http.Handler, path string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func text(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

var placeholder = regexp.MustCompile(`%[A-Z_]+%`)

var assetURL = regexp.MustCompile(`(?:src|href)="(/assets/[^"]+)"`)

func TestPagesCarryTheirHeadersAndAreNeverStored(t *testing.T) {
	h := newHandler(t, Config{})
	for _, path := range []string{"/", "/r/room-1", "/admin", "/selftest"} {
		t.Run(path, func(t *testing.T) {
			r := get(t, h, path)
			if r.StatusCode != http.StatusOK {
				t.Fatalf("got status %d, want 200", r.StatusCode)
			}
			want := map[string]string{
				"Content-Type":            "text/html; charset=utf-8",
				"Cache-Control":           "no-store",
				"Content-Security-Policy": contentSecurityPolicy,
				"X-Content-Type-Options":  "nosniff",
				"Referrer-Policy":         "no-referrer",
			}
			for name, value := range want {
				if got := r.Header.Get(name); got != value {
					t.Errorf("%s: got %q, want %q", name, got, value)
				}
			}
			policy := r.Header.Get("Permissions-Policy")
			for _, feature := range []string{"camera=(self)", "microphone=(self)", "display-capture=(self)"} {
				if !strings.Contains(policy, feature) {
					t.Errorf("Permissions-Policy %q lacks %s", policy, feature)
				}
			}
			if body := text(t, r); placeholder.MatchString(body) {
				t.Error("the page has a placeholder that was not filled in")
			}
		})
	}
}

func TestThePolicyAllowsNoInlineCodeAndNoForeignOrigin(t *testing.T) {
	for _, word := range []string{"unsafe-inline", "unsafe-eval", "http:", "https:", "*", "wss:"} {
		if strings.Contains(contentSecurityPolicy, word) {
			t.Errorf("the policy has %q", word)
		}
	}
	for _, word := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"} {
		if !strings.Contains(contentSecurityPolicy, word) {
			t.Errorf("the policy lacks %q", word)
		}
	}
}

func TestAssetsOfAPageExistUnderTheHashAndMayBeKeptForEver(t *testing.T) {
	h := newHandler(t, Config{})
	urls := assetURL.FindAllStringSubmatch(text(t, get(t, h, "/r/room")), -1)
	if len(urls) < 3 {
		t.Fatalf("the call page names %d assets, want at least icon, style and script", len(urls))
	}
	for _, m := range urls {
		r := get(t, h, m[1])
		if r.StatusCode != http.StatusOK {
			t.Errorf("%s: got status %d, want 200", m[1], r.StatusCode)
		}
		if got := r.Header.Get("Cache-Control"); got != "public, max-age=31536000, immutable" {
			t.Errorf("%s: got Cache-Control %q", m[1], got)
		}
	}
}

func TestAChangedFileChangesEveryAddress(t *testing.T) {
	tree := func(js string) fstest.MapFS {
		files := fstest.MapFS{"js/a.js": {Data: []byte(js)}}
		for _, p := range []string{"index", "call", "admin", "selftest", "playback"} {
			files[p+".html"] = &fstest.MapFile{Data: []byte(`<script src="%ASSETS%/js/a.js"></script>`)}
		}
		return files
	}
	old := newHandler(t, Config{Files: tree("1")})
	changed := newHandler(t, Config{Files: tree("2")})
	before := assetURL.FindStringSubmatch(text(t, get(t, old, "/")))[1]
	after := assetURL.FindStringSubmatch(text(t, get(t, changed, "/")))[1]
	if before == after {
		t.Fatalf("two versions share the address %s", before)
	}
	if r := get(t, changed, before); r.StatusCode != http.StatusNotFound {
		t.Errorf("the old address on the new server: got status %d, want 404", r.StatusCode)
	}
}

func TestATreeThatIsNotCompleteStopsTheStart(t *testing.T) {
	whole := func() fstest.MapFS {
		files := fstest.MapFS{}
		for _, p := range []string{"index", "call", "admin", "selftest", "playback"} {
			files[p+".html"] = &fstest.MapFile{Data: []byte("%ASSETS%/")}
		}
		return files
	}
	cases := map[string]func(fstest.MapFS){
		"a page is missing":          func(f fstest.MapFS) { delete(f, "call.html") },
		"a page names no assets":     func(f fstest.MapFS) { f["call.html"] = &fstest.MapFile{Data: []byte("hi")} },
		"a file has an unknown type": func(f fstest.MapFS) { f["js/a.wasm"] = &fstest.MapFile{} },
	}
	for name, spoil := range cases {
		t.Run(name, func(t *testing.T) {
			files := whole()
			spoil(files)
			if _, err := Handler(Config{Files: files}); err == nil {
				t.Error("got no error")
			}
		})
	}
}

func TestGzipIsSentToWhoTakesIt(t *testing.T) {
	h := newHandler(t, Config{})
	plain := text(t, get(t, h, "/r/room"))
	cases := map[string]struct {
		accept string
		gzip   bool
	}{
		"not asked for": {"", false},
		"asked for":     {"deflate, gzip;q=0.5, br", true},
		"upper case":    {"GZIP", true},
		"refused":       {"br, gzip;q=0", false},
		"other only":    {"br", false},
		"not a number":  {"gzip;q=x", false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := get(t, h, "/r/room", "Accept-Encoding", c.accept)
			if got := r.Header.Get("Content-Encoding") == "gzip"; got != c.gzip {
				t.Fatalf("got gzip %v, want %v", got, c.gzip)
			}
			var body io.Reader = r.Body
			if c.gzip {
				z, err := gzip.NewReader(r.Body)
				if err != nil {
					t.Fatal(err)
				}
				body = z
			}
			got, err := io.ReadAll(body)
			if err != nil || string(got) != plain {
				t.Errorf("the body is not the page (error %v)", err)
			}
		})
	}
}

func TestOnlyRoomsThatATokenCanNameHaveAPage(t *testing.T) {
	h := newHandler(t, Config{})
	cases := map[string]int{
		"/r/a.B_c~1-2":                     http.StatusOK,
		"/r/" + strings.Repeat("a", 64):    http.StatusOK,
		"/r/" + strings.Repeat("a", 65):    http.StatusNotFound,
		"/r/a%20b":                         http.StatusNotFound,
		"/r/%D0%BA":                        http.StatusNotFound,
		"/r/":                              http.StatusNotFound,
		"/r/a/b":                           http.StatusNotFound,
		"/nothing":                         http.StatusNotFound,
		"/assets/0/js/call.js":             http.StatusNotFound,
		"/assets/0/../../../../etc/shadow": http.StatusTemporaryRedirect, // cleaned by ServeMux
	}
	for path, want := range cases {
		if got := get(t, h, path).StatusCode; got != want && !(want == http.StatusTemporaryRedirect && got/100 == 3) {
			t.Errorf("%s: got status %d, want %d", path, got, want)
		}
	}
}

func TestPagesCanOnlyBeRead(t *testing.T) {
	h := newHandler(t, Config{})
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(method, "/r/room", nil))
		if w.Code != http.StatusMethodNotAllowed {
			t.Errorf("%s: got status %d, want 405", method, w.Code)
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodHead, "/", nil))
	if w.Code != http.StatusOK || w.Body.Len() != 0 {
		t.Errorf("HEAD: got status %d and %d bytes, want 200 and none", w.Code, w.Body.Len())
	}
}

func TestThePageSaysWhetherCallsAreRecorded(t *testing.T) {
	for name, c := range map[string]Config{
		`data-recording="on"`:  {},
		`data-recording="off"`: {RecordingOff: true},
	} {
		if body := text(t, get(t, newHandler(t, c), "/r/room")); !strings.Contains(body, name) {
			t.Errorf("the call page lacks %s", name)
		}
	}
}
