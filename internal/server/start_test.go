package server

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"consilium/internal/auth"
	"consilium/internal/bot"
	"consilium/internal/config"
	"consilium/internal/leak"
)

// instance is a running server of a test.
type instance struct {
	*Server
	t   *testing.T
	URL string
	cfg config.Config
}

// start runs a server on loopback with ports of the kernel's choice, and stops
// it with the test. change may alter the configuration.
func start(t *testing.T, change func(*config.Config)) *instance {
	t.Helper()
	leak.Check(t)
	cfg := config.Dev()
	cfg.Data = t.TempDir()
	cfg.HTTP.Address = []string{"127.0.0.1:0"}
	cfg.HTTP.PublicURL = ""
	cfg.Media.TCPPort = 0
	cfg.Media.UDPPort = 0
	cfg.Media.Interfaces.Include = []string{"lo"}
	cfg.Media.Families = []string{"ipv4"}
	cfg.TURN.UDPPort = 0
	if change != nil {
		change(&cfg)
	}
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))
	s, err := New(cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("server ended with %v", err)
			}
		case <-time.After(time.Minute):
			t.Error("server did not stop within a minute")
		}
	})
	select {
	case <-s.Ready():
	case err := <-done:
		t.Fatalf("server ended before it was ready: %v", err)
	}
	return &instance{Server: s, t: t, URL: "http://" + s.Address(), cfg: cfg}
}

// token returns a join token.
func (i *instance) token(room, identity string, role auth.Role) string {
	i.t.Helper()
	token, err := i.auth.Mint(auth.Claims{Room: room, Subject: identity, Role: role, Name: identity}, time.Hour)
	if err != nil {
		i.t.Fatal(err)
	}
	return token
}

// join runs a bot until the test ends.
func (i *instance) join(room, identity string, role auth.Role, change func(*bot.Config)) *bot.Bot {
	i.t.Helper()
	b, stop := i.run(room, identity, role, change)
	i.t.Cleanup(stop)
	return b
}

// run runs a bot until stop is called, which waits for its end.
func (i *instance) run(room, identity string, role auth.Role, change func(*bot.Config)) (_ *bot.Bot, stop func()) {
	i.t.Helper()
	cfg := bot.Config{URL: i.URL, Token: i.token(room, identity, role)}
	if change != nil {
		change(&cfg)
	}
	b, err := bot.New(cfg)
	if err != nil {
		i.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = b.Run(ctx) }()
	return b, func() { cancel(); <-ended }
}

// within returns a context that ends the test's patience.
func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}
