package sfu

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"consilium/internal/event"
	"consilium/internal/media"
)

// endOf returns how long after from the only call ended, in a bubble.
func endOf(h *hospital, from time.Time) time.Duration {
	h.t.Helper()
	for range 2 * 3600 {
		synctest.Wait()
		for _, e := range h.events.list() {
			if e.Type == event.CallEnded {
				return e.Time.Sub(from)
			}
		}
		<-time.After(time.Second)
	}
	h.t.Fatal("the call does not end")
	return 0
}

func TestCallLingersForThoseWhoMayComeBack(t *testing.T) {
	player := JoinRequest{Mode: Player, Target: "d", Person: Person{Room: "room", Identity: "w", Grants: Grants{Subscribe: true}}}
	held := player
	held.Role = "patient"
	for name, c := range map[string]struct {
		play func(h *hospital) // the clock starts when it returns
		want time.Duration
	}{
		"clean leave": {func(h *hospital) { h.join(asDoctor("d")).Leave(media.EndLeft) }, 5 * time.Second},
		"lost":        {func(h *hospital) { h.join(asDoctor("d")).Leave(media.EndLost) }, 30 * time.Second},
		"lost a while ago": {func(h *hospital) {
			x := h.join(asDoctor("d"))
			x.SocketLost()
			<-time.After(20 * time.Second)
			x.Leave(media.EndLost)
		}, 10 * time.Second},
		"clean leave after a lost one": {func(h *hospital) {
			doctor, patient := h.join(asDoctor("d")), h.join(asPatient("p"))
			patient.Leave(media.EndLost)
			<-time.After(10 * time.Second)
			doctor.Leave(media.EndLeft)
		}, 20 * time.Second},
		"player stays": {func(h *hospital) {
			h.join(player)
			h.join(asDoctor("d")).Leave(media.EndLeft)
		}, 5 * time.Second},
		"player alone":      {func(h *hospital) { h.join(player) }, time.Hour},
		"player has gone":   {func(h *hospital) { h.join(player).Leave(media.EndLeft) }, 5 * time.Second},
		"nobody came":       {func(h *hospital) { _, _ = h.OpenCall(context.Background(), CallSpec{Room: "room"}) }, time.Hour},
		"only one, refused": {func(h *hospital) { _, _ = h.Join(context.Background(), held) }, 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := open(t, Config{Calls: CallsConfig{HoldPatients: true}})
				c.play(h)
				synctest.Wait()
				got := endOf(h, time.Now())
				if got < c.want || got > c.want+2*tickEvery {
					t.Errorf("ended after %v, want %v", got, c.want)
				}
				h.stop()
			})
		})
	}
}

func TestComingBackKeepsTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, Config{})
		first := h.join(asDoctor("d"))
		first.Leave(media.EndLost)
		<-time.After(29 * time.Second)
		if second := h.join(asDoctor("d")); second.CallID() != first.CallID() {
			t.Error("another call")
		}
		<-time.After(time.Minute)
		if h.events.count(ofType(event.CallEnded)) != 0 {
			t.Error("ended while somebody was there")
		}
		h.stop()
	})
}

func TestDetailsOfTheAPIReachEveryEvent(t *testing.T) {
	h := open(t, Config{})
	spec := CallSpec{Room: "room", ExternalID: "visit-7", Metadata: map[string]string{"ward": "3"}}
	info, err := h.OpenCall(context.Background(), spec)
	must(t, err)
	_, err = h.OpenCall(context.Background(), CallSpec{Room: "room", ExternalID: "visit-8"})
	wantError(t, err, ErrConflict)
	x := h.join(asDoctor("d"))
	if x.CallID() != info.ID {
		t.Error("another call")
	}
	must(t, h.EndCall(context.Background(), info.ID, "api"))
	<-x.Done()
	h.stop()
	for _, e := range h.events.list() {
		if e.ExternalID != "visit-7" || e.Metadata["ward"] != "3" || e.Call != info.ID {
			t.Errorf("%s says %+v", e.Type, e)
		}
	}
	wantError(t, h.EndCall(context.Background(), info.ID, "api"), ErrNotFound)
}

