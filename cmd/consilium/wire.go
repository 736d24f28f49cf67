package main

import (
	"log/slog"

	"consilium/internal/config"
	"consilium/internal/server"
)

// newServer makes the real server; tests of serve put another in its place.
func newServer(cfg config.Config, log *slog.Logger) (runner, error) {
	return server.New(cfg, log)
}
