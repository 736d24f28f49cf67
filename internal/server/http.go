package server

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"consilium/internal/api"
	"consilium/internal/config"
	"consilium/internal/problem"
	"consilium/signaling"
	"consilium/web"
)

// Limits of an HTTP connection. Writing has none: a recording may be read for
// hours, and a WebSocket has its own.
const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	headerBytes   = 32 << 10 // a token of 8 KiB fits
)

// tunnelAfter is when a browser without a connection opens GET /ws/media, from
// the answer on. It has then tried every relay for 2 s, and media is there
// before 10 s are over.
const tunnelAfter = 6500 * time.Millisecond

func (s *Server) newSignaling() (*signaling.Server, error) {
	key, err := s.data.sessionKey()
	if err != nil {
		return nil, err
	}
	c := s.cfg
	timing := signaling.Timing{ResumeWindow: c.Signaling.ResumeWindow, MediaTimeout: c.Media.Timeout}
	if c.Media.Tunnel.Enabled {
		timing.TunnelAfter = tunnelAfter
	}
	return signaling.New(signaling.Config{
		SFU: signaling.Adapt(s.sfu.Join), Auth: authenticator{s.auth}, SecretKey: key,
		ICEServers: s.iceServers, Events: located{s.journal, s.sfu}, Number: s.journal.Number, Recording: c.Recording.Enabled,
		Limits: signaling.LimitConfig{
			MessageBytes: c.Signaling.MessageBytes, MessageRate: float64(c.Signaling.MessagesPerSecond),
			Joins: c.Limits.JoinsPerSecond,
		},
		Timing: timing,
		Log:    s.log.With("part", "signaling"),
	})
}

// newHTTP makes the server of pages, API and signalling, and the one that
// answers plain HTTP beside TLS.
func (s *Server) newHTTP() error {
	mux := http.NewServeMux()
	a, err := s.newAPI()
	if err != nil {
		return err
	}
	for _, p := range api.Prefixes() {
		mux.Handle(p, a)
	}
	signals := s.signals.Handler()
	for _, p := range []string{"/ws", "/whip/", "/whep/"} {
		mux.Handle(p, signals)
	}
	if s.tunnel != nil {
		mux.Handle("/ws/media", s.tunnel)
	}
	pages, err := web.Handler(web.Config{RecordingOff: !s.cfg.Recording.Enabled})
	if err != nil {
		return fmt.Errorf("web client: %w", err)
	}
	mux.Handle("/", pages)
	mux.Handle("GET /recordings/{id}", pages) // its data come from the API
	proxies, err := config.ParseNetworks("http.trusted_proxies", s.cfg.HTTP.TrustedProxies)
	if err != nil {
		return err
	}
	s.http = s.httpServer(s.strict(behind(proxies, mux)))
	if s.certs != nil {
		s.plain = s.httpServer(s.certs.Challenge(redirect(s.cfg.HTTP.PublicURL)))
	}
	return nil
}

func (s *Server) httpServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           s.guard(h),
		ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: headerBytes,
		ErrorLog:    slog.NewLogLogger(s.log.With("part", "http").Handler(), slog.LevelDebug),
		BaseContext: func(net.Listener) context.Context { return context.Background() },
	}
}

// guard keeps a bug in a handler from taking the server down: the request
// gets a 500, the log gets the cause.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if cause := recover(); cause != nil && cause != http.ErrAbortHandler {
				s.log.Error("a handler panicked", "path", r.URL.Path, "cause", cause)
				problem.Write(w, http.StatusInternalServerError, problem.Internal, "an internal error; it was logged")
			}
		}()
		next.ServeHTTP(w, r)
	})
}

func (s *Server) newAPI() (*api.API, error) {
	cfg := api.Config{
		Calls: s.sfu, Auth: s.auth, Journal: s.journal, Ready: s.readyError,
		Audit: s.audit, PatientPlayback: s.cfg.Recording.PatientPlayback,
		PublicURL: s.cfg.HTTP.PublicURL, Metrics: s.metrics, Log: s.log.With("part", "api"),
	}
	if s.recorder != nil {
		cfg.Recordings, cfg.Exports = recordings{s.cfg.Data, s.catalog, s.sealer}, s.exports
		cfg.Retention = retention{s.cfg.Data, s.recordingErased}
	}
	cfg.Tunnel = s.tunnel != nil
	if s.turn != nil {
		cfg.TURN = turnCredentials{s}
	}
	if s.distrust != nil {
		cfg.Untrusted = s.distrust.recent
	}
	return api.New(cfg)
}
