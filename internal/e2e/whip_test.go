package e2e

import (
	"net/http"
	"testing"

	"consilium/internal/auth"
	"consilium/internal/bot"
	"consilium/internal/browser"
	"consilium/internal/event"
	"consilium/internal/leak"
	"consilium/internal/media"
)

func (l *lab) httpConfig(room, identity, target string, role auth.Role) bot.HTTPConfig {
	return bot.HTTPConfig{Config: bot.Config{URL: l.url, Token: l.token(room, identity, role)}, Room: room, Target: target}
}

func (l *lab) whip(room, identity string) *bot.HTTPSession {
	l.t.Helper()
	s, err := bot.WHIP(l.context(patience), l.httpConfig(room, identity, "", auth.RoleDevice))
	l.must(err)
	return s
}

func (l *lab) whep(room, identity, target string) *bot.HTTPSession {
	l.t.Helper()
	s, err := bot.WHEP(l.context(patience), l.httpConfig(room, identity, target, auth.RoleObserver))
	l.must(err)
	return s
}

// plays reports whether both sound and picture have come.
func plays(s *bot.Snapshot) bool {
	kinds := map[media.Kind]bool{}
	for _, track := range s.Received {
		if track.Frames >= 10 {
			kinds[track.Kind] = true
		}
	}
	return len(kinds) == 2
}

func TestAPlayerThatComesFirstFillsWhenThePublisherComes(t *testing.T) {
	leak.Check(t)
	l := start(t, nil)
	doctor := l.bot("room", "doctor", auth.RoleDoctor, nil)
	ctx := l.context(2 * patience)
	l.must(doctor.WaitConnected(ctx))
	player := l.whep("room", "screen", "device")
	l.must(player.WaitConnected(ctx))
	publisher := l.whip("room", "device")
	if publisher.Status != http.StatusCreated || publisher.ETag == "" {
		t.Errorf("WHIP: status %d, ETag %q", publisher.Status, publisher.ETag)
	}
	l.must(player.Wait(ctx, "sound and picture", plays))
	l.must(doctor.WaitFrames(ctx, "device", media.Camera, 10))

	if status, err := publisher.Patch(ctx, publisher.Fragment(), publisher.ETag); err != nil || status != http.StatusNoContent {
		t.Errorf("trickle: %d, %v; want 204", status, err)
	}
	l.must(player.Delete(ctx))
	l.must(publisher.Delete(ctx))
	l.waitEvent(event.ParticipantLeft, "device", patience)
	l.must(doctor.Leave(ctx))
}

func TestWHIPAndWHEPShareARoomWithBrowsers(t *testing.T) {
	t.Parallel()
	for _, kind := range []browser.Kind{browser.Chromium, browser.Firefox} {
		t.Run(string(kind), func(t *testing.T) {
			l := start(t, nil)
			doctor := l.enter(browser.Start(t, browser.Options{Kind: kind}), "room", "doctor", auth.RoleDoctor)
			publisher := l.whip("room", "device")
			player := l.whep("room", "screen", "doctor")
			doctor.sees("device")
			ctx := l.context(patience)
			l.must(player.Wait(ctx, "the browser's sound and picture", plays))
			l.must(player.Delete(ctx))
			l.must(publisher.Delete(ctx))
			doctor.WaitGone("tile")
		})
	}
}

func TestACloseNotifyEndsAWHIPSession(t *testing.T) {
	t.Parallel()
	l := start(t, nil)
	publisher := l.whip("room", "device")
	l.must(publisher.WaitConnected(l.context(patience)))
	publisher.Close()
	l.waitEvent(event.ParticipantLeft, "device", patience)
}

func TestTenPublishersAndTenPlayersShareAnIdentity(t *testing.T) {
	leak.Check(t)
	l := start(t, nil)
	ctx := l.context(2 * patience)
	var sessions []*bot.HTTPSession
	for range 10 {
		sessions = append(sessions, l.whip("room", "device"))
	}
	var players []*bot.HTTPSession
	for range 10 {
		players = append(players, l.whep("room", "device", "device"))
	}
	for _, p := range players {
		l.must(p.Wait(ctx, "sound and picture", plays))
	}
	for _, s := range append(sessions, players...) {
		l.must(s.Delete(ctx))
	}
}
