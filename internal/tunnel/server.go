package tunnel

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"github.com/pion/webrtc/v4"

	"consilium/internal/problem"
)

// Config configures a Server. Sessions and OpenConn are required.
type Config struct {
	// Sessions finds the living session that a page's secret is of. What it
	// refuses is a *Refused.
	Sessions func(session, secret string) (Session, error)
	// OpenConn opens the way from a peer to the SFU's media port, within the
	// process. Its local address is a *net.UDPAddr that only the peer has.
	OpenConn func() (net.PacketConn, error)
	// Refuse says what a page is told of an error of Session.Offer; nil: an
	// internal error.
	Refuse func(error) Refusal
	// Tunnels is how many tunnels there may be at once; default 50.
	Tunnels int
	// Bitrate is the most a page may send, bit/s; default 1 500 000.
	Bitrate int
	// Resume is how long a lost socket may take to come back; default 20 s.
	Resume time.Duration
	Log    *slog.Logger // nil: discarded
}

// Refused is an error that a page is told.
type Refused struct{ Refusal }

// Error returns code and message.
func (e *Refused) Error() string { return e.Code + ": " + e.Message }

// Server is GET /ws/media. It is safe for concurrent use.
type Server struct {
	cfg         Config
	certificate webrtc.Certificate // of all peers: nobody looks at it
	stop        context.Context    // ends when every tunnel must
	cancel      context.CancelFunc

	mu      sync.Mutex
	ending  bool
	sockets int
	tunnels map[string]*tunnel // by session
	paths   map[netip.AddrPort]bool
	wg      sync.WaitGroup // sockets and tunnels

	opened, refused, takenOver atomic.Uint64
	bytesIn, bytesOut          atomic.Uint64
	framesIn, framesOut        atomic.Uint64
	dropped                    map[string]*atomic.Uint64 // by reason; never changes
}

// New returns a Server. It starts nothing.
func New(cfg Config) (*Server, error) {
	if cfg.Sessions == nil || cfg.OpenConn == nil {
		return nil, errors.New("tunnel: Config.Sessions or Config.OpenConn is missing")
	}
	orDefault(&cfg.Tunnels, 50)
	orDefault(&cfg.Bitrate, 1_500_000)
	orDefault(&cfg.Resume, 20*time.Second)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Refuse == nil {
		cfg.Refuse = func(error) Refusal { return Refusal{Code: problem.Internal, Message: "internal error"} }
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make key of tunnels: %w", err)
	}
	certificate, err := webrtc.GenerateCertificate(key)
	if err != nil {
		return nil, fmt.Errorf("make certificate of tunnels: %w", err)
	}
	s := &Server{
		cfg: cfg, certificate: *certificate, tunnels: map[string]*tunnel{}, paths: map[netip.AddrPort]bool{},
		dropped: map[string]*atomic.Uint64{},
	}
	for _, reason := range dropReasons() {
		s.dropped[reason] = &atomic.Uint64{}
	}
	s.stop, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

func orDefault[T int | time.Duration](value *T, fallback T) {
	if *value <= 0 {
		*value = fallback
	}
}

// Run returns when ctx has ended and every tunnel and socket with it.
func (s *Server) Run(ctx context.Context) error {
	<-ctx.Done()
	s.mu.Lock()
	s.ending = true
	s.mu.Unlock()
	s.cancel()
	s.wg.Wait()
	return nil
}

// Tunnelled reports whether a remote address of the SFU is the end of a tunnel.
func (s *Server) Tunnelled(a netip.AddrPort) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.paths[a]
}

// ServeHTTP serves GET /ws/media.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		problem.Write(w, http.StatusMethodNotAllowed, problem.MethodNotAllowed, "only GET", problem.Allow("GET"))
		return
	}
	if !slices.Contains(websocket.Subprotocols(r), Subprotocol) {
		problem.Write(w, http.StatusBadRequest, problem.BadRequest, "subprotocol "+Subprotocol+" is required")
		return
	}
	if !s.enter() {
		problem.Write(w, http.StatusServiceUnavailable, "SERVER_BUSY", "too many connections, or the server is stopping")
		return
	}
	defer s.leave()
	upgrader := websocket.Upgrader{
		Subprotocols: []string{Subprotocol}, HandshakeTimeout: writeTimeout,
		ReadBufferSize: 4096, WriteBufferSize: 4096,
		// CheckOrigin nil: the Origin's host must be the request's.
		Error: func(w http.ResponseWriter, _ *http.Request, status int, reason error) {
			problem.Write(w, status, problem.BadRequest, reason.Error())
		},
	}
	ws, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		s.cfg.Log.Debug("media WebSocket refused", "remote", r.RemoteAddr, "err", err)
		return
	}
	k := newSocket(ws)
	unwatch := context.AfterFunc(s.stop, func() { _ = ws.Close() })
	defer unwatch()
	s.serve(k)
}

