package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pion/stun/v4"
	"github.com/pion/webrtc/v4"

	"consilium/internal/bot"
	"consilium/internal/event"
	"consilium/internal/media"
	"consilium/signaling"
)

// paths tries each way for media alone. The relay's ways take turns: they share
// the few allocations of one session. s is nil if the socket does not open.
func (p *prober) paths(ctx context.Context, r room, servers []signaling.ICEServer, s *socket) {
	var all sync.WaitGroup
	all.Go(func() { p.way(ctx, r, CheckUDP, nil) })
	all.Go(func() {
		if p.proxy != nil && !p.direct {
			p.skip(CheckTCP, "only browsers take ICE over TCP through a proxy")
			return
		}
		p.way(ctx, r, CheckTCP, nil)
	})
	all.Go(func() { p.stun(ctx, servers) })
	all.Go(func() { p.tunnel(ctx, s) })
	all.Go(func() {
		for _, name := range []string{CheckTURNUDP, CheckTURNTCP, CheckTURNTLS} {
			relay, offered := pick(servers, name)
			if !offered {
				p.skip(name, "the server does not offer it")
				continue
			}
			begun := time.Now()
			if code, err := p.allocate(ctx, relay); err != nil {
				p.fail(name, begun, code, fmt.Sprintf("%s: %s", relay.address(), cause(err)))
				continue
			}
			p.way(ctx, r, name, relay)
		}
	})
	all.Wait()
}

// relay is one URI of the TURN server with its credentials.
type relay struct {
	*stun.URI
	username, password string
}

func (r *relay) address() string { return net.JoinHostPort(r.Host, fmt.Sprint(r.Port)) }

// pick finds the relay of a check.
func pick(servers []signaling.ICEServer, name string) (*relay, bool) {
	for _, s := range servers {
		for _, text := range s.URLs {
			uri, err := stun.ParseURI(text)
			if err != nil {
				continue // browsers ignore it too
			}
			kind := CheckTURNUDP
			switch {
			case uri.Scheme == stun.SchemeTypeTURNS:
				kind = CheckTURNTLS
			case uri.Scheme != stun.SchemeTypeTURN:
				continue
			case uri.Proto == stun.ProtoTypeTCP:
				kind = CheckTURNTCP
			}
			if kind == name {
				return &relay{uri, s.Username, s.Credential}, true
			}
		}
	}
	return nil, false
}

// way sends sound and picture to the server by one way and fetches them back
// by the same one.
func (p *prober) way(ctx context.Context, r room, name string, over *relay) {
	begun := time.Now()
	ctx, cancel := p.step(ctx)
	defer cancel()
	cfg := bot.HTTPConfig{Config: p.endpoint(ctx, r, over), Room: r.Room, Client: p.client}
	if over != nil {
		// By TLS too: the dialer shakes hands, with our roots.
		url := "turn:" + over.address() + "?transport=" + map[bool]string{true: "udp", false: "tcp"}[name == CheckTURNUDP]
		cfg.Servers = []signaling.ICEServer{{URLs: []string{url}, Username: over.username, Credential: over.password}}
	} else {
		cfg.Direct = name
	}
	out, back, err := p.loop(ctx, cfg, r.Identity)
	defer closeSession(ctx, out)
	defer closeSession(ctx, back)
	if errors.Is(err, bot.ErrNoCandidate) {
		p.skip(name, "the server does not offer it")
		return
	}
	if err != nil {
		p.fail(name, begun, codeOf(name, out, back), words(name, err, out, back))
		return
	}
	values := took(begun)
	values["media_ms"], values["ms"] = values["ms"], milliseconds(out.connected)
	for _, track := range back.Snapshot().Received {
		values["packets"] += float64(track.Packets)
	}
	p.set(Check{Name: name, Status: OK, Values: values, Words: fmt.Sprintf("sound and picture there and back after %.0f ms", values["media_ms"])})
}

// endpoint is what both ends of a loop have in common.
func (p *prober) endpoint(ctx context.Context, r room, over *relay) bot.Config {
	return bot.Config{
		URL: p.base.String(), Token: r.Token, TLS: p.tls, EveryPath: true, Relay: over != nil,
		Settings: func(s *webrtc.SettingEngine) {
			s.SetRelayAcceptanceMinWait(0) // there is nothing better to wait for
			if over != nil && over.Proto == stun.ProtoTypeTCP {
				s.SetICEProxyDialer(relayDialer{p, ctx, over})
			}
		},
	}
}

// session is one end of a loop.
type session struct {
	*bot.HTTPSession
	connected time.Duration // zero: not yet
}

