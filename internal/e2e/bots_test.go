package e2e

import (
	"testing"

	"consilium/internal/auth"
	"consilium/internal/event"
	"consilium/internal/leak"
	"consilium/internal/media"
)

func TestTwoBotsGetEachOthersMedia(t *testing.T) {
	leak.Check(t)
	l := start(t, nil)
	doctor := l.bot("room", "doctor", auth.RoleDoctor, nil)
	patient := l.bot("room", "patient", auth.RolePatient, nil)
	ctx := l.context(patience)
	for _, source := range []media.Source{media.Camera, media.Microphone} {
		l.must(doctor.WaitFrames(ctx, "patient", source, 20))
		l.must(patient.WaitFrames(ctx, "doctor", source, 20))
	}
	s := doctor.Snapshot()
	if camera := s.From("patient", media.Camera); !camera.CleanStart || camera.Duplicates > 0 {
		t.Errorf("the patient's camera: clean start %v, %d duplicates", camera.CleanStart, camera.Duplicates)
	}
	l.waitEvent(event.MediaFlowing, "patient", patience)
	l.must(doctor.Leave(ctx))
	l.must(patient.Leave(ctx))
	l.waitEvent(event.CallEnded, "", patience)
}