// serve reads a socket to its end.
func (s *Server) serve(k *socket) {
	defer k.cut()
	open, err := k.greet()
	if err != nil {
		s.refuse(k, err)
		return
	}
	t, err := s.tunnel(open)
	if err == nil {
		err = t.serve(k, &open.Wanted)
	}
	if err != nil {
		s.refuse(k, err)
	}
}

// refuse tells a page why its socket is closed, if it is there to hear it.
func (s *Server) refuse(k *socket, err error) {
	refused, ok := errors.AsType[*Refused](err)
	if !ok {
		s.cfg.Log.Debug("media WebSocket ended", "remote", k.remote(), "err", err)
		return
	}
	s.refused.Add(1)
	s.cfg.Log.Info("tunnel refused", "remote", k.remote(), "code", refused.Code, "reason", refused.Message)
	k.refuse(refused.Refusal)
}

// enter counts a socket in. Those that have not said who they are yet count
// too: twice the tunnels leaves room for sockets that take over.
func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending || s.sockets >= 2*s.cfg.Tunnels {
		return false
	}
	s.sockets++
	s.wg.Add(1)
	return true
}

func (s *Server) leave() {
	s.mu.Lock()
	s.sockets--
	s.mu.Unlock()
	s.wg.Done()
}

// tunnel finds or makes the tunnel of a session.
func (s *Server) tunnel(open *Open) (*tunnel, error) {
	session, err := s.cfg.Sessions(open.Session, open.Secret)
	if err != nil {
		return nil, err
	}
	if err := open.check(); err != nil {
		return nil, badMessage(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.tunnels[open.Session]; t != nil {
		s.takenOver.Add(1)
		return t, nil
	}
	busy := &Refused{Refusal{Code: "SERVER_BUSY", Message: "too many calls go through the WebSocket", Retry: 5}}
	if s.ending || len(s.tunnels) >= s.cfg.Tunnels {
		return nil, busy
	}
	t, err := newTunnel(s, open.Session, session)
	if err != nil {
		s.cfg.Log.Error("open tunnel", "session", open.Session, "err", err)
		return nil, &Refused{Refusal{Code: problem.Internal, Message: "internal error"}}
	}
	s.opened.Add(1)
	s.tunnels[open.Session] = t
	s.paths[t.peer.address()] = true
	s.wg.Go(t.watch)
	return t, nil
}

// forget takes a tunnel out of the directory.
func (s *Server) forget(t *tunnel) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tunnels[t.id] == t {
		delete(s.tunnels, t.id)
	}
	delete(s.paths, t.peer.address())
}

func (s *Server) drop(reason string, n int) { s.dropped[reason].Add(uint64(n)) }

// Stats is a snapshot of the counters. Open is how many tunnels there are now;
// all others only grow. Bytes are those of frame messages.
type Stats struct {
	Open                           int
	Opened, Refused, TakenOver     uint64
	BytesFromPages, BytesToPages   uint64
	FramesFromPages, FramesToPages uint64
	Dropped                        map[string]uint64 // frames, by reason
}

// Stats returns the counters.
func (s *Server) Stats() Stats {
	x := Stats{
		Opened: s.opened.Load(), Refused: s.refused.Load(), TakenOver: s.takenOver.Load(),
		BytesFromPages: s.bytesIn.Load(), BytesToPages: s.bytesOut.Load(),
		FramesFromPages: s.framesIn.Load(), FramesToPages: s.framesOut.Load(),
		Dropped: make(map[string]uint64, len(s.dropped)),
	}
	for reason, n := range s.dropped {
		x.Dropped[reason] = n.Load()
	}
	s.mu.Lock()
	x.Open = len(s.tunnels)
	s.mu.Unlock()
	return x
}
