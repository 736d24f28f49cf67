package server

import (
	"testing"
	"time"

	"consilium/internal/auth"
	"consilium/internal/bot"
	"consilium/internal/media"
)

// tunnel joins a bot through the WebSocket until the test ends.
func (i *instance) joinTunnel(room, identity string, role auth.Role) *bot.Tunnelled {
	i.t.Helper()
	b, err := bot.JoinTunnel(within(i.t, 10*time.Second), bot.Config{URL: i.URL, Token: i.token(room, identity, role)}, nil)
	if err != nil {
		i.t.Fatal(err)
	}
	i.t.Cleanup(b.Close)
	return b
}

func TestTunnelledParticipantSeesAndIsSeen(t *testing.T) {
	s := start(t, nil)
	doctor := s.join("room", "doctor", auth.RoleDoctor, nil)
	patient := s.joinTunnel("room", "patient", auth.RolePatient)
	ctx := within(t, 20*time.Second)
	for _, source := range []media.Source{media.Microphone, media.Camera} {
		if err := doctor.WaitFrames(ctx, "patient", source, 20); err != nil {
			t.Errorf("doctor gets no %s: %v", source, err)
		}
		if err := patient.WaitFrames(ctx, "doctor", source, 20); err != nil {
			t.Errorf("patient gets no %s: %v", source, err)
		}
	}
	if got := s.tunnel.Stats().Open; got != 1 {
		t.Errorf("%d tunnels are open, want 1", got)
	}
	t.Logf("%+v", s.tunnel.Stats())
}
