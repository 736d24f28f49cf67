package auth

import (
	"crypto/rand"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"consilium/internal/config"
	"consilium/internal/event"
)

const (
	// MaxTokenBytes is the greatest length of a token.
	MaxTokenBytes = 8 << 10
	// Leeway is by how much the clocks of issuer and server may differ.
	Leeway = 30 * time.Second
)

// Config configures an Authority.
type Config struct {
	// Keys by key id. Files named in them are read by New and Reload.
	Keys map[string]config.Key
}

// Authority verifies and mints tokens. It is safe for concurrent use.
type Authority struct {
	keys    atomic.Pointer[keySet]
	own     verificationKey // signs for the rooms that nobody else may name
	revoked revocations
	parser  *jwt.Parser
}

// ownIssuer is the id of the server's own key. It signs tokens for the rooms in
// which devices are tested: what happens there is not recorded, so nobody
// else's token may lead to one.
const ownIssuer = event.PrecheckRoom

// New reads the keys and returns an Authority.
func New(cfg Config) (*Authority, error) {
	a := &Authority{
		// Time and claims are checked here, where the reason can be told.
		parser: jwt.NewParser(jwt.WithoutClaimsValidation(), jwt.WithStrictDecoding()),
		own:    verificationKey{alg: algHS256, key: []byte(rand.Text() + rand.Text())},
	}
	if err := a.Reload(cfg); err != nil {
		return nil, err
	}
	return a, nil
}

// Reload replaces all keys, or none if one of them can't be read. Tokens
// verified before keep what they gave; revocations stay.
func (a *Authority) Reload(cfg Config) error {
	keys, err := loadKeys(cfg.Keys)
	if err != nil {
		return err
	}
	keys[ownIssuer] = []verificationKey{a.own}
	a.keys.Store(&keys)
	return nil
}

// Verify returns the claims of a token that is genuine, complete, current and
// not revoked. The error is an [*Error].
func (a *Authority) Verify(token string) (Claims, error) {
	c, err := a.verifySignature(token)
	if err != nil {
		return Claims{}, err
	}
	now := time.Now()
	if !c.NotBefore.IsZero() && now.Add(Leeway).Before(c.NotBefore) {
		return Claims{}, &Error{
			Code: event.TokenEarly, Reason: ReasonNotYetValid,
			Detail: "it is good from " + c.NotBefore.UTC().Format(time.RFC3339),
		}
	}
	if now.After(c.Expires.Add(Leeway)) {
		return Claims{}, &Error{
			Code: event.TokenExpired, Reason: ReasonExpired,
			Detail: "it was good until " + c.Expires.UTC().Format(time.RFC3339),
		}
	}
	return c, nil
}

// VerifyJoin is Verify for a token that somebody joins a room with: not an
// admin's.
func (a *Authority) VerifyJoin(token string) (Claims, error) {
	c, err := a.Verify(token)
	if err != nil {
		return Claims{}, err
	}
	return c, c.joinable()
}

// VerifyIdentity says whose a join token is, be it expired or not good yet: who
// comes too late or too early should be heard, not let in.
func (a *Authority) VerifyIdentity(token string) (Claims, error) {
	c, err := a.verifySignature(token)
	if err != nil {
		return Claims{}, err
	}
	return c, c.joinable()
}

// joinable refuses the claims of an admin.
func (c Claims) joinable() error {
	if c.Role == RoleAdmin {
		return bad(ReasonWrongRole, "an admin can't join a room; make a token with another role")
	}
	return nil
}

// verifySignature checks everything but exp and nbf.
func (a *Authority) verifySignature(token string) (Claims, error) {
	if token == "" {
		return Claims{}, bad(ReasonMissing, "")
	}
	if len(token) > MaxTokenBytes {
		return Claims{}, bad(ReasonMalformed, fmt.Sprintf("longer than %d bytes", MaxTokenBytes))
	}
	var w wireClaims
	if _, err := a.parser.ParseWithClaims(token, &w, a.keyFor); err != nil {
		return Claims{}, refusal(err)
	}
	c, err := w.claims()
	if err != nil {
		return Claims{}, err
	}
	if event.InPrecheck(c.Room) != (c.Issuer == ownIssuer) {
		return Claims{}, bad(ReasonUnknownKey, "rooms that begin with "+event.PrecheckRoom+" are the server's own")
	}
	if a.revoked.has(c) {
		return Claims{}, bad(ReasonRevoked, "")
	}
	return c, nil
}

// keyFor chooses the keys a token may be signed with, by its issuer. What comes
// back fits the algorithm of the token's header, and only that.
func (a *Authority) keyFor(t *jwt.Token) (any, error) {
	w, ok := t.Claims.(*wireClaims)
	if !ok || w.Issuer == "" {
		return nil, bad(ReasonMissingClaim, "iss is missing")
	}
	kid, _ := t.Header["kid"].(string)
	found, err := a.keys.Load().candidates(w.Issuer, t.Method.Alg(), kid)
	if err != nil {
		return nil, err
	}
	var set jwt.VerificationKeySet
	for _, k := range found {
		set.Keys = append(set.Keys, k.key)
	}
	return set, nil
}

// refusal translates an error of the JWT library.
func refusal(err error) *Error {
	var own *Error
	switch {
	case errors.As(err, &own):
		return own
	case errors.Is(err, jwt.ErrTokenSignatureInvalid):
		return bad(ReasonBadSignature, "it was not signed with the key that iss names")
	case errors.Is(err, jwt.ErrTokenUnverifiable):
		return bad(ReasonWrongAlgorithm, "alg is missing or nobody's")
	default:
		return bad(ReasonMalformed, "not a JWT")
	}
}
