// Package server is the composition root: the one place where the parts of
// Consilium meet. Read New from top to bottom: every part is made after what
// it needs, and Run stops them in the reverse order.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"consilium/internal/audit"
	"consilium/internal/auth"
	"consilium/internal/catalog"
	"consilium/internal/certs"
	"consilium/internal/config"
	"consilium/internal/event"
	"consilium/internal/export"
	"consilium/internal/journal"
	"consilium/internal/metrics"
	"consilium/internal/s3store"
	"consilium/internal/seal"
	"consilium/internal/tunnel"
	"consilium/internal/upload"
	"consilium/internal/webhook"
	"consilium/recorder"
	"consilium/sfu"
	"consilium/signaling"
	"consilium/turn"
)

// Server is a whole Consilium.
type Server struct {
	cfg config.Config
	log *slog.Logger

	data     *dataDir
	metrics  *metrics.Registry
	auth     *auth.Authority
	journal  *journal.Journal
	audit    *audit.Log
	catalog  *catalog.Catalog
	webhook  *webhook.Sender    // nil: none is configured
	sealer   seal.Sealer        // nil: recordings lie open
	recorder *recorder.Recorder // nil: recording is off
	exports  *export.Queue      // nil: recording is off
	store    *s3store.Store     // nil: no copies are made
	uploads  *upload.Uploader   // as store
	certs    certs.Source       // nil: plain HTTP
	distrust *untrusted         // nil: plain HTTP
	network  *network
	turn     *turn.Server // nil: TURN is off
	turnKey  string       // signs TURN credentials where no secret is configured
	sfu      *sfu.Server
	signals  *signaling.Server
	tunnel   *tunnel.Server // nil: media.tunnel is off
	http     *http.Server
	plain    *http.Server // beside TLS: redirects; else nil
	alarm    *recordingAlarm

	scrape         *http.Server // of metrics.address; nil: there is none
	scrapeListener net.Listener

	ready    chan struct{}
	draining sync.Once
	drained  chan struct{}
}

// Shutdown times: how long each step of a stop may take.
const (
	finaliseTimeout = 20 * time.Second // recordings of the calls that were cut off
	httpTimeout     = 5 * time.Second  // answers in progress
)

// New builds a server from a valid configuration and opens its sockets and
// files; Run serves. An error says what to change.
func New(cfg config.Config, log *slog.Logger) (_ *Server, err error) {
	s := &Server{cfg: cfg, log: log, metrics: metrics.New(), ready: make(chan struct{}), drained: make(chan struct{})}
	defer func() {
		if err != nil {
			s.abandon()
		}
	}()
	metrics.RegisterRuntime(s.metrics)
	metrics.RegisterProcess(s.metrics)
	// The data directory comes first: it is locked, so that two servers never
	// write the same recordings.
	if s.data, err = openData(cfg.Data); err != nil {
		return nil, err
	}
	if s.auth, err = auth.New(auth.Config{Keys: cfg.Keys}); err != nil {
		return nil, err
	}
	// Events go somewhere before anything can emit one.
	if err = s.openAudit(); err != nil {
		return nil, err
	}
	if err = s.openJournal(); err != nil {
		return nil, err
	}
	if err = s.openCatalog(); err != nil {
		return nil, err
	}
	if s.sealer, err = newSealer(cfg.Recording); err != nil {
		return nil, err
	}
	// The recorder looks for what a crash left behind before calls begin.
	if cfg.Recording.Enabled {
		s.alarm = s.newRecordingAlarm()
		s.recorder, err = recorder.New(recorder.Config{
			Dir: cfg.Data, Space: spaceMarks(cfg.Recording), Sealer: s.sealer,
			Events: s.alarm, Log: log.With("part", "recorder"), Version: version(), Changed: s.recordingChanged,
			Keep: cfg.Recording.Keep, Erased: s.erased,
		})
		if err != nil {
			return nil, fmt.Errorf("recording: %w", err)
		}
		if err = s.newExports(s.sealer); err != nil {
			return nil, err
		}
	}
	if cfg.Recording.S3.Endpoint != "" {
		if err = s.newUploads(); err != nil {
			return nil, err
		}
	}
	if s.certs, err = s.newCerts(); err != nil {
		return nil, err
	}
	if s.network, err = openNetwork(cfg, s.secure(), log.With("part", "network")); err != nil {
		return nil, err
	}
	if s.sfu, err = s.newSFU(); err != nil {
		return nil, err
	}
	if cfg.TURN.Enabled {
		if s.turn, err = s.newTURN(); err != nil {
			return nil, err
		}
	}
	if s.signals, err = s.newSignaling(); err != nil {
		return nil, err
	}
	if cfg.Media.Tunnel.Enabled {
		if s.tunnel, err = s.newTunnel(); err != nil {
			return nil, err
		}
	}
	if err = s.newHTTP(); err != nil {
		return nil, err
	}
	if err = s.registerMetrics(); err != nil {
		return nil, err
	}
	if err = s.openMetrics(); err != nil {
		return nil, err
	}
	warnOfSealing(cfg, log) // once it is sure that it will record
	return s, nil
}

