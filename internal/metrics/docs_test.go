package metrics_test

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"consilium/internal/certs"
	"consilium/internal/journal"
	"consilium/internal/metrics"
	"consilium/internal/webhook"
)

// documented returns the names in the table of docs/reference/metrics.md.
func documented(t *testing.T) (names []string) {
	t.Helper()
	text, err := os.ReadFile("../../docs/reference/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `(consilium_[a-z_]+)` \\|").FindAllStringSubmatch(string(text), -1) {
		names = append(names, m[1])
	}
	return names
}

func TestTheReferenceListsTheMetricsOfTheLeaves(t *testing.T) {
	r := metrics.New()
	metrics.NewEvents(r)
	metrics.RegisterRuntime(r)
	metrics.RegisterProcess(r)
	if _, err := webhook.New(webhook.Config{URL: "http://mis.example/", Secrets: []string{"secret"}, Metrics: r}); err != nil {
		t.Fatal(err)
	}
	j, err := journal.New(journal.Config{Path: filepath.Join(t.TempDir(), "consilium.db"), Metrics: r})
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := j.Run(ended); err != nil { // closes the database
		t.Fatal(err)
	}
	registerCertificates(t, r)
	if err := r.Err(); err != nil {
		t.Error(err)
	}
	names := documented(t)
	if !slices.IsSorted(names) {
		t.Error("the reference is not sorted")
	}
	for _, name := range r.Names() {
		if !slices.Contains(names, name) {
			t.Errorf("%s is not documented", name)
		}
	}
	// Of the parts that are registered here, nothing else is documented.
	for _, name := range names {
		for _, part := range []string{"consilium_journal_", "consilium_webhook_", "consilium_events_", "consilium_failures_", "consilium_go_", "consilium_certificate_"} {
			if strings.HasPrefix(name, part) && !slices.Contains(r.Names(), name) {
				t.Errorf("%s is documented and does not exist", name)
			}
		}
	}
}

// registerCertificates registers what a server with certificate files does.
func registerCertificates(t *testing.T, r *metrics.Registry) {
	t.Helper()
	authority, err := certs.NewAuthority("Test", []string{"video.example"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := authority.Issue([]string{"video.example"}, certs.MinLifetime, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	cfg := certs.FilesConfig{CertFile: filepath.Join(t.TempDir(), "c"), KeyFile: filepath.Join(t.TempDir(), "k"), Metrics: r}
	if err := certs.WritePair(cfg.CertFile, cfg.KeyFile, cert, key); err != nil {
		t.Fatal(err)
	}
	if _, err := certs.NewFiles(cfg); err != nil {
		t.Fatal(err)
	}
}
