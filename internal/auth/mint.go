package auth

import (
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"consilium/internal/event"
)

// Mint returns a token with the given claims, good for ttl from now.
//
// An empty Issuer takes the first key, by id, that has a secret, and a room of
// a precheck the server's own; Expires and
// IssuedAt are set here, and ID if it is empty. An empty set of Grants leaves
// the role's default.
func (a *Authority) Mint(c Claims, ttl time.Duration) (string, error) {
	if ttl < time.Second {
		return "", fmt.Errorf("mint token: lifetime %v is less than a second", ttl)
	}
	keys := *a.keys.Load()
	switch {
	case event.InPrecheck(c.Room):
		c.Issuer = ownIssuer
	case c.Issuer == "":
		c.Issuer = keys.minting()
	}
	i := slices.IndexFunc(keys[c.Issuer], func(k verificationKey) bool { return k.alg == algHS256 })
	if i < 0 {
		return "", fmt.Errorf("mint token: key %q has no secret to sign with; configure keys.<id>.secret", c.Issuer)
	}
	if c.ID == "" {
		c.ID = rand.Text()
	}
	c.IssuedAt = time.Now()
	c.Expires = c.IssuedAt.Add(ttl)
	if err := c.check(); err != nil {
		return "", mintError(err)
	}
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, c.wire()).SignedString(keys[c.Issuer][i].key)
	if err != nil {
		return "", fmt.Errorf("mint token: %w", err)
	}
	if len(token) > MaxTokenBytes {
		return "", fmt.Errorf("mint token: %d bytes, more than the %d that are taken", len(token), MaxTokenBytes)
	}
	return token, nil
}

// mintError says what is wrong with the claims without calling it a refusal.
func mintError(err error) error {
	var refused *Error
	if errors.As(err, &refused) {
		return errors.New("mint token: " + refused.Detail)
	}
	return fmt.Errorf("mint token: %w", err)
}

// minting returns the first issuer, by id, that has a secret.
func (s keySet) minting() string {
	for _, id := range slices.Sorted(maps.Keys(s)) {
		if id != ownIssuer && len(s[id]) > 0 && s[id][0].alg == algHS256 {
			return id
		}
	}
	return ""
}
