package signaling

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/time/rate"

	"consilium/internal/event"
	"consilium/internal/media"
	"consilium/sfu"
)

const (
	testOffer = "v=0\r\no=- 1 7 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n" +
		"m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=ice-ufrag:clnt\r\na=ice-pwd:aaaaaaaaaaaaaaaaaaaaaa\r\n" +
		"a=candidate:1 1 udp 1 10.0.0.9 9 typ host\r\na=sendonly\r\n"
	testAnswer = "v=0\r\no=- 2 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n" +
		"m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=ice-ufrag:%s\r\na=ice-pwd:bbbbbbbbbbbbbbbbbbbbbb\r\n" +
		"a=candidate:1 1 udp 1 10.0.0.1 8443 typ host\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\n"
)

// request describes an HTTP request of a WHIP or WHEP client.
type request struct {
	method, path, token, contentType, body, ifMatch string
	header                                          http.Header
}

func (f *fixture) do(t *testing.T, q request) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequest(q.method, f.http.URL+q.path, strings.NewReader(q.body))
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(r.Header, q.header)
	for name, value := range map[string]string{"Content-Type": q.contentType, "If-Match": q.ifMatch} {
		if value != "" {
			r.Header.Set(name, value)
		}
	}
	if q.token != "" {
		r.Header.Set("Authorization", "Bearer "+q.token)
	}
	answer, err := f.http.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer, string(data)
}

// expectProblem checks that an answer is a problem document with a code.
func expectProblem(t *testing.T, r *http.Response, body string, status int, code string) {
	t.Helper()
	var p struct{ Code string }
	if err := json.Unmarshal([]byte(body), &p); err != nil {
		t.Fatalf("%d %q is no problem document: %v", r.StatusCode, body, err)
	}
	if r.StatusCode != status || p.Code != code || r.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("answer %d %s, want %d %s", r.StatusCode, body, status, code)
	}
	if (status == 429 || status == 503) && r.Header.Get("Retry-After") == "" {
		t.Error("Retry-After is missing")
	}
	if status == 401 && !strings.HasPrefix(r.Header.Get("WWW-Authenticate"), "Bearer") {
		t.Error("WWW-Authenticate is missing")
	}
	if r.Header.Get("Access-Control-Allow-Origin") != "*" {
		t.Error("a page of another origin can't read the problem")
	}
}

// publish opens a WHIP session and returns its URL and entity tag.
func (f *fixture) publish(t *testing.T, token string) (path, etag string) {
	t.Helper()
	r, body := f.do(t, request{method: "POST", path: "/whip/r", token: token, contentType: "application/sdp", body: testOffer})
	if r.StatusCode != http.StatusCreated {
		t.Fatalf("POST: %d %s", r.StatusCode, body)
	}
	return r.Header.Get("Location"), r.Header.Get("ETag")
}

func newWHIPFixture(t *testing.T, change func(*Config)) *fixture {
	f := newFixture(t, change)
	generation := 0
	f.sfu.set(func(s *fakeSFU) {
		s.offer = func(context.Context, sfu.Offer) (sfu.Answer, error) {
			generation++
			return sfu.Answer{SDP: fmt.Sprintf(testAnswer, fmt.Sprint("srv", generation))}, nil
		}
	})
	return f
}

func TestPostOpensASession(t *testing.T) {
	tests := map[string]struct {
		path, token string
		want        sfu.JoinRequest
	}{
		"WHIP":        {"/whip/r", "cam-1:device@r", sfu.JoinRequest{Mode: sfu.Publisher}},
		"WHEP":        {"/whep/r/doc", "tv:observer@r", sfu.JoinRequest{Mode: sfu.Player, Target: "doc"}},
		"WHEP screen": {"/whep/r/doc?source=screen", "tv:observer@r", sfu.JoinRequest{Mode: sfu.Player, Target: "doc", Sources: []media.Source{media.Screen}}},
	}
	f := newWHIPFixture(t, nil)
	n := 0
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r, body := f.do(t, request{method: "POST", path: test.path, token: test.token, contentType: "application/sdp; charset=utf-8", body: testOffer})
			if r.StatusCode != http.StatusCreated || r.Header.Get("Content-Type") != "application/sdp" || !strings.HasPrefix(body, "v=0") {
				t.Fatalf("answer %d %s %s", r.StatusCode, r.Header, body)
			}
			path, _, _ := strings.Cut(test.path, "?")
			if l := r.Header.Get("Location"); !strings.HasPrefix(l, path+"/") || len(l) < len(path)+40 {
				t.Errorf("Location %q", l)
			}
			if e := r.Header.Get("ETag"); len(e) < 10 || e[0] != '"' {
				t.Errorf("ETag %q is not strong", e)
			}
			identity, _, _ := strings.Cut(test.token, ":")
			link := `<turn:example.org:3478?transport=udp>; rel="ice-server"; username="1:` + identity + `"; credential="c"; credential-type="password"`
			if l := r.Header.Values("Link"); len(l) != 1 || l[0] != link {
				t.Errorf("Link %q", l)
			}
			q := f.sfu.session(t, n).request
			n++
			if q.Mode != test.want.Mode || q.Target != test.want.Target || fmt.Sprint(q.Sources) != fmt.Sprint(test.want.Sources) || q.Identity != identity {
				t.Errorf("join request %+v", q)
			}
		})
	}
}

