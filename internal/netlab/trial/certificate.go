package trial

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"

	"consilium/internal/netlab"
)

// certificate is the server's, by an authority of the lab's own.
type certificate struct {
	roots     *x509.CertPool
	authority string // PEM files
	chain     string
	key       string
}

// makeCertificate writes an authority and a certificate for netlab.Host.
func makeCertificate(dir string) (*certificate, error) {
	authority, err := netlab.NewAuthority("network lab")
	if err != nil {
		return nil, err
	}
	leaf, err := authority.Issue(netlab.Host)
	if err != nil {
		return nil, err
	}
	key, err := x509.MarshalPKCS8PrivateKey(leaf.PrivateKey)
	if err != nil {
		return nil, fmt.Errorf("encode key: %w", err)
	}
	c := &certificate{authority.Pool(), filepath.Join(dir, "authority.pem"), filepath.Join(dir, "server.pem"), filepath.Join(dir, "server.key")}
	for path, text := range map[string][]byte{
		c.authority: authority.PEM(),
		c.chain:     pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Certificate[0]}),
		c.key:       pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
	} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			return nil, fmt.Errorf("write certificate: %w", err)
		}
	}
	return c, nil
}
