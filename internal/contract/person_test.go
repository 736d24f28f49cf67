package contract

import (
	"errors"
	"testing"
	"time"

	"consilium/internal/bot"
	"consilium/internal/media"
	"consilium/internal/testserver"
)

// join runs a bot until the test ends.
func (c *child) join(token string, change func(*bot.Config)) *bot.Bot {
	c.t.Helper()
	cfg := bot.Config{URL: c.URL, Token: token}
	if change != nil {
		change(&cfg)
	}
	return testserver.Join(c.t, cfg)
}

// waitMedia waits until a bot has more frames of somebody's microphone and
// camera than now.
func waitMedia(t *testing.T, b *bot.Bot, from string) {
	t.Helper()
	ctx := within(t, 30*time.Second)
	for _, source := range []media.Source{media.Microphone, media.Camera} {
		s := b.Snapshot()
		frames := s.From(from, source).Frames + 10
		if err := b.WaitFrames(ctx, from, source, frames); err != nil {
			t.Fatalf("no %s from %s: %v", source, from, err)
		}
	}
}

// pair is two people who see and hear each other.
type pair struct {
	t               *testing.T
	doctor, patient *bot.Bot
}

func (c *child) pair(room string) pair {
	c.t.Helper()
	p := pair{
		t:       c.t,
		doctor:  c.join(joinToken(c.t, room, "doctor", "doctor"), nil),
		patient: c.join(joinToken(c.t, room, "patient", "patient"), nil),
	}
	p.wantMedia()
	return p
}

// wantMedia checks that media flows both ways, now.
func (p pair) wantMedia() {
	p.t.Helper()
	waitMedia(p.t, p.doctor, "patient")
	waitMedia(p.t, p.patient, "doctor")
}

// leave ends a call of two in a clean way.
func (p pair) leave() {
	p.t.Helper()
	ctx := within(p.t, 20*time.Second)
	if err := errors.Join(p.patient.Leave(ctx), p.doctor.Leave(ctx)); err != nil {
		p.t.Error(err)
	}
}
