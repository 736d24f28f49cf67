package sfu

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/webrtc/v4"

	"consilium/internal/event"
	"consilium/internal/media"
)

// Config configures a Server. Events is required; everything else has a
// working zero value.
type Config struct {
	Log    *slog.Logger
	Events event.Sink
	// Number gives a failure its incident number before it is emitted and told
	// to clients. It must not block. nil: failures have none.
	Number func(event.Event) event.Event
	// Recorder records every call; nil records nothing.
	Recorder Recorder
	Network  Network
	Media    MediaConfig
	Calls    CallsConfig
	// SessionEnded is called with the id of every session that is over, so
	// that what was lent to it can be taken back. It must not block. May be nil.
	SessionEnded func(session string)
}

// Network says how peers reach the server. The multiplexers belong to the
// caller, who closes them after Run has returned.
type Network struct {
	UDP ice.UDPMux
	TCP ice.TCPMux
	// Addresses are the local addresses that may be offered; nil offers all.
	// Addresses of a UDP mux are not filtered by it: build the mux of them.
	Addresses []netip.Addr
	// Public lists what the outside sees of local addresses, by a 1:1 NAT that
	// forwards the ports unchanged. It is offered beside the local address, or
	// instead of it with HideLocal.
	Public    []PublicAddress
	HideLocal bool
	// Lite makes the server an ICE-lite agent (RFC 8445, section 2.5).
	Lite bool
	// Behind tells by which path and protocol a client comes whose remote
	// address is one of ours: "relay" over "udp", "tcp" or "tls" for our own
	// TURN server, "websocket" over "tcp" for media through HTTP; ok is false
	// for any other address. It must not block. May be nil.
	Behind func(netip.AddrPort) (path, protocol string, ok bool)
}

// PublicAddress is what the outside sees of a local address.
type PublicAddress struct{ Local, Public netip.Addr }

// MediaConfig holds what concerns the media of every call.
type MediaConfig struct {
	// Video lists the video codecs in order of preference; default vp8.
	Video []string
	// StartBitrate, in kbit/s, is what a browser's sender starts from instead
	// of its own 300; 0 leaves it alone.
	StartBitrate int
	// MaxBitrate, in kbit/s, is the most video a browser's sender sends on one
	// m-line; 0 sets no bound.
	MaxBitrate int
	// Timeout is how long an announced track, or one that has stalled, may
	// send nothing before media.timeout; default 10 s. A twentieth of it earlier
	// comes the verdict about who is not connected.
	Timeout time.Duration
	// StallAfter is how long a flowing track may pause before it is stalled;
	// default 3 s.
	StallAfter time.Duration
}

// CallsConfig holds the rules of calls.
type CallsConfig struct {
	// HoldPatients keeps patients and companions waiting in every call.
	HoldPatients bool
	LingerClean  time.Duration // a call ends this long after the last clean leave; default 5 s
	LingerLost   time.Duration // and this long after a lost one; default 30 s
	Unattended   time.Duration // and this long after being opened if nobody came; default 1 h
	// MaxCalls and MaxParticipants bound the server and a call; 0 is no bound.
	MaxCalls        int
	MaxParticipants int
	// AbsentAfter is how long somebody may be alone before PEER_ABSENT; 0: for ever.
	AbsentAfter time.Duration
	ArmTimeout  time.Duration // how long arming the recorder may take; default 3 s
}

func (c *Config) setDefaults() {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if len(c.Media.Video) == 0 {
		c.Media.Video = []string{"vp8"}
	}
	if c.Network.Behind == nil {
		c.Network.Behind = func(netip.AddrPort) (path, protocol string, ok bool) { return "", "", false }
	}
	if c.Number == nil {
		c.Number = func(e event.Event) event.Event { return e }
	}
	if c.SessionEnded == nil {
		c.SessionEnded = func(string) {}
	}
	def(&c.Media.Timeout, 10*time.Second)
	def(&c.Media.StallAfter, 3*time.Second)
	def(&c.Calls.LingerClean, 5*time.Second)
	def(&c.Calls.LingerLost, 30*time.Second)
	def(&c.Calls.Unattended, time.Hour)
	def(&c.Calls.ArmTimeout, 3*time.Second)
}

