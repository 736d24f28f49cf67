package signaling

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"consilium/internal/media"
	"consilium/sfu"
)

func TestDeleteEndsTheSession(t *testing.T) {
	f := newWHIPFixture(t, nil)
	path, _ := f.publish(t, "cam:device@r")
	x := f.sfu.session(t, 0)
	x.expect(t, "offer v=0")
	for _, test := range []struct {
		token  string
		status int
		code   string
	}{
		{"", 401, "unauthorized"},
		{"foreign", 401, "TOKEN_BAD"},
		{"cam:device@r2", 403, "forbidden"},
		{"mallory:device@r", 403, "forbidden"},
	} {
		r, body := f.do(t, request{method: "DELETE", path: path, token: test.token})
		expectProblem(t, r, body, test.status, test.code)
	}
	x.expectNothing(t)
	// Another valid token of the same person will do, and If-Match is ignored.
	r, body := f.do(t, request{method: "DELETE", path: path, token: "cam:doctor@r", ifMatch: `"x"`})
	if r.StatusCode != http.StatusOK {
		t.Fatalf("DELETE: %d %s", r.StatusCode, body)
	}
	x.expect(t, "leave left")
	r, body = f.do(t, request{method: "DELETE", path: path, token: "cam:device@r"})
	expectProblem(t, r, body, 404, "not_found")
}

func TestASessionThatEndsIsForgotten(t *testing.T) {
	f := newWHIPFixture(t, nil)
	path, _ := f.publish(t, "cam:device@r")
	f.sfu.session(t, 0).end(sfu.NoticeEnded{Reason: media.EndLost})
	eventually(t, "the session is forgotten", func() bool { return f.Stats().Media == 0 })
	r, body := f.do(t, request{method: "DELETE", path: path, token: "cam:device@r"})
	expectProblem(t, r, body, 404, "not_found")
}

const testFrag = "a=ice-ufrag:clnt\r\na=ice-pwd:aaaaaaaaaaaaaaaaaaaaaa\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\n" +
	"a=candidate:2 1 udp 1 10.0.0.9 10 typ host\r\na=end-of-candidates\r\n"

func TestPatchFollowsTheRulesOfEntityTags(t *testing.T) {
	restart := strings.ReplaceAll(testFrag, "ice-ufrag:clnt", "ice-ufrag:new1")
	tests := map[string]struct {
		contentType, body, ifMatch string
		status                     int
		code                       string
	}{
		"trickle":              {fragType, testFrag, "current", 204, ""},
		"trickle to any":       {fragType, testFrag, "*", 204, ""},
		"one of several tags":  {fragType, testFrag, `"x", current`, 204, ""},
		"restart":              {fragType, restart, "*", 200, ""},
		"no If-Match":          {fragType, testFrag, "", 428, "precondition_required"},
		"wrong If-Match":       {fragType, testFrag, `"x"`, 412, "precondition_failed"},
		"weak If-Match":        {fragType, testFrag, `W/current`, 412, "precondition_failed"},
		"restart without":      {fragType, restart, "", 428, "precondition_required"},
		"wrong type":           {"application/sdp", testFrag, "current", 415, "unsupported_media"},
		"not a fragment":       {fragType, "hello", "current", 400, "not_sdp"},
		"empty":                {fragType, "", "current", 400, "not_sdp"},
		"half the credentials": {fragType, "a=ice-ufrag:abcd\r\n", "*", 400, "not_sdp"},
		"too large":            {fragType, strings.Repeat("a=x\r\n", 20000), "current", 413, "too_large"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			f := newWHIPFixture(t, nil)
			path, etag := f.publish(t, "cam:device@r")
			x := f.sfu.session(t, 0)
			x.expect(t, "offer v=0")
			r, body := f.do(t, request{
				method: "PATCH", path: path, token: "cam:device@r", contentType: test.contentType, body: test.body,
				ifMatch: strings.ReplaceAll(test.ifMatch, "current", etag),
			})
			if test.code != "" {
				expectProblem(t, r, body, test.status, test.code)
				x.expectNothing(t)
				return
			}
			x.expect(t, "candidate candidate:2 1 udp 1 10.0.0.9 10 typ host 0")
			if r.StatusCode != test.status {
				t.Fatalf("PATCH: %d %s", r.StatusCode, body)
			}
			if (r.Header.Get("ETag") != "") != (test.status == 200) {
				t.Errorf("%d with ETag %q", r.StatusCode, r.Header.Get("ETag"))
			}
		})
	}
}

func TestARestartOfICEIsANewGeneration(t *testing.T) {
	f := newWHIPFixture(t, nil)
	path, etag := f.publish(t, "cam:device@r")
	patch := request{
		method: "PATCH", path: path, token: "cam:device@r", contentType: fragType, ifMatch: "*",
		body: strings.ReplaceAll(testFrag, "ice-ufrag:clnt", "ice-ufrag:new1"),
	}
	var offered string
	f.sfu.session(t, 0).offer = func(_ context.Context, o sfu.Offer) (sfu.Answer, error) {
		offered = o.SDP
		return sfu.Answer{SDP: fmt.Sprintf(testAnswer, "srv2")}, nil
	}
	r, body := f.do(t, patch)
	next := r.Header.Get("ETag")
	if r.StatusCode != 200 || next == "" || next == etag || r.Header.Get("Content-Type") != fragType {
		t.Fatalf("restart: %d %s %s", r.StatusCode, r.Header, body)
	}
	want := "a=ice-ufrag:srv2\r\na=ice-pwd:bbbbbbbbbbbbbbbbbbbbbb\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n" +
		"a=candidate:1 1 udp 1 10.0.0.1 8443 typ host\r\na=end-of-candidates\r\n"
	if body != want {
		t.Errorf("fragment:\n%s\nwant:\n%s", body, want)
	}
	if !strings.Contains(offered, "o=- 1 8 IN IP4") || !strings.Contains(offered, "a=ice-ufrag:new1\r\n") ||
		strings.Contains(offered, "clnt") || strings.Contains(offered, "a=candidate") {
		t.Errorf("offer of the restart:\n%s", offered)
	}
	patch.ifMatch = etag
	r, body = f.do(t, patch)
	expectProblem(t, r, body, 412, "precondition_failed")

	f.sfu.session(t, 0).offer = func(context.Context, sfu.Offer) (sfu.Answer, error) {
		return sfu.Answer{}, fmt.Errorf("%w: no restart now", sfu.ErrBadOffer)
	}
	patch.ifMatch, patch.body = "*", strings.ReplaceAll(testFrag, "ice-ufrag:clnt", "ice-ufrag:new2")
	r, body = f.do(t, patch)
	expectProblem(t, r, body, 422, "unusable")
	patch.ifMatch, patch.body = next, strings.ReplaceAll(testFrag, "ice-ufrag:clnt", "ice-ufrag:new1")
	if r, body = f.do(t, patch); r.StatusCode != 204 {
		t.Errorf("after a failed restart: %d %s", r.StatusCode, body)
	}
}
