package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"slices"
	"time"

	"consilium/internal/metrics"
)

// Source keeps the certificate of the server. Its methods may be called from
// any goroutine.
type Source interface {
	// TLSConfig returns the configuration of the shared port. Every handshake
	// gets the newest certificate; running connections keep theirs. The only
	// protocol offered is http/1.1: what is inside is told apart by its first
	// bytes (package portmux), and TURN has no protocol name that browsers
	// agree on.
	TLSConfig() *tls.Config
	// Leaf returns the certificate in use, nil if there is none yet.
	Leaf() *x509.Certificate
	// Challenge answers, in front of next, what an authority asks over plain
	// HTTP to see whose host this is.
	Challenge(next http.Handler) http.Handler
	// Reload looks for a new certificate at once. If the error is set, the old
	// one stays in use.
	Reload() error
	// Run keeps the certificate fresh until ctx is done, and returns nil.
	Run(ctx context.Context) error
}

// errNone ends handshakes before the first certificate is there.
var errNone = errors.New("there is no certificate yet")

// baseConfig is what every source's TLS configuration begins with.
func baseConfig(get func(*tls.ClientHelloInfo) (*tls.Certificate, error)) *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"http/1.1"},
		GetCertificate: get,
	}
}

// expiryWarning is how long before the end of a certificate the log says so,
// once a day.
const expiryWarning = 14 * 24 * time.Hour

// registerExpiry exposes when the certificate in use ends.
func registerExpiry(r *metrics.Registry, leaf func() *x509.Certificate) {
	if r == nil {
		return
	}
	r.GaugeFunc("consilium_certificate_expiry_timestamp_seconds",
		"when the TLS certificate in use ends, in Unix time; 0: there is none", func() float64 {
			c := leaf()
			if c == nil {
				return 0
			}
			return float64(c.NotAfter.Unix())
		})
}

// IsLocal reports whether a certificate was issued by an [Authority]. Browsers
// must not be told to remember such a host as HTTPS only: who removes the
// authority would be locked out.
func IsLocal(leaf *x509.Certificate) bool {
	if leaf == nil {
		return false
	}
	return slices.Contains(leaf.Issuer.OrganizationalUnit, authorityUnit)
}