// loop publishes and plays. Both sessions are to be closed, also after an
// error; they may be nil then.
func (p *prober) loop(ctx context.Context, cfg bot.HTTPConfig, identity string) (out, back *session, err error) {
	begun := time.Now()
	publisher, err := bot.WHIP(ctx, cfg)
	if err != nil {
		return nil, nil, fmt.Errorf("publish: %w", err)
	}
	out = &session{HTTPSession: publisher}
	if err := publisher.WaitConnected(ctx); err != nil {
		return out, nil, err
	}
	out.connected = time.Since(begun)
	cfg.Target = identity
	player, err := bot.WHEP(ctx, cfg)
	if err != nil {
		return out, nil, fmt.Errorf("play: %w", err)
	}
	back = &session{HTTPSession: player}
	if err := player.WaitConnected(ctx); err != nil {
		return out, back, err
	}
	back.connected = time.Since(begun)
	return out, back, player.Wait(ctx, "sound and picture", complete)
}

// soundPackets are a fifth of a second.
const soundPackets = 10

// complete reports whether a whole picture and some sound have come.
func complete(s *bot.Snapshot) bool {
	sound, picture := false, false
	for _, track := range s.Received {
		sound = sound || track.Kind == media.Audio && track.Packets >= soundPackets
		picture = picture || track.Kind == media.Video && track.Frames >= 1
	}
	return sound && picture
}

// closeSession ends a session in the way that lets go of its relay at once,
// where there is a connection to say so over.
func closeSession(ctx context.Context, s *session) {
	switch {
	case s == nil:
	case s.connected > 0:
		s.Close()
	default:
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = s.Delete(ctx) // the server ends it by itself, later
	}
}

// codeOf names the stage at which a way failed.
func codeOf(name string, out, back *session) event.Code {
	switch {
	case back != nil && back.connected > 0:
		return event.NoMediaIn
	case handshakes(out) || handshakes(back):
		return event.DTLSFailed
	case name == CheckUDP:
		return event.UDPBlocked
	default:
		return event.NoRoute
	}
}

// handshakes reports whether ICE has found a way and DTLS has not ended.
func handshakes(s *session) bool { return s != nil && s.connected == 0 && s.ICEConnected() }

func words(name string, err error, out, back *session) string {
	var status *bot.StatusError
	switch code := codeOf(name, out, back); {
	case errors.As(err, &status):
		return "the server refuses the test: " + status.Error()
	case code == event.NoMediaIn:
		return "connected, and no whole picture came back: large packets may be lost on the way (MTU)"
	case code == event.DTLSFailed:
		return "packets pass and the encryption does not begin: something on the way changes or drops large ones"
	case name == CheckUDP:
		return "nothing comes back by UDP: a firewall or the provider drops it"
	case name == CheckTCP:
		return "nothing comes back by TCP: something on the way lets only HTTP or TLS pass"
	default:
		return "the relay answers and media does not pass"
	}
}

// stun asks the server's STUN port what our address looks like from there.
func (p *prober) stun(ctx context.Context, servers []signaling.ICEServer) {
	over, offered := pick(servers, CheckTURNUDP)
	if !offered {
		p.skip(CheckSTUN, "the server does not offer it")
		return
	}
	begun := time.Now()
	ctx, cancel := p.step(ctx)
	defer cancel()
	seen, err := binding(ctx, over.address())
	if err != nil {
		p.fail(CheckSTUN, begun, event.UDPBlocked, fmt.Sprintf("no answer by UDP from %s", over.address()))
		return
	}
	p.ok(CheckSTUN, begun, "from there this machine is "+seen)
}

// binding is one STUN transaction over UDP (RFC 8489, section 6.2.1).
func binding(ctx context.Context, address string) (string, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "udp", address)
	if err != nil {
		return "", fmt.Errorf("open a socket: %w", err)
	}
	defer conn.Close()
	request, err := stun.Build(stun.TransactionID, stun.BindingRequest, stun.Fingerprint)
	if err != nil {
		return "", fmt.Errorf("make a STUN request: %w", err)
	}
	buffer := make([]byte, 1500)
	for wait := 250 * time.Millisecond; ; wait *= 2 {
		if _, err := conn.Write(request.Raw); err != nil {
			return "", fmt.Errorf("send a STUN request: %w", err)
		}
		if err := conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
			return "", fmt.Errorf("set deadline: %w", err)
		}
		if n, err := conn.Read(buffer); err == nil {
			if seen, ok := mapped(buffer[:n], request.TransactionID); ok {
				return seen, nil
			}
		}
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
	}
}

// mapped reads the address out of the answer to a transaction.
func mapped(data []byte, transaction [stun.TransactionIDSize]byte) (string, bool) {
	answer := &stun.Message{Raw: slices.Clone(data)}
	var seen stun.XORMappedAddress
	if answer.Decode() != nil || answer.TransactionID != transaction || answer.Type != stun.BindingSuccess || seen.GetFrom(answer) != nil {
		return "", false
	}
	return strings.ToLower(seen.String()), true
}
