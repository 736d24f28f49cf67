package problem

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

func TestWriteSendsProblemDetails(t *testing.T) {
	tests := map[string]struct {
		status     int
		code       string
		opts       []Option
		retryAfter string
		allow      string
		challenge  string
	}{
		"not found":                     {status: 404, code: NotFound},
		"unauthorized challenges":       {status: 401, code: Unauthorized, challenge: `Bearer realm="consilium"`},
		"busy always says when":         {status: 503, code: "SERVER_BUSY", retryAfter: "5"},
		"too many always says when":     {status: 429, code: RateLimited, retryAfter: "5"},
		"retry is rounded up":           {status: 503, code: Unavailable, opts: []Option{RetryAfter(1200 * time.Millisecond)}, retryAfter: "2"},
		"method not allowed says which": {status: 405, code: MethodNotAllowed, opts: []Option{Allow("GET, HEAD")}, allow: "GET, HEAD"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := httptest.NewRecorder()
			w.Header().Set("Content-Length", "17")
			Write(w, test.status, test.code, "the detail", test.opts...)
			if w.Code != test.status {
				t.Errorf("status = %d, want %d", w.Code, test.status)
			}
			h := w.Header()
			if got := h.Get("Content-Type"); got != ContentType {
				t.Errorf("Content-Type = %q", got)
			}
			if got := h.Get("Content-Length"); got != "" {
				t.Errorf("stale Content-Length %q was kept", got)
			}
			for header, want := range map[string]string{
				"Retry-After": test.retryAfter, "Allow": test.allow, "WWW-Authenticate": test.challenge,
			} {
				if got := h.Get(header); got != want {
					t.Errorf("%s = %q, want %q", header, got, want)
				}
			}
			var got map[string]any
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
				t.Fatalf("body is not JSON: %v", err)
			}
			want := map[string]any{
				"type": "about:blank", "title": http.StatusText(test.status), "status": float64(test.status),
				"detail": "the detail", "code": test.code,
			}
			for key, value := range want {
				if got[key] != value {
					t.Errorf("%s = %v, want %v", key, got[key], value)
				}
			}
		})
	}
}
