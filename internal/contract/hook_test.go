package contract

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// receiver is the webhook receiver of a medical information system. It checks
// signatures as Standard Webhooks 1.0 has them.
type receiver struct {
	t   *testing.T
	URL string

	mu     sync.Mutex
	events []event
	came   map[string]time.Time // by id
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &receiver{t: t, URL: "http://" + l.Addr().String() + "/hook", came: map[string]time.Time{}}
	server := &http.Server{Handler: r, ReadHeaderTimeout: 10 * time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l)
	}()
	t.Cleanup(func() {
		_ = server.Shutdown(context.Background())
		<-done
	})
	return r
}

func (r *receiver) options() options {
	return options{"webhook.url": r.URL, "webhook.secret": hookSecret}
}

// ServeHTTP takes one delivery.
func (r *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	body, err := io.ReadAll(q.Body)
	if err != nil {
		return
	}
	id, stamp := q.Header.Get("webhook-id"), q.Header.Get("webhook-timestamp")
	if q.Method != http.MethodPost || !strings.HasPrefix(q.Header.Get("Content-Type"), "application/json") {
		r.t.Errorf("a delivery by %s of %s", q.Method, q.Header.Get("Content-Type"))
	}
	if seconds, err := strconv.ParseInt(stamp, 10, 64); err != nil || time.Since(time.Unix(seconds, 0)).Abs() > 30*time.Second {
		r.t.Errorf("webhook-timestamp %q", stamp)
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(hookSecret, "whsec_"))
	if err != nil {
		r.t.Error(err)
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + stamp + "." + string(body)))
	want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	if got := q.Header.Get("webhook-signature"); got != want {
		r.t.Errorf("webhook-signature %q, want %q", got, want)
	}
	var e event
	if err := json.Unmarshal(body, &e); err != nil || e.ID != id {
		r.t.Errorf("body %s with webhook-id %q: %v", body, id, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
	r.came[e.ID] = time.Now()
	w.WriteHeader(http.StatusNoContent)
}

func (r *receiver) all() []event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]event(nil), r.events...)
}