// Server owns the calls. All methods are safe for concurrent use.
type Server struct {
	cfg   Config
	log   *slog.Logger
	cert  webrtc.Certificate
	pool  *packetPool
	drops *dropCounters

	wg sync.WaitGroup // the loops of calls and what they start

	lives sync.Map // ids of living sessions

	mu       sync.Mutex
	draining bool
	rooms    map[string]*call // room to its living call
	calls    map[string]*call // id to living call
}

// New returns a server that takes joins at once; Run keeps it going.
func New(cfg Config) (*Server, error) {
	cfg.setDefaults()
	for _, name := range cfg.Media.Video {
		if _, ok := videoCodecs[name]; !ok {
			return nil, fmt.Errorf("unknown video codec %q", name)
		}
	}
	cert, err := newCertificate()
	if err != nil {
		return nil, fmt.Errorf("make DTLS certificate: %w", err)
	}
	return &Server{
		cfg: cfg, log: cfg.Log, cert: cert,
		pool: newPacketPool(), drops: &dropCounters{},
		rooms: map[string]*call{}, calls: map[string]*call{},
	}, nil
}

// Run returns when ctx is done, every call has ended and every goroutine of
// the server is gone.
func (s *Server) Run(ctx context.Context) error {
	<-ctx.Done()
	s.Drain()
	s.wg.Wait()
	return nil
}

// Drain refuses new sessions and ends every call with the reason shutdown. It
// does not wait.
func (s *Server) Drain() {
	s.mu.Lock()
	s.draining = true
	calls := make([]*call, 0, len(s.calls))
	for _, c := range s.calls {
		calls = append(calls, c)
	}
	s.mu.Unlock()
	for _, c := range calls {
		c.loop.post(c.shutdown)
	}
}

// Join opens a session. It returns ErrBusy or ErrDraining when the server
// can't take it, ErrNoGrant when the grants make it pointless, and what Offer
// says of an offer that is given in advance.
func (s *Server) Join(ctx context.Context, req JoinRequest) (*Session, error) {
	if req.Notify == nil {
		req.Notify = func(Notice) {}
	}
	switch g := req.Grants; {
	case req.Mode == Publisher && !g.PublishAudio && !g.PublishVideo && !g.PublishScreen:
		return nil, fmt.Errorf("%w: the token lets its bearer publish nothing", ErrNoGrant)
	case req.Mode == Player && !g.Subscribe:
		return nil, fmt.Errorf("%w: the token does not let its bearer watch", ErrNoGrant)
	}
	if req.Offer != nil {
		if err := checkOffer(req); err != nil {
			return nil, err
		}
	}
	for {
		c, _, err := s.callOf(CallSpec{Room: req.Room}, false)
		if err != nil {
			return nil, err
		}
		var x *Session
		err2 := c.loop.do(ctx, func() { x, err = c.join(req) })
		switch {
		case err2 == ErrClosed: // it ended just now: the next one is a new call
			continue
		case err2 != nil:
			return nil, err2
		}
		return x, err
	}
}

// Lives reports whether a session lives. It does not block.
func (s *Server) Lives(session string) bool {
	_, ok := s.lives.Load(session)
	return ok
}

// OpenCall opens a call in a room that has none, or gives its details to one
// that a player opened and in which nobody has been yet. ErrConflict: the room
// has a call.
func (s *Server) OpenCall(ctx context.Context, spec CallSpec) (CallInfo, error) {
	for {
		c, opened, err := s.callOf(spec, true)
		if err != nil {
			return CallInfo{}, err
		}
		var info CallInfo
		var adoptErr error
		err = c.loop.do(ctx, func() {
			if !opened {
				adoptErr = c.adopt(spec)
			}
			info = c.info()
		})
		switch {
		case err == ErrClosed:
			continue
		case err != nil:
			return CallInfo{}, err
		}
		return info, adoptErr
	}
}

