package signaling

import (
	"context"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"consilium/internal/event"
	"consilium/internal/problem"
)

// Server is signalling: GET /ws, WHIP and WHEP. It is safe for concurrent use.
type Server struct {
	cfg      Config
	hub      *hub
	secrets  secretSigner
	media    *mediaHub // WHIP and WHEP
	metrics  counters
	joins    *rate.Limiter // of all clients
	refusals *refusals

	stop   context.Context // ends when every session must end
	cancel context.CancelFunc

	mu       sync.Mutex
	draining bool
	sockets  int
	wg       sync.WaitGroup // sockets, sessions and watchers of media sessions
}

// New returns a Server. It starts nothing.
func New(cfg Config) (*Server, error) {
	if err := cfg.setDefaults(); err != nil {
		return nil, err
	}
	stop, cancel := context.WithCancel(context.Background())
	s := &Server{
		cfg:     cfg,
		hub:     newHub(cfg.Timing.RejoinWindow),
		secrets: secretSigner{key: cfg.SecretKey},
		stop:    stop,
		cancel:  cancel,
	}
	s.joins, s.refusals = rate.NewLimiter(rate.Inf, 0), newRefusals()
	s.SetJoinRate(cfg.Limits.Joins)
	s.media = newMediaHub(s)
	return s, nil
}

// Run returns when ctx has ended and every socket and session with it. It
// drains the server if Drain was not called before.
func (s *Server) Run(ctx context.Context) error {
	<-ctx.Done()
	s.Drain()
	s.wg.Wait()
	return nil
}

// Handler serves GET /ws, /whip/ and /whep/.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/ws", s.serveSocket)
	s.media.register(mux)
	return mux
}

// Stats is a snapshot of the server's counters, for metrics. Counters only
// grow, the others say how many there are now.
type Stats struct {
	Sockets  int // open now
	Sessions int // of the WebSocket, living now
	Media    int // WHIP and WHEP sessions, living now

	Joins, Resumes, Snapshots, Rejoins uint64
	Refused                            uint64 // hellos and resumes
	RefusalsUntold                     uint64 // of which no event told, to bound their number
	SlowSockets                        uint64 // cut because their queue was full
	Floods                             uint64 // closed because of their message rate
	NoticesDropped                     uint64 // replaced by a snapshot
}

// Stats returns the counters.
func (s *Server) Stats() Stats {
	stats := s.metrics.read()
	s.mu.Lock()
	stats.Sockets = s.sockets
	s.mu.Unlock()
	stats.Sessions = s.hub.count()
	stats.Media = s.media.count()
	return stats
}

// enter counts a goroutine in, unless the server drains.
func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return false
	}
	s.wg.Add(1)
	return true
}

// openSocket counts a socket in; nil means yes.
func (s *Server) openSocket() *failure {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		f := s.restarting()
		return &f
	}
	if s.sockets >= s.cfg.Limits.Sockets {
		return &failure{
			status: http.StatusServiceUnavailable, code: string(event.ServerBusy),
			text: "too many connections", retry: 5 * time.Second,
		}
	}
	s.sockets++
	s.wg.Add(1)
	return nil
}

func (s *Server) closeSocket() {
	s.mu.Lock()
	s.sockets--
	s.mu.Unlock()
	s.wg.Done()
}

func (s *Server) serveSocket(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		problem.Write(w, http.StatusMethodNotAllowed, problem.MethodNotAllowed, "only GET", problem.Allow("GET"))
		return
	}
	if !offersSubprotocol(r) {
		problem.Write(w, http.StatusBadRequest, problem.BadRequest, "subprotocol "+Subprotocol+" is required")
		return
	}
	if f := s.openSocket(); f != nil {
		f.write(w)
		return
	}
	defer s.closeSocket()
	c, err := upgrade(w, r, &s.cfg)
	if err != nil {
		s.cfg.Log.Debug("WebSocket refused", "remote", r.RemoteAddr, "err", err)
		return
	}
	c.finishReading(s.converse(c, r))
}
