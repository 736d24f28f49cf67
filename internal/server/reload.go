package server

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"consilium/internal/auth"
	"consilium/internal/certs"
	"consilium/internal/config"
)

// reloadable is a part of the configuration that can change while the server
// runs. Parts don't depend on each other: one that can't be used keeps what it
// had, and the others change all the same.
type reloadable struct {
	name  string
	keys  []string // what it takes over: keys, or sections that end in a dot
	apply func(config.Config) error
}

// reloadables returns all parts.
func (s *Server) reloadables() []reloadable {
	parts := []reloadable{
		{"keys", []string{"keys."}, func(c config.Config) error { return s.auth.Reload(auth.Config{Keys: c.Keys}) }},
		{"limits", []string{"limits."}, s.reloadLimits},
		{"TURN secrets", []string{
			"turn.secret", "turn.secret_file", "turn.previous_secret", "turn.previous_secret_file",
		}, s.reloadTURN},
		{"object store", []string{
			"recording.s3.access_key", "recording.s3.secret_key", "recording.s3.secret_key_file",
		}, s.reloadStore},
		// The logger is the program's, which sets its level.
		{"log level", []string{"log.level"}, func(config.Config) error { return nil }},
	}
	if s.certs != nil {
		parts = append(parts, reloadable{"certificate", []string{"tls.cert_file", "tls.key_file"}, s.reloadCertificate})
	}
	return parts
}

// Reload takes over what can change while the server runs. The error joins one
// for every part that could not be used and stays as it was. What differs from
// the configuration of the start and needs a restart is logged.
func (s *Server) Reload(cfg config.Config) error {
	var errs []error
	parts := s.reloadables()
	for _, part := range parts {
		if err := part.apply(cfg); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", part.name, err))
		}
	}
	if waiting := needRestart(parts, config.Changed(s.cfg, cfg)); len(waiting) > 0 {
		s.log.Warn("changed in the configuration and needs a restart", "keys", strings.Join(waiting, ", "))
	}
	return errors.Join(errs...)
}

// needRestart returns the keys that no part takes over.
func needRestart(parts []reloadable, changed []string) []string {
	return slices.DeleteFunc(slices.Clone(changed), func(key string) bool {
		return slices.ContainsFunc(parts, func(p reloadable) bool {
			return slices.ContainsFunc(p.keys, func(k string) bool {
				return k == key || strings.HasSuffix(k, ".") && strings.HasPrefix(key, k)
			})
		})
	})
}

func (s *Server) reloadLimits(c config.Config) error {
	s.signals.SetJoinRate(c.Limits.JoinsPerSecond)
	return nil
}

// reloadCertificate reads the files again, or those that are named now. Where
// the certificate comes from changes with a restart only.
func (s *Server) reloadCertificate(c config.Config) error {
	files, ok := s.certs.(*certs.Files)
	if !ok || c.TLS.Mode != config.TLSFiles {
		return s.certs.Reload()
	}
	return files.ReloadFrom(c.TLS.CertFile, c.TLS.KeyFile)
}
