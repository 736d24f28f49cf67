package server

import (
	"context"
	"errors"
	"log/slog"

	"consilium/internal/config"
	"consilium/internal/event"
	"consilium/sfu"
)

// failStop ends a call whose recording has failed, where recording.on_failure
// says so. The recorder emits its events through it.
type failStop struct {
	next   event.Sink
	end    func(ctx context.Context, id, by string) error
	failed chan string // ids of calls; written by Emit, read by Run
	log    *slog.Logger
}

// failedCalls is how many failures may wait. Beyond that they are dropped: the
// call of each has others that wait, or will fail again with its next file.
const failedCalls = 256

// recorderEvents is where the recorder emits.
func (s *Server) recorderEvents() event.Sink {
	if s.cfg.Recording.OnFailure != config.OnFailureStop {
		return s.journal
	}
	s.failStop = &failStop{
		next: s.journal, failed: make(chan string, failedCalls), log: s.log.With("part", "recorder"),
		end: func(ctx context.Context, id, by string) error { return s.sfu.EndCall(ctx, id, by) },
	}
	return s.failStop
}

// Emit passes an event on.
func (f *failStop) Emit(e event.Event) {
	f.next.Emit(e)
	if e.Type != event.RecordingFailed {
		return
	}
	select {
	case f.failed <- e.Call:
	default:
		f.log.Warn("too many failed recordings at once: a call goes on unrecorded", "call", e.Call)
	}
}

// Run ends the calls.
func (f *failStop) Run(ctx context.Context) error {
	for {
		select {
		case id := <-f.failed:
			// A recording that fails after its call, or at recovery, ends nothing.
			if err := f.end(ctx, id, "recorder"); err != nil && !errors.Is(err, sfu.ErrNotFound) && !errors.Is(err, sfu.ErrClosed) {
				f.log.Error("end a call that can't be recorded", "call", id, "err", err)
			}
		case <-ctx.Done():
			return nil
		}
	}
}
