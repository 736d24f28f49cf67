package seal

import (
	"bytes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"

	"filippo.io/age"
	"golang.org/x/crypto/chacha20poly1305"
)

const (
	// ageMarker is the first line of every age file.
	ageMarker = "age-encryption.org/v1\n"
	// recordStanza is the type of the header line of a record.
	recordStanza = "consilium.record"
	// recordInfo separates the key of records from every other use.
	recordInfo = "consilium recording, key of spool records, v1"
)

// ageKey is the key of one recording: an age identity, and the symmetric key
// that is derived from it. A record is a whole age file whose file key is
// wrapped with XChaCha20-Poly1305 by the symmetric key, because wrapping for
// public keys takes milliseconds and a spool has two records a second a track.
type ageKey struct {
	identity *age.X25519Identity
	aead     cipher.AEAD
}

var (
	_ Key           = (*ageKey)(nil)
	_ age.Recipient = (*ageKey)(nil)
	_ age.Identity  = (*ageKey)(nil)
)

func newAgeKey(identity *age.X25519Identity) (*ageKey, error) {
	secret, err := hkdf.Key(sha256.New, []byte(identity.String()), nil, recordInfo, chacha20poly1305.KeySize)
	if err != nil {
		return nil, fmt.Errorf("derive key: %w", err)
	}
	aead, err := chacha20poly1305.NewX(secret)
	if err != nil {
		return nil, fmt.Errorf("derive key: %w", err)
	}
	return &ageKey{identity, aead}, nil
}

// Marker implements [Key].
func (*ageKey) Marker() []byte { return []byte(ageMarker) }

// SealRecord implements [Key].
func (k *ageKey) SealRecord(dst, record []byte) ([]byte, error) {
	out := bytes.NewBuffer(dst)
	w, err := age.Encrypt(out, k)
	if err != nil {
		return dst, fmt.Errorf("seal record: %w", err)
	}
	if _, err := w.Write(record); err != nil {
		return dst, fmt.Errorf("seal record: %w", err)
	}
	if err := w.Close(); err != nil {
		return dst, fmt.Errorf("seal record: %w", err)
	}
	return out.Bytes(), nil
}

// OpenRecord implements [Key].
func (k *ageKey) OpenRecord(sealed []byte) ([]byte, error) {
	r, err := age.Decrypt(bytes.NewReader(sealed), k)
	if err != nil {
		return nil, fmt.Errorf("open record: %w", classify(err))
	}
	// age hands out nothing that it has not authenticated.
	record, err := io.ReadAll(r)
	if err != nil {
		return record, fmt.Errorf("open record: %w", classify(err))
	}
	return record, nil
}

// Wrap implements [age.Recipient].
func (k *ageKey) Wrap(fileKey []byte) ([]*age.Stanza, error) {
	nonce := make([]byte, chacha20poly1305.NonceSizeX)
	_, _ = rand.Read(nonce) // never fails
	return []*age.Stanza{{
		Type: recordStanza,
		Args: []string{base64.RawStdEncoding.EncodeToString(nonce)},
		Body: k.aead.Seal(nil, nonce, fileKey, []byte(recordStanza)),
	}}, nil
}

// Unwrap implements [age.Identity].
func (k *ageKey) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	for _, s := range stanzas {
		if s.Type != recordStanza || len(s.Args) != 1 {
			continue
		}
		nonce, err := base64.RawStdEncoding.DecodeString(s.Args[0])
		if err != nil || len(nonce) != chacha20poly1305.NonceSizeX {
			continue
		}
		if fileKey, err := k.aead.Open(nil, nonce, s.Body, []byte(recordStanza)); err == nil {
			return fileKey, nil
		}
	}
	return nil, age.ErrIncorrectIdentity
}
