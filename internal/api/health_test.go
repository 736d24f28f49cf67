package api

import (
	"errors"
	"os"
	"strings"
	"testing"

	"consilium/internal/metrics"
)

func TestTheReferenceListsTheMetricsOfTheAPI(t *testing.T) {
	text, err := os.ReadFile("../../docs/reference/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	r := metrics.New()
	newSite(t, func(c *Config) { c.Metrics = r })
	if err := r.Err(); err != nil {
		t.Error(err)
	}
	for _, name := range r.Names() {
		if !strings.Contains(string(text), "| `"+name+"` |") {
			t.Errorf("%s is not documented", name)
		}
	}
}

func TestHealthAndReadinessAreOpenAndDiffer(t *testing.T) {
	s := newSite(t)
	for _, path := range []string{"/healthz", "/readyz", "/openapi.json"} {
		if a := s.send(t, "GET", path, "", "Authorization", ""); a.status != 200 {
			t.Errorf("%s: %d %s", path, a.status, a.text)
		}
	}
	s.ready = errors.New("draining")
	if a := s.send(t, "GET", "/readyz", ""); a.status != 503 || a.header.Get("Retry-After") == "" || !strings.Contains(string(a.text), "draining") {
		t.Errorf("not ready: %d %s", a.status, a.text)
	}
	if a := s.send(t, "GET", "/healthz", ""); a.status != 200 {
		t.Errorf("health: %d", a.status)
	}
}

func TestMetricsCountRequestsByRoute(t *testing.T) {
	s := newSite(t)
	s.send(t, "GET", "/v1/calls/nobody", "")
	s.send(t, "GET", "/v1/strange", "")
	a := s.send(t, "GET", "/metrics", "")
	for _, want := range []string{
		`consilium_api_requests_total{route="/v1/calls/{id}",class="4xx"} 1`,
		`consilium_api_requests_total{route="other",class="4xx"} 1`,
		"# TYPE consilium_api_request_seconds histogram",
	} {
		if !strings.Contains(string(a.text), want+"\n") {
			t.Errorf("%q is missing", want)
		}
	}
	if strings.Contains(string(a.text), "nobody") {
		t.Error("metrics name a call")
	}
}
