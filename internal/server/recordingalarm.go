package server

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"consilium/internal/config"
	"consilium/internal/event"
	"consilium/sfu"
)

// recordingAlarm is where the recorder emits. What it says of a call in
// progress goes on to the journal, under the same incident number to the pages
// of the call, and ends the call where recording.on_failure says so.
type recordingAlarm struct {
	next   event.Sink
	number func(event.Event) event.Event
	calls  alarmedCalls
	space  func() // told when the disk fills up or has space again; may be nil
	stop   bool   // recording.on_failure is stop
	log    *slog.Logger

	// Written by Emit, read by Run. Full: the event is in the journal, and is
	// not told to the call.
	events chan event.Event
}

// alarmedCalls is what the alarm needs of the SFU.
type alarmedCalls interface {
	AlarmRecording(ctx context.Context, id string, a sfu.RecordingAlarm) error
	EndCall(ctx context.Context, id, by string) error
}

const (
	alarmsWaiting = 1024            // a full disk alarms every track of the server at once
	alarmTimeout  = 5 * time.Second // for a call that is busy
)

func (s *Server) newRecordingAlarm() *recordingAlarm {
	return &recordingAlarm{
		next: s.journal, number: s.journal.Number, calls: lateSFU{s}, space: s.hurryUploads,
		stop: s.cfg.Recording.OnFailure == config.OnFailureStop,
		log:  s.log.With("part", "recorder"), events: make(chan event.Event, alarmsWaiting),
	}
}

// lateSFU is the SFU, which is made after the recorder.
type lateSFU struct{ server *Server }

func (l lateSFU) AlarmRecording(ctx context.Context, id string, a sfu.RecordingAlarm) error {
	return l.server.sfu.AlarmRecording(ctx, id, a)
}

func (l lateSFU) EndCall(ctx context.Context, id, by string) error {
	return l.server.sfu.EndCall(ctx, id, by)
}

// Emit passes an event on. It never blocks.
func (a *recordingAlarm) Emit(e event.Event) {
	e = a.number(e)
	a.next.Emit(e)
	if e.Type == event.RecordingSpace && a.space != nil {
		a.space()
	}
	if e.Call == "" || (e.Type != event.RecordingFailed && e.Type != event.RecordingStarted) {
		return
	}
	select {
	case a.events <- e:
	default:
		a.log.Error("too many alarms of recordings at once: a call was not told", "call", e.Call, "type", e.Type)
	}
}

// Run tells the calls.
func (a *recordingAlarm) Run(ctx context.Context) error {
	for {
		select {
		case e := <-a.events:
			a.tell(ctx, e)
		case <-ctx.Done():
			return nil
		}
	}
}

func (a *recordingAlarm) tell(ctx context.Context, e event.Event) {
	ctx, cancel := context.WithTimeout(ctx, alarmTimeout)
	defer cancel()
	var err error
	switch {
	case e.Type == event.RecordingStarted: // also when it goes on after a failure: the code is empty
		err = a.calls.AlarmRecording(ctx, e.Call, sfu.RecordingAlarm{Track: e.Track})
	case a.stop:
		err = a.calls.EndCall(ctx, e.Call, "recorder")
	default:
		err = a.calls.AlarmRecording(ctx, e.Call, sfu.RecordingAlarm{Track: e.Track, Code: e.Code, Incident: e.Incident()})
	}
	// A recording that fails after its call, or at recovery, concerns nobody in it.
	if err != nil && !errors.Is(err, sfu.ErrNotFound) && !errors.Is(err, sfu.ErrClosed) {
		a.log.Error("a call was not told of its recording", "call", e.Call, "type", e.Type, "error", err)
	}
}
