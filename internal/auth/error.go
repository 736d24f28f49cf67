package auth

import "consilium/internal/event"

// Reason says why credentials were refused. The list is closed and part of the
// public contract; docs/reference/tokens.md explains each.
type Reason string

// Reasons.
const (
	ReasonMissing        Reason = "missing"         // no credentials at all
	ReasonMalformed      Reason = "malformed"       // not a JWT, or too long
	ReasonWrongAlgorithm Reason = "wrong_algorithm" // not the algorithm of the key
	ReasonUnknownKey     Reason = "unknown_key"     // nobody knows the issuer, or its key
	ReasonBadSignature   Reason = "bad_signature"   // or a wrong secret
	ReasonMissingClaim   Reason = "missing_claim"
	ReasonBadClaim       Reason = "bad_claim" // there, but can't be used
	ReasonExpired        Reason = "expired"
	ReasonNotYetValid    Reason = "not_yet_valid"
	ReasonRevoked        Reason = "revoked"
	ReasonWrongRole      Reason = "wrong_role" // genuine, but not for this
)

// Error is why credentials were refused. Every error of Verify, VerifyJoin,
// VerifyIdentity and APICredentials is one.
type Error struct {
	Code   event.Code // TOKEN_BAD, TOKEN_EXPIRED or TOKEN_EARLY
	Reason Reason
	Detail string // for an administrator; holds no secret and no whole token
}

// Error returns the reason and its detail.
func (e *Error) Error() string {
	if e.Detail == "" {
		return "token refused: " + string(e.Reason)
	}
	return "token refused: " + string(e.Reason) + ": " + e.Detail
}

// Forbidden reports whether the credentials are genuine but not enough: the
// answer is then 403, otherwise 401.
func (e *Error) Forbidden() bool { return e.Reason == ReasonWrongRole }

// bad returns an Error with code TOKEN_BAD.
func bad(reason Reason, detail string) *Error {
	return &Error{Code: event.TokenBad, Reason: reason, Detail: detail}
}