func (s *Server) openJournal() error {
	sinks := []event.Sink{metrics.NewEvents(s.metrics), s.audit}
	if url := s.cfg.Webhook.URL; url != "" {
		var err error
		s.webhook, err = webhook.New(webhook.Config{
			URL: url, Secrets: []string{string(s.cfg.Webhook.Secret)}, Timeout: s.cfg.Webhook.Timeout,
			RetryFor: s.cfg.Webhook.RetryFor, Metrics: s.metrics, Log: s.log.With("part", "webhook"),
		})
		if err != nil {
			return fmt.Errorf("webhook: %w", err)
		}
		sinks = append(sinks, s.webhook)
	}
	var err error
	s.journal, err = journal.New(journal.Config{
		Path: filepath.Join(s.cfg.Data, databaseName), Keep: s.cfg.Journal.Keep,
		Sinks: sinks, Metrics: s.metrics, Log: s.log.With("part", "journal"),
	})
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	return nil
}

func (s *Server) newSFU() (*sfu.Server, error) {
	c := s.cfg
	cfg := sfu.Config{
		Log:    s.log.With("part", "sfu"),
		Events: s.journal,
		Number: s.journal.Number,
		Network: sfu.Network{
			UDP: s.network.udp, TCP: s.network.tcp, Addresses: s.network.addresses, Behind: s.behind,
			Public: s.network.public, HideLocal: !c.Media.OwnAddresses, Lite: iceLite(c.Media),
		},
		Media: sfu.MediaConfig{
			Video: c.Media.Codecs.Video, StartBitrate: c.Media.StartBitrate, MaxBitrate: c.Media.MaxBitrate,
			Timeout: c.Media.Timeout, StallAfter: c.Media.StallAfter,
		},
		Calls: sfu.CallsConfig{
			HoldPatients: c.Calls.WaitingRoom == config.WaitingRoomPatients,
			LingerClean:  c.Calls.LingerClean, LingerLost: c.Calls.LingerLost, Unattended: c.Calls.Unattended,
			MaxCalls: c.Calls.MaxCalls, MaxParticipants: c.Calls.MaxParticipants, AbsentAfter: c.Calls.AbsentAfter,
		},
	}
	if s.recorder != nil {
		cfg.Recorder = recorderAdapter{s.recorder}
	}
	// A session's relay goes with the session.
	cfg.SessionEnded = func(session string) {
		if s.turn != nil {
			s.turn.Revoke(session)
		}
	}
	return sfu.New(cfg)
}

// Ready is closed when the server takes calls.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Handler is the HTTP side of the server.
func (s *Server) Handler() http.Handler { return s.http.Handler }

