package sfu

import (
	"context"
	"slices"
	"testing"
	"time"

	"consilium/internal/event"
	"consilium/internal/media"
)

func failed(code event.Code) func(event.Event) bool {
	return func(e event.Event) bool { return e.Type == event.ParticipantFailed && e.Code == code }
}

func TestASessionThatIsReplacedIsToldAndNotItsPerson(t *testing.T) {
	for name, test := range map[string]struct {
		rejoin bool
		want   int
	}{
		"from elsewhere":  {false, 1},
		"by its own page": {true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			h := open(t, Config{})
			first := h.join(asDoctor("doctor"))
			again := asDoctor("doctor")
			if test.rejoin {
				again.Rejoin = first.ID()
			}
			second := h.join(again)
			if n := h.events.count(failed(event.SessionReplaced)); n != test.want {
				t.Fatalf("told %d times, want %d", n, test.want)
			}
			if test.want == 0 {
				return
			}
			e := h.events.wait(t, "the event", failed(event.SessionReplaced))
			if e.Session != first.ID() || e.Data["superseded_by"] != second.ID() || e.Data["present"] != true {
				t.Errorf("told of session %s: %v", e.Session, e.Data)
			}
			if h.events.count(ofType(event.ParticipantLeft)) != 0 {
				t.Error("he is said to have left")
			}
		})
	}
}

func TestAServerThatStopsTellsOfEverybodyInACall(t *testing.T) {
	h := open(t, Config{})
	h.join(asDoctor("doctor"))
	h.join(asPatient("patient"))
	camera := asPatient("camera")
	camera.Mode = Publisher
	h.join(camera)
	player := asDoctor("wall")
	player.Mode, player.Target = Player, "doctor"
	h.join(player)
	h.stop()
	var told []string
	for _, e := range h.events.list() {
		switch {
		case failed(event.ServerRestart)(e):
			told = append(told, e.Participant)
		case e.Type == event.ParticipantLeft && !slices.Contains(told, e.Participant):
			t.Errorf("%s has left before it is said why", e.Participant)
		}
	}
	slices.Sort(told)
	if !slices.Equal(told, []string{"camera", "doctor", "patient"}) {
		t.Errorf("told of %v", told)
	}
}

func TestALostSessionHasOneCause(t *testing.T) {
	lost := event.Failure{Code: event.SignalLost, Stage: event.StageSocket}
	h := open(t, Config{})
	x := h.join(asDoctor("doctor"))
	x.Fail(lost)
	x.Fail(lost)
	x.Leave(media.EndLost)
	h.events.wait(t, "the end", ofType(event.ParticipantLeft))
	x.Fail(lost)
	if n := h.events.count(failed(event.SignalLost)); n != 1 {
		t.Errorf("told %d times, want once", n)
	}
}

func TestWhoIsAloneForTooLongIsTold(t *testing.T) {
	const after = 300 * time.Millisecond
	hold := CallSpec{Room: "room", Hold: true, Awaited: []string{"patient", "doctor"}}
	alone := CallSpec{Room: "room", Awaited: []string{"patient"}}
	for name, test := range map[string]struct {
		spec  *CallSpec
		joins []JoinRequest
		told  []string
	}{
		"alone":                     {nil, []JoinRequest{asPatient("patient")}, []string{"patient"}},
		"with a device":             {nil, []JoinRequest{asDoctor("doctor"), asDevice("camera")}, []string{"doctor"}},
		"held, the doctor awaited":  {&hold, []JoinRequest{asPatient("patient")}, []string{"patient"}},
		"two held":                  {&hold, []JoinRequest{asPatient("patient"), asPatient("other")}, []string{"other", "patient"}},
		"held, and the doctor came": {&hold, []JoinRequest{asPatient("patient"), asDoctor("doctor")}, nil},
		"two":                       {nil, []JoinRequest{asPatient("patient"), asDoctor("doctor")}, nil},
		"the only one invited":      {&alone, []JoinRequest{asPatient("patient")}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			h := open(t, Config{Calls: CallsConfig{AbsentAfter: after}})
			if test.spec != nil {
				_, err := h.OpenCall(context.Background(), *test.spec)
				must(t, err)
			}
			for _, j := range test.joins {
				h.join(j)
			}
			for range test.told {
				h.events.wait(t, "the absence", failed(event.PeerAbsent))
			}
			<-time.After(2 * after)
			var told []string
			for _, e := range h.events.list() {
				if failed(event.PeerAbsent)(e) {
					told = append(told, e.Participant)
				}
			}
			slices.Sort(told)
			if !slices.Equal(told, test.told) {
				t.Errorf("told %v, want %v", told, test.told)
			}
		})
	}
}

func asDevice(identity string) JoinRequest {
	j := asPatient(identity)
	j.Role, j.Mode = deviceRole, Publisher
	return j
}

func TestBeingLeftIsNotThatNobodyCame(t *testing.T) {
	const after = 200 * time.Millisecond
	h := open(t, Config{Calls: CallsConfig{AbsentAfter: after, LingerClean: time.Minute}})
	h.join(asDoctor("doctor"))
	patient := h.join(asPatient("patient"))
	patient.Leave(media.EndLeft)
	h.events.wait(t, "the patient's end", ofType(event.ParticipantLeft))
	<-time.After(2 * after)
	if h.events.count(failed(event.PeerAbsent)) != 0 {
		t.Error("the doctor was told that nobody came")
	}
}

func TestWhoReloadsHearsAgainThatHeIsAlone(t *testing.T) {
	h := open(t, Config{Calls: CallsConfig{AbsentAfter: 100 * time.Millisecond}})
	first := h.join(asDoctor("doctor"))
	absent := func(n Notice) bool { e, ok := n.(NoticeEvent); return ok && e.Event.Code == event.PeerAbsent }
	first.told.wait(t, "the absence", absent)
	again := asDoctor("doctor")
	again.Rejoin = first.ID()
	h.join(again).told.wait(t, "the absence", absent)
	if n := h.events.count(failed(event.PeerAbsent)); n != 1 {
		t.Errorf("%d events, want 1", n)
	}
}

func TestWhoWasLetInBeforeARestartDoesNotWait(t *testing.T) {
	h := open(t, Config{Calls: CallsConfig{HoldPatients: true}})
	known := asPatient("known")
	known.Admitted = true
	if state := h.join(known).State(); state != Joined {
		t.Errorf("he is %s", state)
	}
	if state := h.join(asPatient("new")).State(); state != Waiting {
		t.Errorf("another is %s", state)
	}
}
