package api

import (
	"errors"
	"io/fs"
	"net/http"

	"consilium/internal/auth"
	"consilium/internal/event"
	"consilium/internal/export"
	"consilium/internal/journal"
	"consilium/internal/problem"
	"consilium/internal/seal"
	"consilium/sfu"
)

// known gives errors of other packages their status and code.
func known() []struct {
	err    error
	status int
	code   string
} {
	return []struct {
		err    error
		status int
		code   string
	}{
		{export.ErrNotFound, http.StatusNotFound, problem.NotFound},
		{export.ErrNotFinal, http.StatusConflict, problem.Conflict},
		{export.ErrSealed, http.StatusConflict, problem.Sealed},
		{export.ErrUnusable, http.StatusUnprocessableEntity, problem.Unusable},
		{export.ErrNoProgram, http.StatusNotImplemented, problem.NotImplemented},
		{export.ErrFull, http.StatusServiceUnavailable, problem.Unavailable},
		{export.ErrStopped, http.StatusServiceUnavailable, string(event.ServerRestart)},
		{export.ErrDiskLow, http.StatusServiceUnavailable, string(event.DiskFull)},
		{journal.ErrNotFound, http.StatusNotFound, problem.NotFound},
		{seal.ErrNoIdentity, http.StatusConflict, problem.Sealed},
		{seal.ErrDamaged, http.StatusInternalServerError, problem.Damaged},
		{fs.ErrNotExist, http.StatusNotFound, problem.NotFound},
	}
}

// Of returns the problem that an error is to the client: the one place that
// decides on statuses. What nobody foresaw is 500 and keeps its words to
// itself.
func Of(err error) *problem.Problem {
	if p, ok := errors.AsType[*problem.Problem](err); ok {
		return p
	}
	if refused, ok := errors.AsType[*auth.Error](err); ok {
		return ofRefusal(refused)
	}
	if status, code, ok := sfu.Refusal(err); ok {
		return problem.New(status, code, err.Error())
	}
	for _, k := range known() {
		if errors.Is(err, k.err) {
			return problem.New(k.status, k.code, err.Error())
		}
	}
	return problem.New(http.StatusInternalServerError, problem.Internal, "the server's log says more")
}

// ofRefusal tells no credentials, bad ones and insufficient ones apart.
func ofRefusal(e *auth.Error) *problem.Problem {
	switch {
	case e.Forbidden():
		return problem.New(http.StatusForbidden, problem.Forbidden, e.Error())
	case e.Reason == auth.ReasonMissing:
		return problem.New(http.StatusUnauthorized, problem.Unauthorized,
			"send Authorization: Bearer with a token, or Basic with KEY:SECRET")
	default:
		return problem.New(http.StatusUnauthorized, string(e.Code), e.Error())
	}
}

// notFound is 404.
func notFound(detail string) error {
	return problem.New(http.StatusNotFound, problem.NotFound, detail)
}

// badRequest is 400 for a path, query or header.
func badRequest(detail string) error {
	return problem.New(http.StatusBadRequest, problem.BadRequest, detail)
}

// unusable is 422: the JSON is good, what it says is not.
func unusable(detail string) error {
	return problem.New(http.StatusUnprocessableEntity, problem.Unusable, detail)
}

// conflict is 409.
func conflict(detail string) error {
	return problem.New(http.StatusConflict, problem.Conflict, detail)
}
