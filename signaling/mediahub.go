package signaling

import (
	"crypto/rand"
	"crypto/sha256"
	"net/http"
	"sync"

	"golang.org/x/time/rate"

	"consilium/internal/media"
	"consilium/internal/problem"
	"consilium/sfu"
)

// mediaHub serves WHIP (RFC 9725) and WHEP, and is the directory of their
// sessions. It is safe for concurrent use.
type mediaHub struct {
	server  *Server
	limiter *joinLimiter

	mu       sync.Mutex
	sessions map[string]*mediaSession // by path
}

// mediaSession is one WHIP or WHEP session: what the Location header names.
type mediaSession struct {
	path    string // unguessable
	person  sfu.Person
	token   [sha256.Size]byte // hash of the token it was opened with
	session Session
	limiter *rate.Limiter // of PATCH requests

	mu    sync.Mutex // one PATCH at a time; guards what follows
	offer string     // the newest
	etag  string     // of the current generation of ICE
}

func newMediaHub(s *Server) *mediaHub {
	l := s.cfg.Limits
	return &mediaHub{
		server: s,
		limiter: &joinLimiter{
			rate: rate.Limit(l.JoinRate), burst: l.JoinBurst, byName: map[string]*rate.Limiter{},
		},
		sessions: map[string]*mediaSession{},
	}
}

func (h *mediaHub) register(mux *http.ServeMux) {
	mux.HandleFunc("/whip/{room}", h.serveEndpoint(h.whipRequest))
	mux.HandleFunc("/whep/{room}/{identity}", h.serveEndpoint(h.whepRequest))
	mux.HandleFunc("/whip/{room}/{session}", h.serveSession)
	mux.HandleFunc("/whep/{room}/{identity}/{session}", h.serveSession)
	for _, root := range []string{"/whip/", "/whep/"} {
		mux.HandleFunc(root, func(w http.ResponseWriter, _ *http.Request) {
			allowOrigin(w)
			problem.Write(w, http.StatusNotFound, problem.NotFound, "no such endpoint")
		})
	}
}

func (h *mediaHub) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.sessions)
}

func (h *mediaHub) get(path string) *mediaSession {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.sessions[path]
}

// add enters a session and has it removed when it is over or the server stops.
// Server.enter has counted its watcher in.
func (h *mediaHub) add(m *mediaSession) {
	h.mu.Lock()
	h.sessions[m.path] = m
	h.mu.Unlock()
	go func() {
		defer h.server.wg.Done()
		select {
		case <-m.session.Done():
		case <-h.server.stop.Done():
			m.session.Leave(media.EndShutdown)
		}
		h.remove(m)
	}()
}

// remove reports whether the session was still there.
func (h *mediaHub) remove(m *mediaSession) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.sessions[m.path] != m {
		return false
	}
	delete(h.sessions, m.path)
	return true
}

// newETag returns a strong entity tag (RFC 9110, section 8.8.3).
func newETag() string { return `"` + rand.Text() + `"` }
