package certs

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"
)

// loadPair reads a certificate chain and its key from PEM files and checks that
// browsers can use them for host ("" is not checked). An error says what to do.
func loadPair(certFile, keyFile, host string, now time.Time) (*tls.Certificate, error) {
	certPEM, err := os.ReadFile(certFile)
	if err != nil {
		return nil, fmt.Errorf("read the certificate: %w; check tls.cert_file and who may read it", err)
	}
	keyPEM, err := os.ReadFile(keyFile)
	if err != nil {
		return nil, fmt.Errorf("read the key: %w; check tls.key_file and who may read it", err)
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("%s and %s are no pair: %w; want PEM, the server's own certificate first, then the intermediate ones, and its key without a password",
			certFile, keyFile, err)
	}
	if pair.Leaf == nil {
		if pair.Leaf, err = x509.ParseCertificate(pair.Certificate[0]); err != nil {
			return nil, fmt.Errorf("parse %s: %w", certFile, err)
		}
	}
	if err := checkLeaf(pair.Leaf, host, now); err != nil {
		return nil, fmt.Errorf("%s: %w", certFile, err)
	}
	return &pair, nil
}

// checkLeaf finds what makes a browser refuse a certificate.
func checkLeaf(leaf *x509.Certificate, host string, now time.Time) error {
	switch {
	case now.Before(leaf.NotBefore):
		return fmt.Errorf("the certificate is valid only from %s; check the clock of this machine", leaf.NotBefore.Format(time.RFC3339))
	case now.After(leaf.NotAfter):
		return fmt.Errorf("the certificate ended at %s; renew it", leaf.NotAfter.Format(time.RFC3339))
	case leaf.IsCA:
		return fmt.Errorf("the first certificate is that of an authority; put the server's own certificate first")
	case len(leaf.ExtKeyUsage) > 0 && !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageServerAuth) && !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageAny):
		return fmt.Errorf("the certificate is not for servers (no extended key usage serverAuth); ask for a TLS server certificate")
	case len(leaf.DNSNames) == 0 && len(leaf.IPAddresses) == 0:
		return fmt.Errorf("the certificate has no subject alternative names, and browsers look at nothing else; ask for one with them")
	}
	if host == "" {
		return nil
	}
	if err := leaf.VerifyHostname(host); err != nil {
		return fmt.Errorf("the certificate is for %s, and http.public_url says %s; make them agree", strings.Join(names(leaf), ", "), host)
	}
	return nil
}

// names are what a certificate is for.
func names(leaf *x509.Certificate) []string {
	all := slices.Clone(leaf.DNSNames)
	for _, ip := range leaf.IPAddresses {
		all = append(all, ip.String())
	}
	return all
}

// warnOfChain logs what works here and yet not in every browser.
func warnOfChain(pair *tls.Certificate, log *slog.Logger) {
	leaf := pair.Leaf
	switch {
	case bytes.Equal(leaf.RawIssuer, leaf.RawSubject):
		log.Warn("the certificate is self-signed: browsers warn of it, and on iPhones calls can't work; see `consilium help ca init`")
	case len(pair.Certificate) == 1 && !IsLocal(leaf):
		log.Warn("the certificate file has no intermediate certificates: phones may refuse it unless its issuer is a root", "issuer", leaf.Issuer.String())
	}
}
