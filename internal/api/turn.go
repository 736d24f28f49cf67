package api

import (
	"errors"
	"fmt"
	"net/http"

	"consilium/internal/auth"
)

// turnCredentials answers ephemeral TURN credentials: for the identity of a
// join token, or for any name if an admin asks.
func (a *API) turnCredentials(w http.ResponseWriter, r *request) error {
	username, err := a.turnUser(r)
	if err != nil {
		return err
	}
	if a.config.TURN == nil {
		return notFound("this server has no TURN server")
	}
	credentials, err := a.config.TURN.Credentials(username)
	if err != nil {
		return fmt.Errorf("make TURN credentials: %w", err)
	}
	return writeJSON(w, http.StatusOK, credentials)
}

func (a *API) turnUser(r *request) (string, error) {
	caller, err := a.config.Auth.APICredentials(r.Request)
	if refused, ok := errors.AsType[*auth.Error](err); ok && refused.Forbidden() {
		// Genuine, but not an admin's: a join token, for its own identity.
		claims, err := a.config.Auth.Verify(auth.BearerToken(r.Request))
		return claims.Subject, err
	}
	if err != nil {
		return "", err
	}
	username := r.URL.Query().Get("username")
	if username == "" {
		return caller.Subject, nil
	}
	if !auth.Ident(username) {
		return "", unusable("username: 1 to 64 of A-Z a-z 0-9 . _ ~ -")
	}
	return username, nil
}
