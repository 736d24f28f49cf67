package probe

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"consilium/internal/event"
	"consilium/internal/media"
	"consilium/internal/tunnel"
)

// What is sent through the tunnel: half a second of sound.
const (
	tunnelFrames   = 25
	tunnelInterval = 20 * time.Millisecond
	tunnelBytes    = 80
)

// tunnel sends sound over the media socket, the last rung of the ladder, until
// the server has got it. Nothing is fetched back: who is tunnelled hears others
// only, and nobody else is in the room.
func (p *prober) tunnel(ctx context.Context, s *socket) {
	if s == nil || !s.tunnelled {
		p.skip(CheckTunnel, "the server does not offer it, or there is no session")
		return
	}
	begun := time.Now()
	ctx, cancel := p.step(ctx)
	defer cancel()
	client, lines, err := tunnel.Dial(ctx, tunnel.DialConfig{
		URL: p.base.String(), TLS: p.tls, Proxy: http.ProxyURL(p.proxy),
		Open: tunnel.Open{
			Session: s.session, Secret: s.secret,
			Wanted: tunnel.Wanted{Sources: []tunnel.Source{{Source: string(media.Microphone), Active: true}}},
		},
	})
	if err != nil || len(lines.Sources) != 1 {
		if client != nil && err == nil {
			client.Close()
		}
		p.fail(CheckTunnel, begun, event.NoRoute, fmt.Sprintf("the media socket does not open: %v", err))
		return
	}
	defer client.Close()
	opened := took(begun)
	if err := sendSound(ctx, client, lines.Sources[0].MID); err != nil {
		p.fail(CheckTunnel, begun, event.NoMediaOut, "the media socket opens and sound does not arrive: "+cause(err))
		return
	}
	opened["media_ms"] = took(begun)["ms"]
	p.set(Check{Name: CheckTunnel, Status: OK, Values: opened, Words: fmt.Sprintf("sound got to the server over HTTP within %.0f ms", opened["media_ms"])})
}

// sendSound sends frames in real time and waits until the server has them all.
func sendSound(ctx context.Context, client *tunnel.Client, mid string) error {
	line, err := strconv.ParseUint(mid, 10, 16)
	if err != nil {
		return fmt.Errorf("read the m-line %q: %w", mid, err)
	}
	tick := time.NewTicker(tunnelInterval)
	defer tick.Stop()
	payload := make([]byte, tunnelBytes)
	_, _ = rand.Read(payload) // never fails
	payload[0] = 0x78         // RFC 6716, section 3.1: one frame of 20 ms, mono
	for sent := 0; sent < tunnelFrames || client.Flight() > 0; {
		if sent < tunnelFrames {
			at := time.Duration(sent) * tunnelInterval
			if err := client.Send(tunnel.Frame{Codec: tunnel.Opus, Key: true, Line: uint16(line), Time: at, Payload: payload}); err != nil {
				return err
			}
			sent++
		}
		select {
		case <-tick.C:
		case <-client.Done():
			return client.Err()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