func TestBadPostsAreRefused(t *testing.T) {
	good := request{method: "POST", path: "/whip/r", token: "cam:device@r", contentType: "application/sdp", body: testOffer}
	tests := map[string]struct {
		change func(*request)
		status int
		code   string
	}{
		"no token":         {func(q *request) { q.token = "" }, 401, "unauthorized"},
		"basic":            {func(q *request) { q.token = ""; q.header = http.Header{"Authorization": {"Basic eDp5"}} }, 401, "unauthorized"},
		"bad token":        {func(q *request) { q.token = "foreign" }, 401, "TOKEN_BAD"},
		"expired token":    {func(q *request) { q.token = "expired" }, 401, "TOKEN_EXPIRED"},
		"early token":      {func(q *request) { q.token = "early" }, 401, "TOKEN_EARLY"},
		"admin token":      {func(q *request) { q.token = "admin" }, 403, "TOKEN_BAD"},
		"another room":     {func(q *request) { q.token = "cam:device@r2" }, 403, "forbidden"},
		"may not publish":  {func(q *request) { q.token = "tv:observer@r" }, 403, "forbidden"},
		"may not play":     {func(q *request) { q.path = "/whep/r/doc" }, 403, "forbidden"},
		"unknown source":   {func(q *request) { q.path, q.token = "/whep/r/doc?source=tv", "tv:observer@r" }, 400, "bad_request"},
		"JSON":             {func(q *request) { q.contentType = "application/json" }, 415, "unsupported_media"},
		"no content type":  {func(q *request) { q.contentType = "" }, 415, "unsupported_media"},
		"not SDP":          {func(q *request) { q.body = "hello" }, 400, "not_sdp"},
		"empty":            {func(q *request) { q.body = "" }, 400, "not_sdp"},
		"too large":        {func(q *request) { q.body = testOffer + strings.Repeat("a=x\r\n", 20000) }, 413, "too_large"},
		"GET":              {func(q *request) { q.method = "GET" }, 405, "method_not_allowed"},
		"PUT":              {func(q *request) { q.method = "PUT" }, 405, "method_not_allowed"},
		"unknown endpoint": {func(q *request) { q.path = "/whip/r/x/y" }, 404, "not_found"},
	}
	f := newWHIPFixture(t, nil)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			q := good
			test.change(&q)
			r, body := f.do(t, q)
			expectProblem(t, r, body, test.status, test.code)
			if test.status == 405 && r.Header.Get("Allow") == "" {
				t.Error("Allow is missing")
			}
		})
	}
	if f.sfu.count() != 0 {
		t.Errorf("%d sessions were opened", f.sfu.count())
	}
}

func TestErrorsOfTheSFUHaveTheirStatus(t *testing.T) {
	tests := map[string]struct {
		err    error
		status int
		code   string
	}{
		"not SDP":    {sfu.ErrNotSDP, 400, "not_sdp"},
		"unusable":   {sfu.ErrBadOffer, 422, "unusable"},
		"no grant":   {sfu.ErrNoGrant, 403, "forbidden"},
		"not found":  {sfu.ErrNotFound, 404, "not_found"},
		"waiting":    {sfu.ErrWaiting, 409, "conflict"},
		"conflict":   {sfu.ErrConflict, 409, "conflict"},
		"busy":       {sfu.ErrBusy, 503, "SERVER_BUSY"},
		"restarting": {sfu.ErrDraining, 503, "SERVER_RESTART"},
		"recorder":   {sfu.ErrRecording, 503, "RECORDER_FAILED"},
		"timeout":    {context.DeadlineExceeded, 503, "SERVER_BUSY"},
		"unknown":    {io.ErrUnexpectedEOF, 500, "internal"},
	}
	post := request{method: "POST", path: "/whip/r", token: "cam:device@r", contentType: "application/sdp", body: testOffer}
	f := newFixture(t, nil)
	for name, test := range tests {
		t.Run(name+" at join", func(t *testing.T) {
			f.sfu.set(func(s *fakeSFU) { s.joinErr = fmt.Errorf("join: %w", test.err) })
			r, body := f.do(t, post)
			expectProblem(t, r, body, test.status, test.code)
		})
		t.Run(name+" at offer", func(t *testing.T) {
			f.sfu.set(func(s *fakeSFU) {
				s.joinErr = nil
				s.offer = func(context.Context, sfu.Offer) (sfu.Answer, error) {
					return sfu.Answer{}, fmt.Errorf("answer: %w", test.err)
				}
			})
			r, body := f.do(t, post)
			expectProblem(t, r, body, test.status, test.code)
			x := f.sfu.session(t, f.sfu.count()-1)
			x.expect(t, "offer v=0")
			x.expect(t, "leave lost") // no session stays behind
		})
	}
	if n := f.Stats().Media; n != 0 {
		t.Errorf("%d sessions stay behind", n)
	}
}

