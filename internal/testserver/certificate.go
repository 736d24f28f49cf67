package testserver

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Certificate makes a certificate for a host that no authority has issued, and
// its key, both PEM. It is good for an hour.
func Certificate(t *testing.T, host string) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{host}, NotAfter: time.Now().Add(time.Hour)}
	signed, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: signed}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// WithTLS returns keys of the configuration for HTTPS as the host, with a
// certificate of files that nobody trusts.
func WithTLS(t *testing.T, host string) map[string]string {
	t.Helper()
	cert, key := Certificate(t, host)
	prefix := filepath.Join(t.TempDir(), "host")
	for name, text := range map[string][]byte{prefix + ".crt": cert, prefix + ".key": key} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return map[string]string{
		"tls.mode": "files", "tls.cert_file": prefix + ".crt", "tls.key_file": prefix + ".key",
		"http.public_url": "https://" + host,
	}
}
