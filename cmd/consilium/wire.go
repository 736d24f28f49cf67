package main

import (
	"log/slog"

	"consilium/internal/config"
	whole "consilium/internal/server"
)

// newServer makes the real server; tests of serve put another in its place.
func newServer(cfg config.Config, log *slog.Logger) (server, error) {
	return whole.New(cfg, log)
}
