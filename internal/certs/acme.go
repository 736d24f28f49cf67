package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"

	"consilium/internal/metrics"
)

// ACMEConfig configures ACME.
type ACMEConfig struct {
	Host      string       // the only name that a certificate is asked for
	Email     string       // where the authority writes to; may be empty
	Directory string       // URL of the authority; empty means Let's Encrypt
	Cache     string       // directory of the account key and the certificates
	Client    *http.Client // to the authority; nil means a default one
	Metrics   *metrics.Registry
	Log       *slog.Logger // nil: discarded
}

// Between two attempts to get a certificate. Authorities count failures: Let's
// Encrypt takes five an hour.
const (
	firstRetry = 2 * time.Minute
	lastRetry  = time.Hour
	refresh    = time.Hour // between two looks at a good one, which autocert renews
)

// ACME is a Source that gets its certificate from an authority and renews it.
// The authority looks for the proof on this host's port 443 (TLS-ALPN-01, RFC
// 8737) or 80 (HTTP-01, RFC 8555 section 8.3).
//
// No handshake ever waits for the authority: until the first certificate is
// there handshakes fail at once.
type ACME struct {
	cfg     ACMEConfig
	manager *autocert.Manager
	end     context.CancelFunc // of every request to the authority
	current atomic.Pointer[tls.Certificate]
}

// NewACME returns a Source that asks for nothing until Run.
func NewACME(cfg ACMEConfig) (*ACME, error) {
	if cfg.Host == "" {
		return nil, errNoHost
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Directory == "" {
		cfg.Directory = autocert.DefaultACMEDirectory
	}
	client := &http.Client{Timeout: 30 * time.Second}
	if cfg.Client != nil {
		copied := *cfg.Client
		client = &copied
	}
	alive, end := context.WithCancel(context.Background())
	client.Transport = newLifetime(alive, client.Transport)
	a := &ACME{cfg: cfg, end: end, manager: &autocert.Manager{
		Prompt:     autocert.AcceptTOS,
		Cache:      autocert.DirCache(cfg.Cache),
		HostPolicy: autocert.HostWhitelist(cfg.Host),
		Email:      cfg.Email,
		Client:     &acme.Client{DirectoryURL: cfg.Directory, HTTPClient: client, UserAgent: "consilium"},
	}}
	registerExpiry(cfg.Metrics, a.Leaf)
	return a, nil
}

// TLSConfig implements Source. A handshake that offers acme-tls/1 and nothing
// else comes from the authority and gets the certificate that is the proof.
func (a *ACME) TLSConfig() *tls.Config {
	config := baseConfig(func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		if c := a.current.Load(); c != nil {
			return c, nil
		}
		return nil, errNone
	})
	proof := baseConfig(a.manager.GetCertificate)
	proof.NextProtos = []string{acme.ALPNProto}
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if len(hello.SupportedProtos) == 1 && hello.SupportedProtos[0] == acme.ALPNProto {
			return proof, nil
		}
		return nil, nil // config itself
	}
	return config
}

// Leaf implements Source.
func (a *ACME) Leaf() *x509.Certificate {
	if c := a.current.Load(); c != nil {
		return c.Leaf
	}
	return nil
}

// Challenge implements Source with HTTP-01.
func (a *ACME) Challenge(next http.Handler) http.Handler { return a.manager.HTTPHandler(next) }

// Reload does nothing: certificates are renewed by themselves.
func (a *ACME) Reload() error { return nil }

// Run gets the certificate, from the cache if it can, and renews it in time.
func (a *ACME) Run(ctx context.Context) error {
	defer a.end()
	defer context.AfterFunc(ctx, a.end)()
	retry := firstRetry
	var warning expiryReminder
	for {
		wait := refresh
		if err := a.obtain(); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			a.cfg.Log.Error("no certificate from the ACME authority", "host", a.cfg.Host, "err", err, "next_try", retry,
				"remedy", "the name must lead to this machine, and the authority must reach its port 443 or 80")
			wait, retry = retry, min(2*retry, lastRetry)
		} else {
			retry = firstRetry
		}
		warning.check(a.Leaf(), time.Now(), a.cfg.Log)
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

// obtain asks autocert, which keeps one certificate for clients with ECDSA and
// one for those without. Every browser of the last ten years has it, so one is
// enough.
func (a *ACME) obtain() error {
	c, err := a.manager.GetCertificate(&tls.ClientHelloInfo{
		ServerName: a.cfg.Host, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256},
	})
	if err != nil {
		return err
	}
	if old := a.current.Swap(c); old == nil || !old.Leaf.Equal(c.Leaf) {
		a.cfg.Log.Info("new certificate in use", "names", names(c.Leaf), "until", c.Leaf.NotAfter)
	}
	return nil
}
