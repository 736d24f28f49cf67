// Package bot is a synthetic participant: it speaks the WebSocket protocol
// through Pion as the web client speaks it through a browser, replays real
// media and counts what it gets. Tests, benchmarks and the load generator use
// it. WHIP and WHEP clients are beside it.
//
// A Bot has one loop (run.go) that owns signalling and negotiation; the
// players and the readers of tracks have goroutines of their own; Run waits
// for all of them. What has happened so far is in a Snapshot.
package bot

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"consilium/internal/media"
	"consilium/internal/testmedia"
	"consilium/signaling"
)

// Config of a Bot. URL and Token are required.
type Config struct {
	URL    string // of the server: http://host:port
	Token  string
	Rejoin string // secret of a session that this one continues
	// Consent is the answer to the sentence about recording; nil: given.
	Consent *signaling.Consent

	// Publish lists what is published from the start; nil: microphone and
	// camera. An empty list publishes nothing.
	Publish []media.Source
	// Clips replace the clips that are replayed; by default Camera and Beep.
	Clips map[media.Source]*testmedia.Clip
	// Start is the common clock of the clips: bots and sources with the same
	// Start are in step. Zero means the instant of New.
	Start time.Time
	// KeepStep lets players ignore keyframe requests (see testmedia.Config).
	KeepStep bool
	// Silent announces tracks and never sends a packet.
	Silent bool
	// Idle reports that nothing is decoded, whatever arrives.
	Idle bool

	// Persons and Screens are how many seats the first offer has. Zero means
	// 2 and 1; negative means none.
	Persons, Screens int

	// Socket, if set, carries all media but relayed one. The bot closes it.
	Socket net.PacketConn
	// Relay uses nothing but the TURN servers of the welcome; RelayProtocol,
	// "udp", "tcp" or "tls", picks among them.
	Relay         bool
	RelayProtocol string
	// EveryPath uses all that a browser would: both families, ICE-TCP, and the
	// TURN servers of the welcome. Without it and Relay, IPv4 and no relay.
	EveryPath bool
	// Proxy, if set, is an HTTP proxy for the socket. Media needs
	// SettingEngine.SetICEProxyDialer besides.
	Proxy *url.URL
	// TLS is for the socket, and for WHIP and WHEP; nil: the system's roots.
	// Relays by TLS know the system's roots only.
	TLS *tls.Config
	// Settings may change Pion's settings before the PeerConnection is made.
	Settings func(*webrtc.SettingEngine)

	// OnSend is called for every packet before it is sent, from the goroutine
	// that plays its source. It may change the payload in place.
	OnSend func(source media.Source, packet *rtp.Packet)
	// OnPacket is called for every packet received, duplicates too, from the
	// goroutine that reads its track. Header and payload must not be kept.
	OnPacket func(track string, packet *rtp.Packet, at time.Time)

	Log *slog.Logger // nil: discarded
}

// Bot is one participant. All methods may be called from any goroutine.
type Bot struct {
	cfg Config
	log *slog.Logger

	commands chan func() // run by the loop
	done     chan struct{}

	// Owned by the loop.
	link       *link
	inFlight   bool  // an offer waits for its answer
	again      bool  // offer once more after that
	restartICE bool  // with the next offer
	failed     error // ends the loop

	mu        sync.Mutex
	peer      *peer
	stop      context.CancelFunc
	err       error
	welcome   signaling.Welcome
	state     signaling.State
	seats     signaling.Seats
	events    []signaling.EventBody
	ended     *signaling.Ended
	connected time.Time
	answered  time.Time
	resumes   int
	snapshots int
}

