package certs

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"consilium/internal/leak"
	"consilium/internal/metrics"
)

// ward is an authority of the tests.
func ward(t *testing.T) *Authority {
	t.Helper()
	a, err := NewAuthority("Ward", []string{"ward.example", "127.0.0.0/8"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func issue(t *testing.T, a *Authority, hosts ...string) (certPEM, keyPEM []byte) {
	t.Helper()
	certPEM, keyPEM, err := a.Issue(hosts, MinLifetime, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return certPEM, keyPEM
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	// As administrators do it: a new file under the old name.
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// pairFiles writes a pair and returns the configuration that reads it.
func pairFiles(t *testing.T, certPEM, keyPEM []byte) FilesConfig {
	t.Helper()
	dir := t.TempDir()
	cfg := FilesConfig{CertFile: filepath.Join(dir, "c.pem"), KeyFile: filepath.Join(dir, "k.pem"), Host: "a.ward.example"}
	write(t, cfg.CertFile, certPEM)
	write(t, cfg.KeyFile, keyPEM)
	return cfg
}

// echo answers every TLS connection with what it says.
func echo(t *testing.T, config *tls.Config) string {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { defer c.Close(); _, _ = io.Copy(c, c) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	return l.Addr().String()
}

func connect(t *testing.T, addr string, a *Authority, name string) (*tls.Conn, error) {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	d := &tls.Dialer{NetDialer: &net.Dialer{Timeout: 5 * time.Second}, Config: &tls.Config{RootCAs: roots, ServerName: name, NextProtos: []string{"h2", "http/1.1"}}}
	c, err := d.DialContext(t.Context(), "tcp", addr)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = c.Close() })
	return c.(*tls.Conn), nil
}

func says(t *testing.T, c net.Conn, word string) {
	t.Helper()
	buf := make([]byte, len(word))
	if _, err := c.Write([]byte(word)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, buf); err != nil || string(buf) != word {
		t.Fatalf("got %q, %v; want %q", buf, err, word)
	}
}

// serial is the certificate that a new connection gets.
func serial(t *testing.T, addr string, a *Authority) string {
	t.Helper()
	c, err := connect(t, addr, a, "a.ward.example")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0].SerialNumber.String()
}

func TestNewFilesAreTakenUpAndNoConnectionIsDropped(t *testing.T) {
	leak.Check(t)
	a := ward(t)
	firstCert, firstKey := issue(t, a, "a.ward.example")
	cfg := pairFiles(t, firstCert, firstKey)
	cfg.Interval, cfg.Metrics = 20*time.Millisecond, metrics.New()
	f, err := NewFiles(cfg)
	if err != nil {
		t.Fatal(err)
	}
	run(t, f)
	addr := echo(t, f.TLSConfig())
	before, err := connect(t, addr, a, "a.ward.example")
	if err != nil {
		t.Fatal(err)
	}
	if s := before.ConnectionState(); s.NegotiatedProtocol != "http/1.1" || s.Version < tls.VersionTLS12 {
		t.Errorf("negotiated %q and version %x", s.NegotiatedProtocol, s.Version)
	}
	old := serial(t, addr, a)
	certPEM, keyPEM := issue(t, a, "a.ward.example")
	write(t, cfg.CertFile, certPEM) // for a while they are no pair
	says(t, before, "between")
	write(t, cfg.KeyFile, keyPEM)
	until(t, "the new certificate", func() bool { return serial(t, addr, a) != old })
	says(t, before, "after")
	want := "consilium_certificate_expiry_timestamp_seconds"
	if text := exposition(t, cfg.Metrics); !strings.Contains(text, want) || strings.Contains(text, want+" 0\n") {
		t.Errorf("no expiry in\n%s", text)
	}
}

func TestAPairThatCannotBeUsedChangesNothing(t *testing.T) {
	a := ward(t)
	good, goodKey := issue(t, a, "a.ward.example")
	otherCert, _ := issue(t, a, "a.ward.example")
	wrongHost, wrongHostKey := issue(t, a, "b.ward.example")
	for name, tc := range map[string]struct {
		cert, key []byte
		says      string
	}{
		"certificate of another key": {otherCert, goodKey, "are no pair"},
		"garbage":                    {[]byte("x"), goodKey, "are no pair"},
		"empty":                      {nil, nil, "are no pair"},
		"another name":               {wrongHost, wrongHostKey, "the certificate is for b.ward.example, and http.public_url says a.ward.example"},
	} {
		t.Run(name, func(t *testing.T) {
			leak.Check(t)
			var log syncBuffer
			cfg := pairFiles(t, good, goodKey)
			cfg.Interval, cfg.Metrics = 20*time.Millisecond, metrics.New()
			cfg.Log = textLog(&log)
			f, err := NewFiles(cfg)
			if err != nil {
				t.Fatal(err)
			}
			run(t, f)
			addr := echo(t, f.TLSConfig())
			was := serial(t, addr, a)
			write(t, cfg.CertFile, tc.cert)
			write(t, cfg.KeyFile, tc.key)
			until(t, "the log", func() bool { return strings.Contains(log.String(), "the old one goes on") })
			if got := serial(t, addr, a); got != was {
				t.Errorf("certificate %s, want still %s", got, was)
			}
			if err := f.Reload(); err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("Reload: %v, want %q", err, tc.says)
			}
			if text := exposition(t, cfg.Metrics); !strings.Contains(text, `consilium_certificate_reloads_total{outcome="refused"} 2`) {
				t.Errorf("not counted in\n%s", text)
			}
			write(t, cfg.CertFile, good)
			write(t, cfg.KeyFile, goodKey)
			until(t, "the old pair again", func() bool { return f.Reload() == nil })
		})
	}
}

func TestFilesThatBrowsersWouldRefuseStopTheStart(t *testing.T) {
	a := ward(t)
	good, goodKey := issue(t, a, "a.ward.example")
	caKey, err := encodeKey(a.key)
	if err != nil {
		t.Fatal(err)
	}
	old, oldKey, err := a.issueAt(time.Now().Add(-MinLifetime-time.Hour), "a.ward.example")
	if err != nil {
		t.Fatal(err)
	}
	early, earlyKey, err := a.issueAt(time.Now().Add(48*time.Hour), "a.ward.example")
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		cert, key []byte
		says      string
	}{
		"ended":           {old, oldKey, "ended at"},
		"not yet valid":   {early, earlyKey, "check the clock"},
		"an authority":    {encodeCert(a.cert), caKey, "put the server's own certificate first"},
		"key is missing":  {good, nil, "are no pair"},
		"a pair, swapped": {goodKey, good, "are no pair"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := NewFiles(pairFiles(t, tc.cert, tc.key)); err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("got %v, want %q", err, tc.says)
			}
		})
	}
	cfg := pairFiles(t, good, goodKey)
	cfg.CertFile += "x"
	if _, err := NewFiles(cfg); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "tls.cert_file") {
		t.Errorf("missing file: %v", err)
	}
}

// issueAt issues as if it were another time, without looking whether the
// result is valid.
func (a *Authority) issueAt(now time.Time, host string) (cert, key []byte, err error) {
	long := *a.cert
	long.NotBefore = now.Add(-24 * time.Hour)
	return (&Authority{cert: &long, key: a.key}).Issue([]string{host}, MinLifetime, now)
}

func run(t *testing.T, s Source) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Error("Run does not end")
		}
	})
}

// until polls what nothing tells of.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(10 * time.Second); !is(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func textLog(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func exposition(t *testing.T, r *metrics.Registry) string {
	t.Helper()
	var b bytes.Buffer
	if _, err := r.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
