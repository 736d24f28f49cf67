package main

import (
	"context"
	"errors"
	"flag"
	"fmt"

	"consilium/internal/auth"
	"consilium/internal/certs"
	"consilium/internal/config"
)

func checkCommand() command {
	return command{
		name:    "check",
		args:    "[--config FILE] [--dev] [--KEY VALUE ...]",
		summary: "validate the configuration and print it",
		details: `  --config FILE   configuration to check
  --dev           check what serve --dev would use
  --example       print the commented example of a configuration and nothing else
  --KEY VALUE     any key of the configuration

Prints every key with its value; secrets are not shown. Certificate files are
read and compared with http.public_url. Problems go to stderr, one a line, with
their remedy. Checks of ports, clock and disk are not built yet.
`,
		define: func(fs *flag.FlagSet, args []string) action {
			s := &source{serve: true}
			s.define(fs)
			example := fs.Bool("example", false, "")
			s.keys = config.RegisterFlags(fs, args)
			return func(_ context.Context, p *program, args []string) error {
				if err := noArguments("check", args); err != nil {
					return err
				}
				if *example {
					_, err := p.stdout.Write(config.Example())
					return err
				}
				return check(p, s)
			}
		},
	}
}

// check loads the configuration and the keys and certificates it names.
func check(p *program, src *source) error {
	cfg, err := src.load(p)
	if err == nil {
		_, err = auth.New(auth.Config{Keys: cfg.Keys})
	}
	if err == nil && cfg.TLS.Mode == config.TLSFiles {
		_, err = certs.NewFiles(certs.FilesConfig{CertFile: cfg.TLS.CertFile, KeyFile: cfg.TLS.KeyFile, Host: cfg.HTTP.PublicHost()})
	}
	var problems config.Problems
	if errors.As(err, &problems) {
		// The last one is printed by program.run, like every error.
		for _, problem := range problems[:len(problems)-1] {
			fmt.Fprintf(p.stderr, "consilium: %s\n", problem)
		}
		return problems[len(problems)-1:]
	}
	if err != nil {
		return err
	}
	return cfg.Dump(p.stdout)
}
