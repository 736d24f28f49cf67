package sfu

import (
	"context"
	"fmt"
	"testing"

	"consilium/internal/event"
	"consilium/internal/media"
)

func TestPatientIsHeldUntilAdmittedAndNeverAgain(t *testing.T) {
	h := open(t, Config{Calls: CallsConfig{HoldPatients: true}})
	doctor, patient := h.join(asDoctor("d")), h.join(asPatient("p"))
	other := h.join(JoinRequest{Person: Person{Room: "room", Identity: "o", Role: "observer", Grants: Grants{Subscribe: true}}})
	ctx := context.Background()

	if patient.State() != Waiting {
		t.Fatalf("state %q", patient.State())
	}
	_, err := patient.Offer(ctx, Offer{SDP: "v=0"})
	wantError(t, err, ErrWaiting)
	aboutPatient := func(n Notice) bool {
		p, ok := n.(NoticeParticipant)
		return ok && p.Participant.Identity == "p"
	}
	doctor.told.wait(t, "notice of who waits", aboutPatient)
	if other.told.count(aboutPatient) != 0 {
		t.Error("who may not admit was told of who waits")
	}
	wantError(t, other.Admit(ctx, "p"), ErrNoGrant)
	wantError(t, doctor.Admit(ctx, "nobody"), ErrNotFound)
	must(t, doctor.Admit(ctx, "p"))
	wantError(t, doctor.Admit(ctx, "p"), ErrConflict)
	patient.told.wait(t, "state", func(n Notice) bool { _, ok := n.(NoticeState); return ok })
	other.told.wait(t, "notice of who was admitted", aboutPatient)

	patient.Leave(media.EndLost)
	<-patient.Done()
	if again := h.join(asPatient("p")); again.State() != Joined {
		t.Errorf("admitted once, %q on coming back", again.State())
	}
	if n := h.events.count(ofType(event.ParticipantAdmitted)); n != 1 {
		t.Errorf("admitted %d times", n)
	}
}

func TestWaitingPersonLeavesUnseenByOthers(t *testing.T) {
	h := open(t, Config{Calls: CallsConfig{HoldPatients: true}})
	doctor, patient := h.join(asDoctor("d")), h.join(asPatient("p"))
	other := h.join(JoinRequest{Person: Person{Room: "room", Identity: "o", Role: "observer", Grants: Grants{Subscribe: true}}})
	must(t, doctor.Remove(context.Background(), "p"))
	end := patient.told.wait(t, "end", ended).(NoticeEnded)
	if end.Reason != media.EndRemoved || end.By != "d" {
		t.Errorf("end %+v", end)
	}
	left := func(n Notice) bool { _, ok := n.(NoticeParticipantLeft); return ok }
	doctor.told.wait(t, "notice of who left", left)
	other.Call() // the loop is past the notices
	if other.told.count(left) != 0 {
		t.Error("an observer was told that a waiting person left")
	}
	wantError(t, func() error {
		_, err := h.Join(context.Background(), JoinRequest{Mode: Player, Target: "d",
			Person: Person{Room: "room", Identity: "p", Role: "patient", Grants: patientGrants}})
		return err
	}(), ErrWaiting)
}

func TestSecondJoinReplacesTheFirst(t *testing.T) {
	for name, rejoin := range map[string]bool{"reload": true, "second window": false} {
		t.Run(name, func(t *testing.T) {
			h := open(t, Config{})
			witness, first := h.join(asDoctor("d")), h.join(asPatient("p"))
			again, want := asPatient("p"), event.SessionReplaced
			if rejoin {
				again.Rejoin, want = first.ID(), ""
			}
			second := h.join(again)
			end := first.told.wait(t, "end", ended).(NoticeEnded)
			if end.Reason != media.EndReplaced || end.Code != want {
				t.Errorf("end %+v", end)
			}
			_, err := first.Offer(context.Background(), Offer{SDP: "v=0"})
			wantError(t, err, ErrClosed)
			all := witness.told.list()
			last := all[len(all)-1].(NoticeParticipant).Participant
			if len(last.Sessions) != 1 || last.Sessions[0] != second.ID() {
				t.Errorf("others see sessions %v", last.Sessions)
			}
			if n := h.events.count(ofType(event.ParticipantLeft)); n != 0 {
				t.Errorf("%d people seen leaving", n)
			}
			if n := h.events.count(ofType(event.ParticipantJoined)); n != 2 {
				t.Errorf("%d people seen joining", n)
			}
		})
	}
}

