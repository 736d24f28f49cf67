package server

import (
	"context"
	"errors"
	"net/http"

	"consilium/internal/audit"
	"consilium/internal/problem"
	"consilium/recorder"
)

// retention makes an api.Retention of the data directory and the index.
type retention struct {
	dir    string
	erased func(id string)
}

func (r retention) Hold(_ context.Context, id, by, reason string) (any, error) {
	hold, err := recorder.Hold(r.dir, id, by, reason)
	return hold, conflict(err)
}

func (r retention) Release(_ context.Context, id string) error {
	return conflict(recorder.Release(r.dir, id))
}

func (r retention) Erase(_ context.Context, id, by, reason string) (any, error) {
	stone, err := recorder.Erase(r.dir, id, by, reason)
	if recorder.IsErased(r.dir, id) { // also if files of it could not be removed yet
		r.erased(id)
	}
	return stone, conflict(err)
}

// conflict makes a 409 of what the state of a recording does not allow.
func conflict(err error) error {
	for refusal, words := range map[error]string{
		recorder.ErrHeld:       "the recording is on legal hold: release it first",
		recorder.ErrUnfinished: "the recording is not finished: wait for recording.ready",
		recorder.ErrErased:     "the recording has been erased",
	} {
		if errors.Is(err, refusal) {
			return problem.New(http.StatusConflict, problem.Conflict, words)
		}
	}
	return err
}

// erased notes what retention erased.
func (s *Server) erased(stone recorder.Tombstone) {
	s.recordingErased(stone.Call)
	ctx, cancel := context.WithTimeout(context.Background(), httpTimeout)
	defer cancel()
	err := s.audit.Append(ctx, audit.Entry{
		Action: audit.Erased, Actor: stone.By, Role: audit.RoleServer, Recording: stone.Call,
		Data: map[string]any{"reason": stone.Reason},
	})
	if err != nil {
		s.log.Error("an erased recording is not in the audit log", "recording", stone.Call, "error", err)
	}
}
