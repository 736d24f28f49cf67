package api

import (
	"context"
	"net/http"
	"strings"

	"consilium/internal/audit"
)

// Retention holds, releases and erases recordings. An unknown recording is an
// error that wraps fs.ErrNotExist; what is not possible in the recording's state
// is a problem of status 409.
type Retention interface {
	// Hold puts a recording on legal hold and returns the hold, as a value for
	// JSON: the first one if it is held already.
	Hold(ctx context.Context, id, by, reason string) (any, error)
	Release(ctx context.Context, id string) error
	// Erase removes a recording for ever and returns its tombstone, as a value
	// for JSON.
	Erase(ctx context.Context, id, by, reason string) (any, error)
}

// maxReason of a hold or an erasure, in bytes.
const maxReason = 1000

// holdRecording puts a recording on legal hold.
func (a *API) holdRecording(w http.ResponseWriter, r *request) error {
	var body struct {
		Reason string `json:"reason"`
	}
	if err := decode(r.body, &body); err != nil {
		return err
	}
	reason, err := checkReason(body.Reason)
	if err != nil {
		return err
	}
	id, err := a.retained(r, audit.Held, reason)
	if err != nil {
		return err
	}
	hold, err := a.config.Retention.Hold(r.Context(), id, r.caller.Subject, reason)
	if err != nil {
		return a.notDone(r, audit.Held, id, err)
	}
	return writeJSON(w, http.StatusOK, hold)
}

// releaseRecording ends a legal hold.
func (a *API) releaseRecording(w http.ResponseWriter, r *request) error {
	id, err := a.retained(r, audit.Released, "")
	if err != nil {
		return err
	}
	if err := a.config.Retention.Release(r.Context(), id); err != nil {
		return a.notDone(r, audit.Released, id, err)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// eraseRecording removes a recording for ever. The reason is in the query: many
// clients send no body with DELETE.
func (a *API) eraseRecording(w http.ResponseWriter, r *request) error {
	reason, err := checkReason(r.URL.Query().Get("reason"))
	if err != nil {
		return err
	}
	id, err := a.retained(r, audit.Erased, reason)
	if err != nil {
		return err
	}
	tombstone, err := a.config.Retention.Erase(r.Context(), id, r.caller.Subject, reason)
	if err != nil {
		return a.notDone(r, audit.Erased, id, err)
	}
	return writeJSON(w, http.StatusOK, tombstone)
}

// checkReason says what is wrong with a reason.
func checkReason(reason string) (string, error) {
	reason = strings.TrimSpace(reason)
	if reason == "" || len(reason) > maxReason {
		return "", unusable("reason: say why, in 1 to 1000 bytes")
	}
	return reason, nil
}

// retained checks the id of a recording, and notes what is about to be done to
// it: what can't be noted is not done.
func (a *API) retained(r *request, action audit.Action, reason string) (string, error) {
	id := r.PathValue("id")
	if a.config.Retention == nil || !safeName(id, maxFileName) {
		return "", notFound("there is no such recording")
	}
	e := audit.Entry{Action: action, Actor: r.caller.Subject, Role: string(r.caller.Role), Recording: id}
	if reason != "" {
		e.Data = map[string]any{"reason": reason}
	}
	return id, a.audit(r, e)
}

// notDone notes that what was noted did not happen, and returns the answer.
func (a *API) notDone(r *request, action audit.Action, id string, err error) error {
	e := audit.Entry{
		Action: action, Outcome: audit.Failed, Actor: r.caller.Subject, Role: string(r.caller.Role), Recording: id,
		Data: map[string]any{"code": Of(err).Code},
	}
	if e := a.audit(r, e); e != nil {
		a.log.Error("a failure is not in the audit log", "recording", id, "action", action, "error", e)
	}
	return noRecording(err)
}
