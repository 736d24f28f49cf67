package trial

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"consilium/internal/bot"
	"consilium/internal/tunnel"
)

// tunnelled counts what comes through the WebSocket.
type tunnelled struct {
	mu           sync.Mutex
	video, audio Stream
}

// errNoConnection is why the tunnel is wanted.
var errNoConnection = errors.New("no connection")

// run runs a bot until it ends or is given up for the tunnel. A bot that is given
// up ends in its own time, and nobody asks it any more: Pion does not answer
// while it waits for its dials. It returns the secret of the session too.
func (a *agent) run(ctx context.Context, b *bot.Bot) (secret string, err error) {
	ended := make(chan error, 1)
	a.wg.Go(func() { ended <- b.Run(ctx) })
	ticker := time.NewTicker(watchPeriod)
	defer ticker.Stop()
	for {
		select {
		case err := <-ended:
			return b.Snapshot().Welcome.Secret, err
		case <-ticker.C:
			if wantsTunnel(b) {
				a.replace(nil)
				secret := b.Snapshot().Welcome.Secret
				a.wg.Go(b.Vanish)
				return secret, errNoConnection
			}
		}
	}
}

// wantsTunnel reports whether a bot has been without a connection for so long
// that the server allows the WebSocket for its media.
func wantsTunnel(b *bot.Bot) bool {
	s := b.Snapshot()
	wait := time.Duration(s.Welcome.Limits.TunnelAfter * float64(time.Second))
	return wait > 0 && s.Connected.IsZero() && !s.Answered.IsZero() && time.Since(s.Answered) >= wait
}

// throughTunnel continues the session of a bot that has given up, until ctx
// ends.
func (a *agent) throughTunnel(ctx context.Context, secret string) error {
	cfg, err := a.botConfig(secret)
	if err != nil {
		return err
	}
	counts := &tunnelled{}
	a.mu.Lock()
	a.tunnel = counts
	a.mu.Unlock()
	t, err := bot.JoinTunnel(ctx, cfg, func(participant string, f tunnel.Frame, at time.Time) {
		if participant == a.cfg.Other {
			counts.note(f, at)
		}
	})
	if err != nil {
		return fmt.Errorf("open tunnel: %w", err)
	}
	defer t.Close()
	<-ctx.Done()
	return nil
}

func (t *tunnelled) note(f tunnel.Frame, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	stream := &t.video
	if f.Codec == tunnel.Opus {
		stream = &t.audio
	}
	stream.Count++
	if stream.First.IsZero() {
		stream.First = at
	}
}

// addTo takes the counts into a status.
func (t *tunnelled) addTo(s *Status) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, x := range []struct {
		to   *Stream
		from Stream
	}{{&s.Video, t.video}, {&s.Audio, t.audio}} {
		x.to.Count += x.from.Count
		if x.to.First.IsZero() {
			x.to.First = x.from.First
		}
	}
}