func TestOfferWaitsForTheRecorder(t *testing.T) {
	rec := &fakeRecorder{gate: make(chan error)}
	h := open(t, withMedia(t, Config{Recorder: rec, Calls: CallsConfig{ArmTimeout: time.Minute}}))
	x := h.join(asDoctor("d"))
	x.prepare(1, sound, picture)
	offer := x.offer()
	answered := make(chan error, 1)
	go func() { _, err := x.Offer(context.Background(), offer); answered <- err }()
	rec.gate <- nil // taken by Arm: until now nothing could be answered
	must(t, <-answered)
	x.told.wait(t, "recording on", func(n Notice) bool { r, ok := n.(NoticeRecording); return ok && r.On })
	must(t, x.EndCall(context.Background()))
	h.stop()
	if rec.ends() != 1 {
		t.Errorf("ended %d times", rec.ends())
	}
	notes := rec.armed[0].notes
	for _, typ := range []event.Type{event.CallStarted, event.ParticipantJoined, event.CallEnded} {
		if notes.count(ofType(typ)) != 1 {
			t.Errorf("the manifest has %d %s", notes.count(ofType(typ)), typ)
		}
	}
}

func TestRecorderThatFailsIsToldAndTriedAgain(t *testing.T) {
	rec := &fakeRecorder{gate: make(chan error)}
	h := open(t, withMedia(t, Config{Recorder: rec, Calls: CallsConfig{ArmTimeout: time.Minute}}))
	x := h.join(asDoctor("d"))
	x.prepare(1, sound, picture)
	offer := x.offer()
	full := &CodedError{Code: event.DiskFull, Err: errors.New("3 MiB free")}
	rec.gate <- full
	x.told.wait(t, "disk full", func(n Notice) bool { r, ok := n.(NoticeRecording); return ok && r.Code == event.DiskFull })
	go func() { rec.gate <- full; rec.gate <- nil }()
	_, err := x.Offer(context.Background(), offer)
	wantError(t, err, ErrRecording)
	if coded, ok := errors.AsType[*CodedError](err); !ok || coded.Code != event.DiskFull {
		t.Errorf("error %#v", err)
	}
	if e := h.events.wait(t, "recording.failed", ofType(event.RecordingFailed)); e.Code != event.DiskFull {
		t.Errorf("code %q", e.Code)
	}
	_, err = x.Offer(context.Background(), offer)
	must(t, err)
	h.stop()
	if n := h.events.count(ofType(event.RecordingFailed)); n != 1 {
		t.Errorf("told %d times", n)
	}
}

func TestCallThatEndsGivesUpArming(t *testing.T) {
	rec := &fakeRecorder{gate: make(chan error)}
	h := open(t, withMedia(t, Config{Recorder: rec, Calls: CallsConfig{ArmTimeout: time.Hour}}))
	x := h.join(asDoctor("d"))
	x.prepare(1, sound, picture)
	offer := x.offer()
	answered := make(chan error, 1)
	go func() { _, err := x.Offer(context.Background(), offer); answered <- err }()
	must(t, x.EndCall(context.Background()))
	wantError(t, <-answered, ErrClosed)
	h.stop()
}

// lateRecorder arms although nobody waits any more.
type lateRecorder struct{ fakeRecorder }

func (r *lateRecorder) Arm(ctx context.Context, c media.Call) (Recording, error) {
	<-ctx.Done()
	return r.fakeRecorder.Arm(context.WithoutCancel(ctx), c)
}

func TestRecordingThatComesTooLateIsEnded(t *testing.T) {
	rec := &lateRecorder{fakeRecorder{gate: make(chan error)}}
	close(rec.gate)
	h := open(t, Config{Recorder: rec, Calls: CallsConfig{ArmTimeout: time.Hour}})
	must(t, h.join(asDoctor("d")).EndCall(context.Background()))
	h.stop()
	if rec.ends() != 1 {
		t.Errorf("ended %d times", rec.ends())
	}
}
