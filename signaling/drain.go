package signaling

import (
	"net/http"

	"consilium/internal/event"
	"consilium/internal/media"
	"consilium/sfu"
)

// Drain refuses new sessions from now on and ends the living ones: each client
// is told ended{shutdown, SERVER_RESTART} with the time after which to come
// back with its secret. It does not wait; Run does. WHIP and WHEP sessions end
// with the SFU. Drain may be called more than once.
func (s *Server) Drain() {
	s.mu.Lock()
	s.draining = true
	s.mu.Unlock()
	s.cancel()
}

// restarting is what a client is told that comes while the server drains.
func (s *Server) restarting() failure {
	return failure{
		status: http.StatusServiceUnavailable,
		code:   string(event.ServerRestart),
		text:   "the server is restarting",
		retry:  s.cfg.Timing.Retry,
	}
}

// endByShutdown is the last act of a session when the server drains.
func (s *session) endByShutdown() {
	s.notify(sfu.NoticeEnded{Reason: media.EndShutdown, Code: event.ServerRestart})
}
