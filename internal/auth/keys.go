package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"slices"

	"consilium/internal/config"
)

// Algorithms of RFC 7518 and RFC 8037 that are taken.
const (
	algHS256 = "HS256"
	algES256 = "ES256"
	algEdDSA = "EdDSA"
)

// minSecretBytes is the least length of a secret: the size of the hash (RFC
// 7518, section 3.2).
const minSecretBytes = 32

// maxJWKSKeys bounds how many signatures one token can make us compute.
const maxJWKSKeys = 16

// verificationKey is one key that a token may be signed with.
type verificationKey struct {
	id  string // kid; "" matches any
	alg string
	key crypto.PublicKey // []byte for HS256
}

// keySet is what an issuer may sign with. It is not written to once made.
type keySet map[string][]verificationKey

// loadKeys reads the keys of the configuration.
func loadKeys(configured map[string]config.Key) (keySet, error) {
	set := make(keySet, len(configured))
	for id, k := range configured {
		keys, err := loadKey(k)
		if err != nil {
			return nil, fmt.Errorf("load key keys.%s: %w", id, err)
		}
		set[id] = keys
	}
	return set, nil
}

func loadKey(k config.Key) ([]verificationKey, error) {
	switch {
	case k.Secret != "":
		if len(k.Secret) < minSecretBytes {
			return nil, fmt.Errorf("secret has %d bytes, want at least %d", len(k.Secret), minSecretBytes)
		}
		return []verificationKey{{alg: algHS256, key: []byte(k.Secret)}}, nil
	case k.PublicKeyFile != "":
		data, err := os.ReadFile(k.PublicKeyFile)
		if err != nil {
			return nil, err
		}
		key, err := parsePublicKey(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", k.PublicKeyFile, err)
		}
		return []verificationKey{key}, nil
	case k.JWKSFile != "":
		data, err := os.ReadFile(k.JWKSFile)
		if err != nil {
			return nil, err
		}
		keys, err := parseJWKS(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", k.JWKSFile, err)
		}
		return keys, nil
	}
	return nil, errors.New("has no secret, no public_key_file and no jwks_file")
}

// candidates returns the keys of issuer that may have signed a token with the
// given algorithm and key id.
func (s keySet) candidates(issuer, alg, kid string) ([]verificationKey, error) {
	keys, ok := s[issuer]
	if !ok {
		return nil, bad(ReasonUnknownKey, fmt.Sprintf("no key has the id %q of iss", clip(issuer)))
	}
	if !slices.ContainsFunc(keys, func(k verificationKey) bool { return k.alg == alg }) {
		return nil, bad(ReasonWrongAlgorithm, fmt.Sprintf("%q is not an algorithm of key %q", clip(alg), clip(issuer)))
	}
	var found []verificationKey
	for _, k := range keys {
		if k.alg == alg && (kid == "" || k.id == "" || k.id == kid) {
			found = append(found, k)
		}
	}
	if len(found) == 0 {
		return nil, bad(ReasonUnknownKey, fmt.Sprintf("issuer %q has no key with kid %q", clip(issuer), clip(kid)))
	}
	return found, nil
}

// parsePublicKey reads a PEM public key (SubjectPublicKeyInfo, RFC 7468,
// section 13).
func parsePublicKey(data []byte) (verificationKey, error) {
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "PUBLIC KEY" {
		return verificationKey{}, errors.New(`not a PEM file with a "PUBLIC KEY" block; make one with: openssl pkey -in KEY -pubout`)
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return verificationKey{}, fmt.Errorf("parse public key: %w", err)
	}
	switch key := parsed.(type) {
	case *ecdsa.PublicKey:
		if key.Curve == elliptic.P256() {
			return verificationKey{alg: algES256, key: key}, nil
		}
	case ed25519.PublicKey:
		return verificationKey{alg: algEdDSA, key: key}, nil
	}
	return verificationKey{}, errors.New("not a key for ES256 (P-256) or EdDSA (Ed25519)")
}

// jwk is a JSON Web Key (RFC 7517), as far as it is used here.
type jwk struct {
	Type  string `json:"kty"`
	ID    string `json:"kid"`
	Use   string `json:"use"`
	Alg   string `json:"alg"`
	Curve string `json:"crv"`
	X     string `json:"x"`
	Y     string `json:"y"`
}

// parseJWKS reads a JSON Web Key Set. Keys of other kinds are passed over (RFC
// 7517, section 5), but one that can be used must be there.
func parseJWKS(data []byte) ([]verificationKey, error) {
	var set struct {
		Keys []jwk `json:"keys"`
	}
	if err := json.Unmarshal(data, &set); err != nil {
		return nil, fmt.Errorf("parse JSON Web Key Set: %w", err)
	}
	var keys []verificationKey
	for i, k := range set.Keys {
		key, ok, err := k.parse()
		if err != nil {
			return nil, fmt.Errorf("key %d of the set: %w", i+1, err)
		}
		if ok {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("no key for ES256 (EC, P-256) or EdDSA (OKP, Ed25519) in the set")
	}
	if len(keys) > maxJWKSKeys {
		return nil, fmt.Errorf("%d keys in the set, want at most %d", len(keys), maxJWKSKeys)
	}
	return keys, nil
}

// parse returns the key, or false if it is of a kind that isn't used here.
func (k jwk) parse() (verificationKey, bool, error) {
	if k.Use != "" && k.Use != "sig" {
		return verificationKey{}, false, nil
	}
	switch {
	case k.Type == "EC" && k.Curve == "P-256" && (k.Alg == "" || k.Alg == algES256):
		x, errX := base64.RawURLEncoding.DecodeString(k.X)
		y, errY := base64.RawURLEncoding.DecodeString(k.Y)
		if errX != nil || errY != nil || len(x) != 32 || len(y) != 32 {
			return verificationKey{}, false, errors.New("x and y of a P-256 key are not 32 bytes of base64url each")
		}
		point := slices.Concat([]byte{4}, x, y) // uncompressed, SEC 1, section 2.3.3
		key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
		if err != nil {
			return verificationKey{}, false, fmt.Errorf("parse P-256 key: %w", err)
		}
		return verificationKey{id: k.ID, alg: algES256, key: key}, true, nil
	case k.Type == "OKP" && k.Curve == "Ed25519" && (k.Alg == "" || k.Alg == algEdDSA):
		x, err := base64.RawURLEncoding.DecodeString(k.X)
		if err != nil || len(x) != ed25519.PublicKeySize {
			return verificationKey{}, false, errors.New("x of an Ed25519 key is not 32 bytes of base64url")
		}
		return verificationKey{id: k.ID, alg: algEdDSA, key: ed25519.PublicKey(x)}, true, nil
	}
	return verificationKey{}, false, nil
}