// New returns a bot that Run starts. It opens no socket.
func New(cfg Config) (*Bot, error) {
	if cfg.URL == "" || cfg.Token == "" && cfg.Rejoin == "" {
		return nil, errors.New("bot needs a URL and a token")
	}
	if cfg.Publish == nil {
		cfg.Publish = []media.Source{media.Microphone, media.Camera}
	}
	if cfg.Persons == 0 {
		cfg.Persons = 2
	}
	if cfg.Screens == 0 {
		cfg.Screens = 1
	}
	if cfg.Consent == nil {
		cfg.Consent = &signaling.Consent{Recording: true, Text: "bot", Lang: "en"}
	}
	if cfg.Start.IsZero() {
		cfg.Start = time.Now()
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	b := &Bot{cfg: cfg, log: cfg.Log, commands: make(chan func()), done: make(chan struct{})}
	link, err := newLink(cfg.URL, cfg.Proxy, cfg.TLS)
	if err != nil {
		return nil, err
	}
	b.link = link
	return b, nil
}

// do runs f in the loop and waits for it.
func (b *Bot) do(ctx context.Context, f func() error) error {
	result := make(chan error, 1)
	select {
	case b.commands <- func() { result <- f() }:
	case <-b.done:
		return errEnded
	case <-ctx.Done():
		return ctx.Err()
	}
	return <-result // the loop never blocks in f
}

var errEnded = errors.New("bot has ended")

// Request sends a request and returns its reply. An "error" reply becomes an
// *Error.
func (b *Bot) Request(ctx context.Context, kind string, body any) (signaling.Envelope, error) {
	reply := make(chan signaling.Envelope, 1)
	err := b.do(ctx, func() error {
		return b.link.request(kind, body, func(e signaling.Envelope) { reply <- e })
	})
	if err != nil {
		return signaling.Envelope{}, fmt.Errorf("send %s: %w", kind, err)
	}
	select {
	case e := <-reply:
		return e, replyError(kind, e)
	case <-b.done:
		return signaling.Envelope{}, errEnded
	case <-ctx.Done():
		return signaling.Envelope{}, fmt.Errorf("wait for the reply to %s: %w", kind, ctx.Err())
	}
}

// Send sends a numbered message that has no reply.
func (b *Bot) Send(ctx context.Context, kind string, body any) error {
	return b.do(ctx, func() error { return b.link.send(kind, "", body) })
}

// Error is a refusal by the server.
type Error struct {
	Request string
	signaling.ErrorBody
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s refused: %s: %s", e.Request, e.Code, e.Message)
}

// Admit lets a waiting participant in.
func (b *Bot) Admit(ctx context.Context, identity string) error {
	_, err := b.Request(ctx, "admit", signaling.Target{Participant: identity})
	return err
}

// Mute tells the server that a source is muted, or no longer, and stops or
// resumes sending it.
func (b *Bot) Mute(ctx context.Context, source media.Source, muted bool) error {
	s := b.sender(source)
	if s == nil {
		return fmt.Errorf("mute %s: not published", source)
	}
	s.pause(muted)
	_, err := b.Request(ctx, "publish", signaling.Publish{MID: s.mid(), Source: string(source), Active: true, Muted: muted})
	return err
}

// CutMedia stops sending a source without a word, as a broken camera does;
// RestoreMedia sends again.
func (b *Bot) CutMedia(source media.Source) { b.pause(source, true) }

// RestoreMedia ends CutMedia.
func (b *Bot) RestoreMedia(source media.Source) { b.pause(source, false) }

func (b *Bot) pause(source media.Source, paused bool) {
	if s := b.sender(source); s != nil {
		s.pause(paused)
	}
}

// CutSocket closes the WebSocket without a close frame and keeps it closed
// until RestoreSocket; media goes on.
func (b *Bot) CutSocket() { b.link.cut() }

// RestoreSocket lets the bot resume its session.
func (b *Bot) RestoreSocket() { b.link.restore() }

// ShareScreen publishes a clip as a screen; the first time it adds an m-line.
func (b *Bot) ShareScreen(ctx context.Context) error {
	if s := b.sender(media.Screen); s != nil {
		if err := s.attach(true); err != nil {
			return err
		}
		_, err := b.Request(ctx, "publish", signaling.Publish{MID: s.mid(), Source: string(media.Screen), Active: true})
		return err
	}
	return b.do(ctx, func() error {
		if err := b.addSender(media.Screen); err != nil {
			return err
		}
		return b.negotiate()
	})
}

// StopScreen ends ShareScreen; the m-line stays for the next time.
func (b *Bot) StopScreen(ctx context.Context) error {
	s := b.sender(media.Screen)
	if s == nil {
		return errors.New("stop screen: none is shared")
	}
	if err := s.attach(false); err != nil {
		return err
	}
	_, err := b.Request(ctx, "publish", signaling.Publish{MID: s.mid(), Source: string(media.Screen)})
	return err
}

// Leave says goodbye and waits until Run has returned.
func (b *Bot) Leave(ctx context.Context) error {
	if err := b.Send(ctx, "leave", signaling.Empty{}); err != nil && !errors.Is(err, errEnded) {
		return fmt.Errorf("leave: %w", err)
	}
	select {
	case <-b.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("leave: %w", ctx.Err())
	}
}

// Vanish goes without goodbye, as a pulled cable does: no close frame, no
// DTLS alert. It waits until Run has returned.
func (b *Bot) Vanish() {
	b.mu.Lock()
	peer, stop := b.peer, b.stop
	b.mu.Unlock()
	if peer != nil {
		peer.gate.shut()
	}
	if stop == nil {
		return // never ran
	}
	stop()
	<-b.done
}

// Done is closed when Run has returned.
func (b *Bot) Done() <-chan struct{} { return b.done }

// Err returns what Run returned, or nil while it runs.
func (b *Bot) Err() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

func (b *Bot) sender(source media.Source) *sender {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.peer == nil {
		return nil
	}
	return b.peer.sender(source)
}

func (b *Bot) clip(source media.Source) (*testmedia.Clip, error) {
	if clip := b.cfg.Clips[source]; clip != nil {
		return clip, nil
	}
	if source == media.Microphone {
		return testmedia.Beep()
	}
	return testmedia.Camera()
}

// publishes reports whether source is among those announced from the start.
func (b *Bot) publishes(source media.Source) bool { return slices.Contains(b.cfg.Publish, source) }
