package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"consilium/internal/auth"
	"consilium/internal/config"
)

// runner is what serve needs of internal/server.
type runner interface {
	// Run serves until ctx is done, then drains and returns.
	Run(ctx context.Context) error
	// Ready is closed when /readyz answers 200.
	Ready() <-chan struct{}
	// Address is where it listens first for HTTP, with the real port.
	Address() string
	// Reload takes over the parts of cfg that can change while serving. The
	// error joins one for every part that stays as it was.
	Reload(cfg config.Config) error
}

const (
	devRoom    = "demo"
	devLinkTTL = 24 * time.Hour
)

func serveCommand() command {
	return command{
		name:    "serve",
		args:    "[--config FILE] [--dev] [--data DIR] [--KEY VALUE ...]",
		summary: "hold calls until SIGTERM or SIGINT",
		details: `  --config FILE   configuration; consilium check --example prints a commented one
  --dev           try it out: plain HTTP on 127.0.0.1:8080, a key everybody knows,
                  data in ./data; prints a link for a doctor and one for a patient
  --data DIR      directory of everything that is kept
  --KEY VALUE     any key of the configuration, like --log.level debug

Signals: SIGTERM and SIGINT drain (no new joins, clients are told, recordings
are finished), a second one ends at once; SIGHUP reloads keys, log level,
limits, secrets of TURN and certificate files.

examples:
  consilium serve --dev
  consilium serve --config /etc/consilium/config.yaml
`,
		define: func(fs *flag.FlagSet, args []string) action {
			s := &source{serve: true}
			s.define(fs)
			s.keys = config.RegisterFlags(fs, args)
			return func(ctx context.Context, p *program, args []string) error {
				if err := noArguments("serve", args); err != nil {
					return err
				}
				return serve(ctx, p, s)
			}
		},
	}
}

// serve runs a server until a signal or a failure ends it.
func serve(ctx context.Context, p *program, src *source) error {
	cfg, err := src.load(p)
	if err != nil {
		return err
	}
	level := new(slog.LevelVar)
	log := newLogger(p, cfg, level)

	// Signals first: one that comes while starting must not kill half a server.
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)

	srv, err := p.newServer(cfg, log)
	if err != nil {
		return err
	}
	return superviseServer(ctx, stop, srv, hangups,
		func() error { return printLinks(p, src.dev, cfg, srv.Address()) },
		func() { reload(p, src, srv, level, log) })
}

// superviseServer runs srv, calls ready once it is ready and hangup for each
// SIGHUP, and returns when Run and everything here has ended. Once ctx is done
// it calls stop, so that a second signal ends the process.
func superviseServer(ctx context.Context, stop func(), srv runner, hangups <-chan os.Signal, ready func() error, hangup func()) error {
	ended := make(chan struct{})
	var readyErr error
	var watcher sync.WaitGroup
	runCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	watcher.Go(func() {
		isReady := srv.Ready()
		for {
			select {
			case <-isReady:
				isReady = nil // once
				if readyErr = ready(); readyErr != nil {
					cancel()
				}
			case <-hangups:
				hangup()
			case <-runCtx.Done():
				stop()
				<-ended
				return
			case <-ended:
				return
			}
		}
	})
	err := srv.Run(runCtx)
	close(ended)
	watcher.Wait()
	return errors.Join(err, readyErr)
}

// newLogger returns a logger to stderr as configured; level can be changed
// while it is in use.
func newLogger(p *program, cfg config.Config, level *slog.LevelVar) *slog.Logger {
	setLevel(level, cfg)
	options := &slog.HandlerOptions{Level: level}
	if cfg.Log.Format == "json" {
		return slog.New(slog.NewJSONHandler(p.stderr, options))
	}
	return slog.New(slog.NewTextHandler(p.stderr, options))
}

func setLevel(level *slog.LevelVar, cfg config.Config) {
	if err := level.UnmarshalText([]byte(cfg.Log.Level)); err != nil {
		level.Set(slog.LevelInfo) // config knows only levels that slog knows
	}
}

// reload reads the configuration again and hands it to the server. One that is
// wrong as a whole changes nothing; a part of it that can't be used keeps what
// it had and keeps nothing else from changing.
func reload(p *program, src *source, srv runner, level *slog.LevelVar, log *slog.Logger) {
	cfg, err := src.load(p)
	if err != nil {
		log.Error("configuration not reloaded; the old one goes on", "error", err)
		return
	}
	setLevel(level, cfg)
	kept := split(srv.Reload(cfg))
	for _, err := range kept {
		log.Error("not reloaded; what was there goes on", "error", err)
	}
	log.Info("configuration reloaded", "parts_kept", len(kept))
}

// split takes an error of [errors.Join] apart.
func split(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	if err != nil {
		return []error{err}
	}
	return nil
}

// printLinks prints the two lines of serve --dev, and nothing without --dev.
func printLinks(p *program, dev bool, cfg config.Config, address string) error {
	if !dev {
		return nil
	}
	base, err := baseURL(cfg, address)
	if err != nil {
		return err
	}
	authority, err := auth.New(auth.Config{Keys: cfg.Keys})
	if err != nil {
		return err
	}
	for _, person := range []auth.Claims{
		{Subject: "doctor", Role: auth.RoleDoctor, Name: "Doctor"},
		{Subject: "patient", Role: auth.RolePatient, Name: "Patient"},
	} {
		person.Issuer, person.Room = config.DevKeyID, devRoom
		token, err := authority.Mint(person, devLinkTTL)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(p.stdout, "%s: %s\n", person.Subject, joinLink(base, devRoom, token)); err != nil {
			return fmt.Errorf("print links: %w", err)
		}
	}
	return nil
}

// baseURL returns the URL that links of --dev begin with: the public one, or
// that of the address the server listens on.
func baseURL(cfg config.Config, address string) (string, error) {
	if cfg.HTTP.PublicURL != "" {
		return cfg.HTTP.PublicURL, nil
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", fmt.Errorf("address of the server: %w", err)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	scheme := "http://"
	if cfg.TLS.Mode != config.TLSOff {
		scheme = "https://"
	}
	return scheme + net.JoinHostPort(host, port), nil
}
