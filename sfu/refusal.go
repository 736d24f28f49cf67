package sfu

import (
	"context"
	"errors"
	"net/http"

	"consilium/internal/event"
	"consilium/internal/problem"
)

// Refusal gives the HTTP status and the code that an error of this package has
// for a client, the same over HTTP and the socket. It is false for an error
// that is none of the refusals: its words may not be for clients.
func Refusal(err error) (status int, code string, ok bool) {
	for _, r := range [...]struct {
		err    error
		status int
		code   string
	}{
		{ErrNotSDP, http.StatusBadRequest, problem.NotSDP},
		{ErrBadOffer, http.StatusUnprocessableEntity, problem.Unusable},
		{ErrNoGrant, http.StatusForbidden, problem.Forbidden},
		{ErrNotFound, http.StatusNotFound, problem.NotFound},
		{ErrClosed, http.StatusNotFound, problem.NotFound},
		{ErrWaiting, http.StatusConflict, problem.Conflict},
		{ErrConflict, http.StatusConflict, problem.Conflict},
		{ErrBusy, http.StatusServiceUnavailable, string(event.ServerBusy)},
		{ErrDraining, http.StatusServiceUnavailable, string(event.ServerRestart)},
		{ErrRecording, http.StatusServiceUnavailable, string(event.RecorderFailed)},
		{context.DeadlineExceeded, http.StatusServiceUnavailable, string(event.ServerBusy)},
	} {
		if !errors.Is(err, r.err) {
			continue
		}
		if coded, ok := errors.AsType[*CodedError](err); ok {
			r.code = string(coded.Code)
		}
		return r.status, r.code, true
	}
	return 0, "", false
}
