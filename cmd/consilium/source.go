package main

import (
	"flag"
	"slices"
	"strings"

	"consilium/internal/config"
)

// source is where a command takes its configuration from: the flags --config
// and --dev, and the environment.
type source struct {
	file string
	dev  bool
	keys *config.Flags // flags of single keys; nil where a command has none

	serve bool // the command serves, or checks what would
}

// define puts --config and --dev on fs.
func (s *source) define(fs *flag.FlagSet) {
	fs.StringVar(&s.file, "config", "", "")
	fs.BoolVar(&s.dev, "dev", false, "")
}

// load reads the configuration. A command line that names no source at all is
// answered with what to name.
func (s *source) load(p *program) (config.Config, error) {
	fromEnvironment := slices.ContainsFunc(p.environ, func(v string) bool { return strings.HasPrefix(v, "CONSILIUM_") })
	if s.file == "" && !s.dev && !fromEnvironment && (s.keys == nil || s.keys.Empty()) {
		return config.Config{}, usagef("no configuration: name a file with --config FILE, or try it out with --dev")
	}
	return config.Load(config.Sources{Dev: s.dev, File: s.file, Environ: p.environ, Flags: s.keys, Serve: s.serve})
}
