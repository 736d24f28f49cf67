package sfu

import (
	"time"

	"consilium/internal/event"
)

// This file tells of sessions that were cut off after they had joined. In the
// data of each event, present says whether the participant is in the call all
// the same: what then failed is a session, not his call.

// Fail says why the session is about to be lost: call it right before Leave. A
// session of which a failure was told already has its first cause, and nothing
// is told.
func (x *Session) Fail(f event.Failure) {
	x.c.loop.post(func() {
		if !x.closed && !x.stages.failed {
			x.interrupted(f, map[string]any{"present": len(x.p.sessions) > 1})
		}
	})
}

// interrupted emits participant.failed of a session that ends. A player is
// nobody in the call, and nothing is told of it.
func (x *Session) interrupted(f event.Failure, data map[string]any) {
	if x.mode == Player {
		return
	}
	x.stages.failed = true
	x.emit(event.Event{Type: event.ParticipantFailed, Failure: f, Data: data})
}

// replacedBy tells that the same person came again from elsewhere.
func (x *Session) replacedBy(successor *Session) {
	x.interrupted(event.Failure{
		Code: event.SessionReplaced, Stage: event.StageFlowing,
		Evidence: map[string]any{
			"superseded_by": successor.id,
			"after_ms":      time.Since(x.joinedAt).Milliseconds(),
			"user_agent":    successor.client["user_agent"],
		},
	}, map[string]any{"present": true, "superseded_by": successor.id})
}

// stoppedByServer tells that the session ends because the server does.
func (x *Session) stoppedByServer() {
	x.interrupted(event.Failure{
		Code: event.ServerRestart, Stage: event.StageFlowing,
		Evidence: map[string]any{"reason": "the server stops", "after_ms": time.Since(x.joinedAt).Milliseconds()},
	}, map[string]any{"present": false})
}
