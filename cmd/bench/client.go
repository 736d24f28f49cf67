package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/pion/rtp"

	"consilium/internal/auth"
	"consilium/internal/bot"
	"consilium/internal/config"
	"consilium/internal/media"
)

// joinTime bounds how long all clients may take to get media.
const joinTime = 15 * time.Second

// party is everybody who takes part in a scene.
type party struct {
	sessions int // PeerConnections at the server
	tracks   int // published
	fanOut   int // how many get each packet
	leave    []func()
}

func (p *party) onLeave(f func()) { p.leave = append(p.leave, f) }

// close lets everybody leave, in the reverse order, and waits for it.
func (p *party) close() {
	for _, f := range slices.Backward(p.leave) {
		f()
	}
	p.leave = nil
}

// tokens mints join tokens with the key of serve --dev.
type tokens struct{ authority *auth.Authority }

func newTokens() (tokens, error) {
	a, err := auth.New(auth.Config{Keys: config.Dev().Keys})
	return tokens{a}, err
}

func (t tokens) mint(room, identity string, role auth.Role) (string, error) {
	return t.authority.Mint(auth.Claims{Issuer: config.DevKeyID, Room: room, Subject: identity, Role: role, Name: identity}, time.Hour)
}

// client is what all clients of a scene have in common.
func client(base, token string, m *meter) bot.Config {
	return bot.Config{
		URL: base, Token: token, Clips: clips(),
		OnSend:   func(_ media.Source, p *rtp.Packet) { m.stamp(p.Payload) },
		OnPacket: func(_ string, p *rtp.Packet, at time.Time) { m.received(p.Payload, at) },
	}
}

// joinBroadcast puts one WHIP publisher and many WHEP players in a room. Both
// the program and the forwarder of Pion's defaults understand them, so that
// the very same clients measure both.
func joinBroadcast(ctx context.Context, base string, m *meter) (*party, error) {
	return broadcast(ctx, base, m, viewers)
}

func broadcast(ctx context.Context, base string, m *meter, viewers int) (_ *party, err error) {
	ctx, cancel := context.WithTimeout(ctx, joinTime)
	defer cancel()
	p := &party{sessions: 1 + viewers, tracks: 2, fanOut: viewers}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	const room, publisher = "bench", "publisher"
	mint, err := newTokens()
	if err != nil {
		return nil, err
	}
	if err := publish(ctx, p, base, room, publisher, mint, m); err != nil {
		return nil, err
	}
	for i := range viewers {
		token, err := mint.mint(room, "viewer-"+strconv.Itoa(i), auth.RoleObserver)
		if err != nil {
			return nil, err
		}
		s, err := bot.WHEP(ctx, bot.HTTPConfig{Config: client(base, token, m), Room: room, Target: publisher})
		if err != nil {
			return nil, err
		}
		p.onLeave(func() { leaveHTTP(s) })
		err = s.Wait(ctx, "sound and picture", func(s *bot.Snapshot) bool { return len(s.Received) >= 2 })
		if err != nil {
			return nil, err
		}
	}
	return p, nil
}

// publish adds a WHIP publisher of camera and microphone to a party.
func publish(ctx context.Context, p *party, base, room, identity string, mint tokens, m *meter) error {
	token, err := mint.mint(room, identity, auth.RoleDevice)
	if err != nil {
		return err
	}
	s, err := bot.WHIP(ctx, bot.HTTPConfig{Config: client(base, token, m), Room: room})
	if err != nil {
		return err
	}
	p.onLeave(func() { leaveHTTP(s) })
	return s.WaitConnected(ctx)
}

// leaveHTTP ends a session; that the server has ended it first is no fault.
func leaveHTTP(s *bot.HTTPSession) {
	ctx, cancel := context.WithTimeout(context.Background(), joinTime)
	defer cancel()
	_ = s.Delete(ctx)
}

// joinCalls fills rooms with two participants each, a doctor and a patient,
// who speak the WebSocket protocol, send and receive, as a browser does.
func joinCalls(ctx context.Context, base string, m *meter) (_ *party, err error) {
	ctx, cancel := context.WithTimeout(ctx, joinTime)
	defer cancel()
	p := &party{sessions: 2 * calls, tracks: 4 * calls, fanOut: 1}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	mint, err := newTokens()
	if err != nil {
		return nil, err
	}
	bots := make([]*bot.Bot, 0, 2*calls)
	for i := range calls {
		for _, role := range []auth.Role{auth.RoleDoctor, auth.RolePatient} {
			token, err := mint.mint("room-"+strconv.Itoa(i), string(role), role)
			if err != nil {
				return nil, err
			}
			b, err := bot.New(client(base, token, m))
			if err != nil {
				return nil, err
			}
			p.onLeave(runBot(b))
			bots = append(bots, b)
		}
	}
	for i, b := range bots {
		other := []auth.Role{auth.RolePatient, auth.RoleDoctor}[i%2]
		for _, source := range []media.Source{media.Camera, media.Microphone} {
			if err := b.WaitFrames(ctx, string(other), source, 1); err != nil {
				return nil, errors.Join(err, b.Err())
			}
		}
	}
	return p, nil
}

// runBot runs a bot until the function it returns is called.
func runBot(b *bot.Bot) (leave func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = b.Run(ctx) }) // the error is in b.Err
	return func() {
		goodbye, done := context.WithTimeout(ctx, time.Second)
		_ = b.Leave(goodbye)
		done()
		cancel()
		running.Wait()
	}
}

// joinDirect sends the same pattern to a receiver in this process, without
// anything in between: what the clients and the loopback themselves take.
func joinDirect(ctx context.Context, m *meter) (_ *party, err error) {
	ctx, cancel := context.WithTimeout(ctx, joinTime)
	defer cancel()
	p := &party{}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	f, err := newForwarder(func(packet *rtp.Packet) { m.received(packet.Payload, time.Now()) })
	if err != nil {
		return nil, err
	}
	base, stop, err := f.listen()
	if err != nil {
		return nil, fmt.Errorf("start the direct receiver: %w", err)
	}
	p.onLeave(stop)
	mint, err := newTokens()
	if err != nil {
		return nil, err
	}
	return p, publish(ctx, p, base, "direct", "publisher", mint, m)
}
