package certs

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Names of an authority's files.
const (
	AuthorityCert = "ca.crt"
	authorityKey  = "ca.key"
)

const (
	pemCert = "CERTIFICATE"
	pemKey  = "PRIVATE KEY" // PKCS #8
)

// Save writes the authority to a directory, which is made if need be: ca.crt,
// for the devices, and ca.key, for nobody. It overwrites nothing.
func (a *Authority) Save(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the directory of the authority: %w", err)
	}
	key, err := encodeKey(a.key)
	if err != nil {
		return err
	}
	return WritePair(filepath.Join(dir, AuthorityCert), filepath.Join(dir, authorityKey), encodeCert(a.cert), key)
}

// OpenAuthority reads what Save wrote.
func OpenAuthority(dir string) (*Authority, error) {
	certDER, err := readPEM(filepath.Join(dir, AuthorityCert), pemCert)
	if err != nil {
		return nil, err
	}
	keyDER, err := readPEM(filepath.Join(dir, authorityKey), pemKey)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(certDER)
	if err != nil {
		return nil, fmt.Errorf("read the authority's certificate: %w", err)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(keyDER)
	if err != nil {
		return nil, fmt.Errorf("read the authority's key: %w", err)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || !cert.IsCA || !key.PublicKey.Equal(cert.PublicKey) {
		return nil, fmt.Errorf("%s holds no authority of `consilium ca init`, or certificate and key are of two", dir)
	}
	return &Authority{cert: cert, key: key}, nil
}

// WritePair writes a certificate and its key, both with mode 0600. If either
// file exists it writes neither.
func WritePair(certFile, keyFile string, certPEM, keyPEM []byte) error {
	if err := writeNew(keyFile, keyPEM); err != nil {
		return err
	}
	if err := writeNew(certFile, certPEM); err != nil {
		_ = os.Remove(keyFile) // ours, made a moment ago; the first error is the one to report
		return err
	}
	return nil
}

func writeNew(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists and is not overwritten; move it away or choose another place", path)
	}
	if err != nil {
		return fmt.Errorf("write: %w", err)
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		_ = os.Remove(path) // half a file is worse than none
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// readPEM reads the first block of a file, which must be of the kind.
func readPEM(path, kind string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("open the authority: %w; make one with `consilium ca init`", err)
	}
	block, _ := pem.Decode(data)
	if block == nil || block.Type != kind {
		return nil, fmt.Errorf("%s is not a PEM %s", path, kind)
	}
	return block.Bytes, nil
}

func encodeCert(cert *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: pemCert, Bytes: cert.Raw})
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode the key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemKey, Bytes: der}), nil
}