// Run serves until ctx is done and then stops: no new joins, clients are told,
// calls end, recordings are finalised, events are delivered. It returns when
// everything has ended; the error is that of the first part that failed.
func (s *Server) Run(ctx context.Context) error {
	// Stages stop in reverse order, each when those above it have ended: what
	// emits events before what carries them.
	bottom := newStage("events")
	if s.webhook != nil {
		bottom.run("webhook", s.webhook.Run)
	}
	bottom.run("journal", s.journal.Run)
	bottom.run("audit log", s.audit.Run)
	bottom.run("index of recordings", s.catalog.Run)
	if s.scrape != nil {
		bottom.run("metrics", s.serveMetrics)
	}

	storage := newStage("recordings")
	if s.recorder != nil {
		storage.run("recorder", s.recorder.Run)
		storage.run("exports", s.exports.Run)
		storage.run("alarms of recordings", s.alarm.Run)
	}
	if s.uploads != nil {
		storage.run("uploads", s.uploads.Run)
	}

	middle := newStage("media")
	for _, p := range s.network.ports {
		middle.run("port mux", p.Run)
	}
	if s.turn != nil {
		middle.run("turn", s.turn.Run)
	}

	top := newStage("calls")
	top.run("sfu", s.sfu.Run)
	top.run("signaling", s.signals.Run)
	if s.tunnel != nil {
		top.run("tunnel", s.tunnel.Run)
	}

	s.runHTTP(middle)
	close(s.ready)
	s.log.Info("ready", "http", s.network.httpAddress, "media", s.network.media.Advertised())

	stages := []*stage{top, middle, storage, bottom}
	err := firstFailure(ctx, stages)
	s.drain()
	for _, st := range stages {
		if st == middle {
			s.closeHTTP()
		}
		err = errors.Join(err, st.stop())
		if st == middle {
			err = errors.Join(err, s.network.close())
		}
	}
	return errors.Join(err, s.data.close())
}

// drain tells clients that the server stops and refuses new ones.
func (s *Server) drain() {
	s.draining.Do(func() {
		close(s.drained)
		s.signals.Drain()
	})
}

// runHTTP serves on every port: without TLS everything over plain HTTP, with
// TLS everything over HTTPS and a redirect over plain HTTP.
func (s *Server) runHTTP(st *stage) {
	run := func(name string, server *http.Server, l net.Listener) {
		st.run(name, func(context.Context) error {
			if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		})
	}
	if s.certs == nil {
		for _, l := range s.network.http {
			run("http", s.http, l)
		}
		return
	}
	st.run("certificate", s.certs.Run)
	for i := range s.network.https {
		run("https", s.http, s.network.https[i])
		run("http redirect", s.plain, s.network.http[i])
	}
}

func (s *Server) closeHTTP() {
	ctx, cancel := context.WithTimeout(context.Background(), httpTimeout)
	defer cancel()
	for _, server := range []*http.Server{s.http, s.plain} {
		if server == nil {
			continue
		}
		if err := server.Shutdown(ctx); err != nil {
			_ = server.Close()
		}
	}
}

// readyError says why the server takes no calls just now.
func (s *Server) readyError() error {
	select {
	case <-s.drained:
		return errors.New("the server is stopping")
	default:
	}
	select {
	case <-s.ready:
		return nil
	default:
		return errors.New("the server is starting")
	}
}

// Address is where HTTP is served: the first address of http.address.
func (s *Server) Address() string { return s.network.httpAddress }

// version of the software, for manifests.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

// abandon closes what New has opened when it can't go on.
func (s *Server) abandon() {
	if s.scrapeListener != nil {
		_ = s.scrapeListener.Close()
	}
	if s.network != nil {
		_ = s.network.close()
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if s.catalog != nil {
		_ = s.catalog.Run(ended) // closes the database, as the others do
	}
	if s.journal != nil {
		_ = s.journal.Run(ended)
	}
	if s.audit != nil {
		_ = s.audit.Run(ended)
	}
	if s.data != nil {
		_ = s.data.close()
	}
}