// callOf returns the living call of a room, opening one if there is none.
func (s *Server) callOf(spec CallSpec, byAPI bool) (c *call, opened bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return nil, false, fmt.Errorf("%w", ErrDraining)
	}
	if c := s.rooms[spec.Room]; c != nil {
		return c, false, nil
	}
	if max := s.cfg.Calls.MaxCalls; max > 0 && len(s.calls) >= max {
		return nil, false, fmt.Errorf("%w: %d calls are running", ErrBusy, max)
	}
	c = newCall(s, spec)
	c.byAPI = byAPI
	s.rooms[spec.Room], s.calls[c.id] = c, c
	s.wg.Go(c.run)
	return c, true, nil
}

// forget takes an ended call out of the directory.
func (s *Server) forget(c *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.calls, c.id)
	if s.rooms[c.spec.Room] == c {
		delete(s.rooms, c.spec.Room)
	}
}

// living returns a call that has not ended.
func (s *Server) living(id string) (*call, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.calls[id]; c != nil {
		return c, nil
	}
	return nil, fmt.Errorf("%w: no such call is running", ErrNotFound)
}

// Calls describes the living calls, in no order.
func (s *Server) Calls() []CallInfo {
	s.mu.Lock()
	calls := make([]*call, 0, len(s.calls))
	for _, c := range s.calls {
		calls = append(calls, c)
	}
	s.mu.Unlock()
	infos := make([]CallInfo, 0, len(calls))
	for _, c := range calls {
		var info CallInfo
		if c.loop.do(context.Background(), func() { info = c.info() }) == nil {
			infos = append(infos, info)
		}
	}
	return infos
}

// CallIn describes the living call of a room.
func (s *Server) CallIn(room string) (CallInfo, bool) {
	s.mu.Lock()
	c := s.rooms[room]
	s.mu.Unlock()
	if c == nil {
		return CallInfo{}, false
	}
	var info CallInfo
	err := c.loop.do(context.Background(), func() { info = c.info() })
	return info, err == nil
}

// Call describes a living call.
func (s *Server) Call(id string) (CallInfo, bool) {
	c, err := s.living(id)
	if err != nil {
		return CallInfo{}, false
	}
	var info CallInfo
	err = c.loop.do(context.Background(), func() { info = c.info() })
	return info, err == nil
}

// EndCall ends a call for everybody; by names who asked for it.
func (s *Server) EndCall(ctx context.Context, id, by string) error {
	return s.inCall(ctx, id, func(c *call) error { c.end("ended", by); return nil })
}

// Remove ends every session of a participant.
func (s *Server) Remove(ctx context.Context, id, identity, by string) error {
	return s.inCall(ctx, id, func(c *call) error { return c.remove(identity, by) })
}

// Mute mutes a source of a participant: nothing of it is forwarded until the
// participant unmutes it.
func (s *Server) Mute(ctx context.Context, id, identity string, source media.Source, by string) error {
	return s.inCall(ctx, id, func(c *call) error { return c.mute(identity, source, by) })
}

// Admit lets a waiting participant in.
func (s *Server) Admit(ctx context.Context, id, identity, by string) error {
	return s.inCall(ctx, id, func(c *call) error { return c.admit(identity, by) })
}

func (s *Server) inCall(ctx context.Context, id string, f func(*call) error) error {
	c, err := s.living(id)
	if err != nil {
		return err
	}
	if err2 := c.loop.do(ctx, func() { err = f(c) }); err2 != nil {
		return err2
	}
	return err
}

// newID returns an opaque id that sorts nowhere and guesses badly: 100 bits.
func newID() string { return strings.ToLower(rand.Text()[:20]) }

func newCertificate() (webrtc.Certificate, error) {
	key, err := newCertificateKey()
	if err != nil {
		return webrtc.Certificate{}, err
	}
	c, err := webrtc.GenerateCertificate(key)
	if err != nil {
		return webrtc.Certificate{}, err
	}
	return *c, nil
}