func TestTenDevicesShareAnIdentity(t *testing.T) {
	h := open(t, Config{})
	doctor := h.join(asDoctor("d"))
	device := JoinRequest{Mode: Publisher, Person: Person{Room: "room", Identity: "d", Role: "device",
		Name: "ultrasound", Grants: Grants{PublishVideo: true}}}
	for range 10 {
		h.join(device)
	}
	info := doctor.Call()
	if len(info.Participants) != 1 || len(info.Participants[0].Sessions) != 11 {
		t.Fatalf("participants %+v", info.Participants)
	}
	if p := info.Participants[0]; p.Role != "doctor" || p.Name != "" {
		t.Errorf("a device renamed its owner: %+v", p)
	}
	if n := h.events.count(ofType(event.ParticipantJoined)); n != 1 {
		t.Errorf("%d joined", n)
	}
	must(t, h.Remove(context.Background(), info.ID, "d", "api"))
	<-doctor.Done()
	if n := h.events.count(ofType(event.ParticipantLeft)); n != 1 {
		t.Errorf("%d left", n)
	}
}

func TestReconnectingEndsWithTheLostSession(t *testing.T) {
	h := open(t, Config{})
	witness, doctor := h.join(asDoctor("w")), h.join(asDoctor("d"))
	device := asDoctor("d")
	device.Mode = Publisher
	h.join(device)
	state := func(want ParticipantState) func(Notice) bool {
		return func(n Notice) bool {
			p, ok := n.(NoticeParticipant)
			return ok && p.Participant.Identity == "d" && p.Participant.State == want
		}
	}
	doctor.SocketLost()
	witness.told.wait(t, "reconnecting", state(Reconnecting))
	doctor.Leave(media.EndLost)
	<-doctor.Done()
	for _, p := range witness.Call().Participants {
		if p.State != Joined {
			t.Errorf("%s is %s", p.Identity, p.State)
		}
	}
}

func TestGrantsAndLimitsAreKept(t *testing.T) {
	h := open(t, Config{Calls: CallsConfig{MaxParticipants: 1, MaxCalls: 1}})
	patient := h.join(asPatient("p"))
	ctx := context.Background()
	_, err := h.Join(ctx, asPatient("q"))
	wantError(t, err, ErrBusy)
	other := asPatient("q")
	other.Room = "other"
	_, err = h.Join(ctx, other)
	wantError(t, err, ErrBusy)
	for name, err := range map[string]error{
		"mute": patient.Mute(ctx, "p", media.Microphone), "remove": patient.Remove(ctx, "p"), "end": patient.EndCall(ctx),
	} {
		t.Run(name, func(t *testing.T) { wantError(t, err, ErrNoGrant) })
	}
	_, err = h.OpenCall(ctx, CallSpec{Room: "room"})
	wantError(t, err, ErrConflict)
	h.Drain()
	<-patient.Done()
	_, err = h.Join(ctx, asPatient("p"))
	wantError(t, err, ErrDraining)
	end := patient.told.wait(t, "end", ended).(NoticeEnded)
	if end.Reason != media.EndShutdown || end.Code != event.ServerRestart {
		t.Errorf("end %+v", end)
	}
}

func TestNothingIsEmittedAfterTheEnd(t *testing.T) {
	h := open(t, Config{})
	doctor := h.join(asDoctor("d"))
	for i := range 5 {
		h.join(asPatient(fmt.Sprint("p", i)))
	}
	must(t, doctor.EndCall(context.Background()))
	h.stop()
	all := h.events.list()
	if last := all[len(all)-1]; last.Type != event.CallEnded {
		t.Errorf("the last event is %s %v", last.Type, last.Data)
	}
	if n := h.events.count(ofType(event.ParticipantLeft)); n != 6 {
		t.Errorf("%d left", n)
	}
	if n := h.events.count(ofType(event.CallEnded)); n != 1 {
		t.Errorf("%d ends", n)
	}
}
