package recorder

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

const (
	signingKeyName   = "signing.key"
	signatureEd25519 = "Ed25519"
)

// Signature is the server's Ed25519 signature (RFC 8032) over a final manifest:
// over what [canonical] makes of it, this member left out.
type Signature struct {
	Algorithm string `json:"algorithm"`  // Ed25519
	PublicKey string `json:"public_key"` // 32 bytes, base64
	Value     string `json:"value"`      // 64 bytes, base64
}

// loadSigningKey returns the key that signs manifests, making it the first time.
func loadSigningKey(root *os.Root) (ed25519.PrivateKey, error) {
	text, err := readFile(root, signingKeyName, maxKeyBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return makeSigningKey(root)
	}
	if err != nil {
		return nil, fmt.Errorf("read signing key: %w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("read signing key: %s is not a PEM file; put the right one back", signingKeyName)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read signing key: %w", err)
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, errors.New("read signing key: not a key for Ed25519")
	}
	return key, nil
}

func makeSigningKey(root *os.Root) (ed25519.PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make signing key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("make signing key: %w", err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	if err := replaceFile(root, ".", signingKeyName, text); err != nil {
		return nil, fmt.Errorf("make signing key: %w", err)
	}
	return key, nil
}

// PublicKey returns the public key that belongs to the manifests of a data
// directory, in PEM, and its fingerprint: the SHA-256 of its 32 bytes, in hex.
// The error wraps fs.ErrNotExist if no server has run there.
func PublicKey(dir string) (text []byte, fingerprint string, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, "", fmt.Errorf("recorder: open data directory: %w", err)
	}
	defer root.Close()
	if _, err := root.Lstat(signingKeyName); err != nil {
		return nil, "", fmt.Errorf("recorder: signing key: %w", err)
	}
	key, err := loadSigningKey(root)
	if err != nil {
		return nil, "", fmt.Errorf("recorder: %w", err)
	}
	public := key.Public().(ed25519.PublicKey)
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, "", fmt.Errorf("recorder: encode public key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), keyFingerprint(public), nil
}

func keyFingerprint(public ed25519.PublicKey) string {
	sum := sha256.Sum256(public)
	return hex.EncodeToString(sum[:])
}

// sign signs the manifest as it is.
func (m *Manifest) sign(key ed25519.PrivateKey) error {
	m.Signature = nil
	text, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode manifest: %w", err)
	}
	message, err := canonical(text)
	if err != nil {
		return err
	}
	m.Signature = &Signature{
		Algorithm: signatureEd25519,
		PublicKey: base64.StdEncoding.EncodeToString(key.Public().(ed25519.PublicKey)),
		Value:     base64.StdEncoding.EncodeToString(ed25519.Sign(key, message)),
	}
	return nil
}

// Errors of verifySignature.
var (
	errNotSigned    = errors.New("the manifest is not signed")
	errBadSignature = errors.New("the manifest was changed after it was signed")
)

// verifySignature checks the signature in a manifest's text and returns the key
// that made it; whether that key is to be trusted is for the caller to say.
func verifySignature(text []byte) (ed25519.PublicKey, error) {
	var m struct {
		Signature *Signature `json:"signature"`
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, fmt.Errorf("decode manifest: %w", err)
	}
	if m.Signature == nil {
		return nil, errNotSigned
	}
	if m.Signature.Algorithm != signatureEd25519 {
		return nil, fmt.Errorf("signature algorithm %q is not known", m.Signature.Algorithm)
	}
	public, err := base64.StdEncoding.DecodeString(m.Signature.PublicKey)
	if err != nil || len(public) != ed25519.PublicKeySize {
		return nil, errBadSignature
	}
	value, err := base64.StdEncoding.DecodeString(m.Signature.Value)
	if err != nil {
		return nil, errBadSignature
	}
	message, err := canonical(text)
	if err != nil {
		return nil, err
	}
	if !ed25519.Verify(public, message, value) {
		return nil, errBadSignature
	}
	return public, nil
}

// canonical returns what is signed of a manifest: the JSON document without its
// member "signature", members sorted by name at every depth, no white space,
// numbers as written, nothing escaped that need not be. Members that a reader
// does not know are signed as well.
func canonical(text []byte) ([]byte, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var document map[string]any
	if err := decoder.Decode(&document); err != nil {
		return nil, fmt.Errorf("decode manifest: %w", err)
	}
	delete(document, "signature")
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(document); err != nil {
		return nil, fmt.Errorf("encode manifest: %w", err)
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}
