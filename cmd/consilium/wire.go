package main

import (
	"log/slog"

	"consilium/internal/config"
	internalserver "consilium/internal/server"
)

// newServer makes the real server; tests replace it.
func newServer(cfg config.Config, log *slog.Logger) (server, error) {
	s, err := internalserver.New(cfg, log)
	if err != nil {
		return nil, err // not s: a nil pointer is no nil interface
	}
	return s, nil
}
