package certs

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/acme"
)

func signFor(template *x509.Certificate, issuer *Authority, key any) ([]byte, error) {
	return x509.CreateCertificate(rand.Reader, template, issuer.cert, key, issuer.key)
}

// acmeHost runs an ACME source behind a TLS port and a plain HTTP port, with
// an authority that offers one kind of challenge.
func acmeHost(t *testing.T, challenge string) (*ACME, *acmeServer, string) {
	t.Helper()
	ports := map[string]string{}
	s := newACMEServer(t, challenge, func(ctx context.Context, port string) (net.Conn, error) {
		return (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", ports[port])
	})
	a, err := NewACME(ACMEConfig{
		Host: "a.ward.example", Email: "it@ward.example", Directory: s.url + "/directory",
		Cache: filepath.Join(t.TempDir(), "acme"), Client: s.client,
	})
	if err != nil {
		t.Fatal(err)
	}
	plain := httptest.NewServer(a.Challenge(http.NotFoundHandler()))
	t.Cleanup(plain.Close)
	ports["80"], ports["443"] = plain.Listener.Addr().String(), echo(t, a.TLSConfig())
	return a, s, ports["443"]
}

func TestACertificateIsObtainedByEachChallenge(t *testing.T) {
	for _, challenge := range []string{"tls-alpn-01", "http-01"} {
		t.Run(challenge, func(t *testing.T) {
			a, s, addr := acmeHost(t, challenge)
			if _, err := connect(t, addr, s.issuer, "a.ward.example"); err == nil {
				t.Error("a handshake before there is a certificate succeeded")
			}
			if a.Leaf() != nil {
				t.Error("there is a certificate before Run")
			}
			run(t, a)
			until(t, "the certificate", func() bool { return a.Leaf() != nil })
			c, err := connect(t, addr, s.issuer, "a.ward.example")
			if err != nil {
				t.Fatal(err)
			}
			if got := c.ConnectionState().NegotiatedProtocol; got != "http/1.1" {
				t.Errorf("negotiated %q, want http/1.1", got)
			}
			if !slices.Equal(s.contacts, []string{"mailto:it@ward.example"}) {
				t.Errorf("contacts %v", s.contacts)
			}
			checkCache(t, a, s)
		})
	}
}

// checkCache starts again from the cache: no second order, and private files.
func checkCache(t *testing.T, a *ACME, s *acmeServer) {
	t.Helper()
	cfg := a.cfg
	cfg.Client = s.client
	again, err := NewACME(cfg)
	if err != nil {
		t.Fatal(err)
	}
	// autocert writes to the cache after it has handed the certificate over.
	until(t, "the cache", func() bool { _, err := os.Stat(filepath.Join(cfg.Cache, cfg.Host)); return err == nil })
	run(t, again)
	until(t, "the cached certificate", func() bool { return again.Leaf() != nil })
	if !again.Leaf().Equal(a.Leaf()) {
		t.Error("another certificate than the cached one")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.orders != 1 {
		t.Errorf("%d orders, want 1", s.orders)
	}
	files, err := filepath.Glob(filepath.Join(cfg.Cache, "*"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", file, info.Mode(), err)
		}
	}
}

func TestOnlyTheAuthorityIsOfferedTheProofProtocol(t *testing.T) {
	a, _, addr := acmeHost(t, "tls-alpn-01")
	run(t, a)
	until(t, "the certificate", func() bool { return a.Leaf() != nil })
	for name, tc := range map[string]struct {
		offer []string
		name  string
		ok    bool
		want  string
	}{
		"nothing":               {nil, "a.ward.example", true, ""},
		"a browser":             {[]string{"h2", "http/1.1"}, "a.ward.example", true, "http/1.1"},
		"both":                  {[]string{"http/1.1", acme.ALPNProto}, "a.ward.example", true, "http/1.1"},
		"no server name":        {nil, "", true, ""},
		"proof without order":   {[]string{acme.ALPNProto}, "a.ward.example", false, ""},
		"proof, other host":     {[]string{acme.ALPNProto}, "b.ward.example", false, ""},
		"a name that is not us": {nil, "bank.example", true, ""}, // the client refuses the certificate
	} {
		t.Run(name, func(t *testing.T) {
			c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, ServerName: tc.name, NextProtos: tc.offer})
			if (err == nil) != tc.ok {
				t.Fatalf("handshake: %v, want success: %v", err, tc.ok)
			}
			if err == nil {
				defer c.Close()
				if got := c.ConnectionState().NegotiatedProtocol; got != tc.want {
					t.Errorf("negotiated %q, want %q", got, tc.want)
				}
			}
		})
	}
}

func TestAnAuthorityThatDoesNotAnswerDoesNotHoldTheStop(t *testing.T) {
	asked := make(chan struct{}, 1)
	hanging := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case asked <- struct{}{}:
		default:
		}
		<-r.Context().Done()
	}))
	t.Cleanup(hanging.Close)
	a, err := NewACME(ACMEConfig{Host: "a.ward.example", Directory: hanging.URL, Cache: t.TempDir(), Client: hanging.Client()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	<-asked
	start := time.Now()
	cancel()
	if err := <-done; err != nil || time.Since(start) > 5*time.Second {
		t.Errorf("ended after %v with %v", time.Since(start), err)
	}
}

func TestFailureOfTheAuthorityIsLoggedWithTheRemedy(t *testing.T) {
	var log syncBuffer
	refusing := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(refusing.Close)
	a, err := NewACME(ACMEConfig{Host: "a.ward.example", Directory: refusing.URL, Cache: t.TempDir(), Client: refusing.Client(), Log: textLog(&log)})
	if err != nil {
		t.Fatal(err)
	}
	run(t, a)
	until(t, "the log", func() bool { return strings.Contains(log.String(), "port 443 or 80") })
	if _, err := NewACME(ACMEConfig{}); !errors.Is(err, errNoHost) {
		t.Errorf("without a host: %v", err)
	}
}