func TestTooManyPostsOfOneIdentityAreRefused(t *testing.T) {
	f := newWHIPFixture(t, func(c *Config) { c.Limits.JoinRate, c.Limits.JoinBurst = 0.001, 2 })
	f.publish(t, "cam:device@r")
	f.publish(t, "cam:device@r")
	r, body := f.do(t, request{method: "POST", path: "/whip/r", token: "cam:device@r", contentType: "application/sdp", body: testOffer})
	expectProblem(t, r, body, 429, "rate_limited")
	f.publish(t, "cam-2:device@r")
}

func TestTenSessionsOfOneIdentityLiveSideBySide(t *testing.T) {
	f := newWHIPFixture(t, nil)
	seen := map[string]bool{}
	for range 10 {
		path, _ := f.publish(t, "cam:device@r")
		seen[path] = true
	}
	if len(seen) != 10 || f.Stats().Media != 10 {
		t.Errorf("%d URLs, %d sessions", len(seen), f.Stats().Media)
	}
}

func TestPagesOfOtherOriginsMayPublish(t *testing.T) {
	f := newWHIPFixture(t, nil)
	for _, path := range []string{"/whip/r", "/whep/r/doc", "/whip/r/session", "/whep/r/doc/session"} {
		r, _ := f.do(t, request{method: "OPTIONS", path: path, header: http.Header{
			"Origin": {"https://mis.example"}, "Access-Control-Request-Method": {"POST"},
		}})
		h := r.Header
		if r.StatusCode != 200 || h.Get("Access-Control-Allow-Origin") != "*" || h.Get("Link") != "" ||
			!strings.Contains(h.Get("Access-Control-Allow-Headers"), "Authorization") ||
			!strings.Contains(h.Get("Access-Control-Allow-Headers"), "If-Match") || h.Get("Access-Control-Allow-Methods") == "" {
			t.Errorf("%s: %d %v", path, r.StatusCode, h)
		}
	}
	r, _ := f.do(t, request{method: "OPTIONS", path: "/whip/r"})
	if r.StatusCode != 200 || r.Header.Get("Accept-Post") != "application/sdp" || r.Header.Get("Link") != "" {
		t.Errorf("OPTIONS without token: %d %v", r.StatusCode, r.Header)
	}
	r, _ = f.do(t, request{method: "OPTIONS", path: "/whip/r", token: "cam:device@r"})
	if r.StatusCode != 200 || r.Header.Get("Link") == "" {
		t.Errorf("OPTIONS with token: %d %v", r.StatusCode, r.Header)
	}
	r, body := f.do(t, request{method: "OPTIONS", path: "/whip/r", token: "foreign"})
	expectProblem(t, r, body, 401, "TOKEN_BAD")
	r, _ = f.do(t, request{method: "POST", path: "/whip/r", token: "cam:device@r", contentType: "application/sdp", body: testOffer})
	for _, name := range []string{"Location", "ETag", "Link"} {
		if !strings.Contains(r.Header.Get("Access-Control-Expose-Headers"), name) {
			t.Errorf("a page can't read %s", name)
		}
	}
}

func TestDrainEndsMediaSessions(t *testing.T) {
	f := newWHIPFixture(t, nil)
	f.publish(t, "cam:device@r")
	x := f.sfu.session(t, 0)
	x.expect(t, "offer v=0")
	f.Drain()
	x.expect(t, "leave shutdown")
	r, body := f.do(t, request{method: "POST", path: "/whip/r", token: "cam:device@r", contentType: "application/sdp", body: testOffer})
	expectProblem(t, r, body, 503, string(event.ServerRestart))
}

func TestJoinLimiterIsBounded(t *testing.T) {
	l := &joinLimiter{rate: 1e-9, burst: 1, byName: map[string]*rate.Limiter{}}
	for i := range maxLimited {
		if !l.allow(fmt.Sprint(i)) {
			t.Fatalf("%d was refused", i)
		}
	}
	if l.allow("one more") || len(l.byName) > maxLimited {
		t.Errorf("%d identities are remembered", len(l.byName))
	}
	l.rate = 1e9
	for _, limiter := range l.byName {
		limiter.SetLimit(l.rate)
	}
	if !l.allow("one more") {
		t.Error("quiet identities are not forgotten")
	}
}
