package server

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"

	"consilium/internal/event"
	"consilium/sfu"
)

// toldCalls writes down what the SFU is told.
type toldCalls struct{ told []string }

func (c *toldCalls) AlarmRecording(_ context.Context, id string, a sfu.RecordingAlarm) error {
	c.told = append(c.told, fmt.Sprintf("alarm %s %s %s %s", id, a.Track, a.Code, a.Incident))
	return nil
}

func (c *toldCalls) EndCall(_ context.Context, id, by string) error {
	c.told = append(c.told, "end "+id+" by "+by)
	return sfu.ErrNotFound // it is over: no fault
}

func TestWhatTheRecorderSaysReachesTheCall(t *testing.T) {
	failed := event.Event{Type: event.RecordingFailed, Call: "c", Track: "t", Failure: event.Failure{Code: event.DiskFull}}
	for name, tc := range map[string]struct {
		stop bool
		e    event.Event
		want []string
	}{
		"a failure":                {false, failed, []string{"alarm c t DISK_FULL K7M4-QX"}},
		"a failure that ends it":   {true, failed, []string{"end c by recorder"}},
		"it goes on":               {true, event.Event{Type: event.RecordingStarted, Call: "c", Track: "t"}, []string{"alarm c t  "}},
		"another event":            {true, event.Event{Type: event.RecordingReady, Call: "c"}, nil},
		"the disk, of no call":     {true, event.Event{Type: event.RecordingSpace, Failure: event.Failure{Code: event.DiskFull}}, nil},
		"a failure without a call": {true, event.Event{Type: event.RecordingFailed, Failure: event.Failure{Code: event.DiskFull}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var calls toldCalls
				var passed []event.Event
				a := &recordingAlarm{
					next:   event.Func(func(e event.Event) { passed = append(passed, e) }),
					number: func(e event.Event) event.Event { e.Data = map[string]any{event.IncidentKey: "K7M4-QX"}; return e },
					calls:  &calls, stop: tc.stop, log: slog.New(slog.DiscardHandler), events: make(chan event.Event, 1),
				}
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- a.Run(ctx) }()
				a.Emit(tc.e)
				synctest.Wait()
				cancel()
				if err := <-done; err != nil || !slices.Equal(calls.told, tc.want) {
					t.Errorf("told %q, not %q; %v", calls.told, tc.want, err)
				}
				if len(passed) != 1 || passed[0].Incident() != "K7M4-QX" {
					t.Errorf("passed on were %+v", passed)
				}
			})
		})
	}
}

func TestAFillingDiskHurriesTheCopies(t *testing.T) {
	hurried := 0
	a := &recordingAlarm{
		next: event.Func(func(event.Event) {}), number: func(e event.Event) event.Event { return e },
		space: func() { hurried++ }, log: slog.New(slog.DiscardHandler), events: make(chan event.Event, 1),
	}
	for _, typ := range []event.Type{event.RecordingSpace, event.RecordingReady, event.RecordingFailed} {
		a.Emit(event.Event{Type: typ})
	}
	if hurried != 1 {
		t.Errorf("%d times", hurried)
	}
}

func TestAnAlarmNeverBlocksTheRecorder(t *testing.T) {
	a := &recordingAlarm{
		next: event.Func(func(event.Event) {}), number: func(e event.Event) event.Event { return e },
		log: slog.New(slog.DiscardHandler), events: make(chan event.Event, 1),
	}
	for range 3 { // nobody reads
		a.Emit(event.Event{Type: event.RecordingFailed, Call: "c"})
	}
	if len(a.events) != 1 {
		t.Errorf("%d wait", len(a.events))
	}
}
