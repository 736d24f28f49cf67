package webhook

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"consilium/internal/event"
	"consilium/internal/leak"
)

func TestSignatureIsTheOneOfTheSpecification(t *testing.T) {
	// The example of the Standard Webhooks specification.
	key, err := parseSecret(secret)
	if err != nil {
		t.Fatal(err)
	}
	got := sign([][]byte{key}, "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("signature %s, want %s", got, want)
	}
}

func TestDeliveryIsASignedPOSTOfTheEvent(t *testing.T) {
	leak.Check(t)
	type request struct {
		header http.Header
		method string
		body   []byte
	}
	requests := make(chan request, 1)
	mis := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		requests <- request{r.Header, r.Method, body}
	}))
	defer mis.Close()
	s, err := New(Config{URL: mis.URL, Secrets: []string{secret, "the next secret, as plain text"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	s.Emit(event.Event{ID: "n", Type: event.NoteCandidate})
	s.Emit(event.Event{
		ID: "0001", Type: event.MediaTimeout, Time: time.Now(), Call: "c", ExternalID: "visit-7",
		Failure: event.Failure{Code: event.NoMediaOut, Stage: event.StageFirstRTP},
	})
	got := <-requests
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if got.method != http.MethodPost || got.header.Get("Content-Type") != "application/json" {
		t.Errorf("%s %s", got.method, got.header.Get("Content-Type"))
	}
	var e event.Event
	if err := json.Unmarshal(got.body, &e); err != nil {
		t.Fatal(err)
	}
	if e.ID != "0001" || e.Code != event.NoMediaOut || e.ExternalID != "visit-7" {
		t.Errorf("event = %+v", e)
	}
	if got.header.Get("Webhook-Id") != e.ID {
		t.Errorf("webhook-id = %q", got.header.Get("Webhook-Id"))
	}
	sent, err := strconv.ParseInt(got.header.Get("Webhook-Timestamp"), 10, 64)
	if err != nil || time.Since(time.Unix(sent, 0)).Abs() > time.Minute {
		t.Errorf("webhook-timestamp = %q", got.header.Get("Webhook-Timestamp"))
	}
	verify(t, got.header, got.body)
}

// verify checks the signatures as a receiver does, by its own means.
func verify(t *testing.T, header http.Header, body []byte) {
	t.Helper()
	signatures := strings.Fields(header.Get("Webhook-Signature"))
	first, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		t.Fatal(err)
	}
	for i, key := range [][]byte{first, []byte("the next secret, as plain text")} {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(header.Get("Webhook-Id") + "." + header.Get("Webhook-Timestamp") + "." + string(body)))
		want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
		if len(signatures) != 2 || signatures[i] != want {
			t.Errorf("signatures = %v, want %s at %d", signatures, want, i)
		}
	}
}

func TestPayloadsStayBelow20KB(t *testing.T) {
	long := strings.Repeat("x", 30_000)
	tests := map[string]event.Event{
		"evidence": {ID: "1", Type: event.MediaTimeout, Failure: event.Failure{Code: event.NoRoute, Evidence: map[string]any{"sdp": long}}},
		"data":     {ID: "1", Type: event.MediaTimeout, Failure: event.Failure{Code: event.NoRoute}, Data: map[string]any{"sdp": long, "incident": "K7M4-QX"}},
		"metadata": {ID: "1", Type: event.MediaTimeout, Failure: event.Failure{Code: event.NoRoute}, Metadata: map[string]string{"k": long}},
	}
	for name, e := range tests {
		t.Run(name, func(t *testing.T) {
			body, err := encode(e)
			if err != nil {
				t.Fatal(err)
			}
			if len(body) >= maxPayload {
				t.Errorf("%d bytes", len(body))
			}
			var got event.Event
			if err := json.Unmarshal(body, &got); err != nil {
				t.Fatal(err)
			}
			if got.Code != event.NoRoute || got.Data["truncated"] != true {
				t.Errorf("got %+v", got)
			}
			if got.Incident() != e.Incident() {
				t.Errorf("incident %q, want %q", got.Incident(), e.Incident())
			}
		})
	}
}

func TestBadConfigurationIsRefused(t *testing.T) {
	tests := map[string]Config{
		"no url":          {Secrets: []string{secret}},
		"not http":        {URL: "ftp://mis.example/", Secrets: []string{secret}},
		"no host":         {URL: "http:///hook", Secrets: []string{secret}},
		"no secret":       {URL: "http://mis.example/"},
		"empty secret":    {URL: "http://mis.example/", Secrets: []string{""}},
		"not base64":      {URL: "http://mis.example/", Secrets: []string{"whsec_%%%"}},
		"nothing encoded": {URL: "http://mis.example/", Secrets: []string{"whsec_"}},
	}
	for name, config := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := New(config); err == nil {
				t.Error("New takes it")
			}
		})
	}
}
