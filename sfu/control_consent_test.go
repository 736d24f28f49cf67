package sfu

import (
	"testing"

	"consilium/internal/event"
)

func TestConsentIsAnEventOfTheCallAndInItsRecording(t *testing.T) {
	recorder := &fakeRecorder{gate: make(chan error)}
	close(recorder.gate)
	h := open(t, Config{Recorder: recorder})
	req := asPatient("p")
	req.Consent = &Consent{Text: "v2", Lang: "ru"}
	patient := h.join(req)
	given := h.events.wait(t, "consent.given", ofType(event.ConsentGiven))
	if given.Call != patient.CallID() || given.Participant != "p" || given.Session != patient.ID() ||
		given.Data["text"] != "v2" || given.Data["lang"] != "ru" {
		t.Errorf("event: %+v", given)
	}
	patient.told.wait(t, "a recording", func(n Notice) bool { r, ok := n.(NoticeRecording); return ok && r.On })
	recorder.mu.Lock()
	notes := recorder.armed[0].notes
	recorder.mu.Unlock()
	notes.wait(t, "consent.given in the recording", ofType(event.ConsentGiven))
	h.join(asPatient("q"))
	if n := h.events.count(ofType(event.ConsentGiven)); n != 1 {
		t.Errorf("%d times consent.given, want 1: who was not asked has not agreed", n)
	}
}
