package signaling

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"consilium/sfu"
)

// secretContext separates these signatures from others made with the same key.
const secretContext = "consilium session secret v1\x00"

// secretClaims is what a session secret says. It is signed, not encrypted: the
// client it is given to may know all of it.
type secretClaims struct {
	Session string     `json:"sid"`
	Person  sfu.Person `json:"person"`
	Grants  []string   `json:"grants"`
	Consent bool       `json:"consent"` // to recording
	// Admitted says that its bearer need not wait when the server restarts.
	Admitted bool  `json:"admitted"`
	Issued   int64 `json:"iat"` // Unix seconds
	Expires  int64 `json:"exp"` // Unix seconds
}

var (
	errSecretBad     = errors.New("session secret is not valid")
	errSecretExpired = errors.New("session secret has expired")
)

// secretSigner makes and verifies session secrets: base64url(JSON) "."
// base64url(HMAC-SHA256). They hold across a restart with the same key.
type secretSigner struct{ key []byte }

func (s secretSigner) sign(c secretClaims) (string, error) {
	payload, err := json.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("encode session secret: %w", err)
	}
	text := base64.RawURLEncoding.EncodeToString(payload)
	return text + "." + base64.RawURLEncoding.EncodeToString(s.mac(text)), nil
}

func (s secretSigner) verify(secret string, now time.Time) (secretClaims, error) {
	var c secretClaims
	text, signature, ok := strings.Cut(secret, ".")
	if !ok {
		return c, errSecretBad
	}
	mac, err := base64.RawURLEncoding.DecodeString(signature)
	if err != nil || !hmac.Equal(mac, s.mac(text)) {
		return c, errSecretBad
	}
	payload, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return c, errSecretBad
	}
	if err := json.Unmarshal(payload, &c); err != nil {
		return c, errSecretBad
	}
	if now.Unix() >= c.Expires {
		return c, errSecretExpired
	}
	return c, nil
}

func (s secretSigner) mac(text string) []byte {
	h := hmac.New(sha256.New, s.key)
	h.Write([]byte(secretContext)) // a hash never fails
	h.Write([]byte(text))
	return h.Sum(nil)
}
