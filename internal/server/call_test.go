package server

import (
	"testing"
	"time"

	"consilium/internal/auth"
	"consilium/internal/media"
)

func TestTwoPeopleSeeAndHearEachOther(t *testing.T) {
	s := start(t, nil)
	doctor := s.join("room", "doctor", auth.RoleDoctor, nil)
	patient := s.join("room", "patient", auth.RolePatient, nil)
	ctx := within(t, 20*time.Second)
	for _, source := range []media.Source{media.Microphone, media.Camera} {
		if err := doctor.WaitFrames(ctx, "patient", source, 20); err != nil {
			t.Errorf("doctor gets no %s: %v", source, err)
		}
		if err := patient.WaitFrames(ctx, "doctor", source, 20); err != nil {
			t.Errorf("patient gets no %s: %v", source, err)
		}
	}
	if err := patient.Leave(ctx); err != nil {
		t.Error(err)
	}
	if err := doctor.Leave(ctx); err != nil {
		t.Error(err)
	}
}
