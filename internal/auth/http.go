package auth

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"
)

// BearerToken returns the token of "Authorization: Bearer" (RFC 6750, section
// 2.1), or "" if there is none.
func BearerToken(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// APICredentials returns who asks the HTTP API: the claims of a Bearer token of
// role admin, or an admin's claims for an API key as Basic KEY:SECRET. The
// error is an [*Error].
func (a *Authority) APICredentials(r *http.Request) (Claims, error) {
	if key, secret, ok := r.BasicAuth(); ok {
		return a.verifySecret(key, secret)
	}
	c, err := a.Verify(BearerToken(r))
	if err != nil {
		return Claims{}, err
	}
	if c.Role != RoleAdmin {
		return Claims{}, bad(ReasonWrongRole, "the API is for role admin")
	}
	return c, nil
}

// verifySecret checks an API key in a time that doesn't depend on how much of
// the secret is right. Which key ids exist is no secret.
func (a *Authority) verifySecret(id, secret string) (Claims, error) {
	keys, ok := (*a.keys.Load())[id]
	if !ok || keys[0].alg != algHS256 {
		return Claims{}, bad(ReasonUnknownKey, "no key with a secret has this id")
	}
	want, _ := keys[0].key.([]byte)
	wantSum, gotSum := sha256.Sum256(want), sha256.Sum256([]byte(secret))
	if subtle.ConstantTimeCompare(wantSum[:], gotSum[:]) != 1 {
		return Claims{}, bad(ReasonBadSignature, "wrong secret")
	}
	return Claims{Issuer: id, Subject: id, Room: AllRooms, Role: RoleAdmin}, nil
}
