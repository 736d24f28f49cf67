package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"

	"consilium/internal/auth"
	"consilium/internal/check"
	"consilium/internal/config"
)

// checkOptions are the flags of `consilium check`.
type checkOptions struct {
	source
	example, print, json bool
}

func checkCommand() command {
	return command{
		name:    "check",
		args:    "[--config FILE] [--dev] [--json] [--KEY VALUE ...]",
		summary: "validate configuration, ports, certificate, clock and disk",
		details: `  --config FILE   configuration to check
  --dev           check what serve --dev would use
  --json          print JSON
  --print         print every key with its value and look at nothing else
  --example       print the commented example of a configuration and nothing else
  --KEY VALUE     any key of the configuration

Run it as the user of the service, on its machine; as root it can name who holds
a port. It listens for a moment on the ports and writes one small file into the
data directory. Ports that a running consilium holds are no error. Each line has
a level, ok, warning or error, and what to do; exit code 1 if there is an error.
`,
		define: func(fs *flag.FlagSet, args []string) action {
			o := &checkOptions{source: source{serve: true}}
			o.source.define(fs)
			fs.BoolVar(&o.example, "example", false, "")
			fs.BoolVar(&o.print, "print", false, "")
			fs.BoolVar(&o.json, "json", false, "")
			o.keys = config.RegisterFlags(fs, args)
			return o.run
		},
	}
}

func (o *checkOptions) run(ctx context.Context, p *program, args []string) error {
	if err := noArguments("check", args); err != nil {
		return err
	}
	if o.example {
		_, err := p.stdout.Write(config.Example())
		return err
	}
	cfg, err := o.load(p)
	if err == nil {
		_, err = auth.New(auth.Config{Keys: cfg.Keys})
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
	if o.print {
		return cfg.Dump(p.stdout)
	}
	findings := check.Run(ctx, cfg)
	if o.json {
		err = printJSON(p.stdout, map[string]any{"findings": findings})
	} else {
		err = printFindings(p.stdout, findings)
	}
	if err != nil {
		return fmt.Errorf("print what was found: %w", err)
	}
	return firstError(findings)
}

// printFindings prints a line for each, and the advice below it.
func printFindings(w io.Writer, findings []check.Finding) error {
	for _, f := range findings {
		line := fmt.Sprintf("%-8s %s: %s\n", f.Level, f.Check, f.Words)
		if f.Advice != "" {
			line += fmt.Sprintf("%-8s   -> %s\n", "", f.Advice)
		}
		if _, err := io.WriteString(w, line); err != nil {
			return err
		}
	}
	return nil
}

// firstError is the first finding that is one, with the number of the others.
func firstError(findings []check.Finding) error {
	var all []check.Finding
	for _, f := range findings {
		if f.Level == check.Error {
			all = append(all, f)
		}
	}
	if len(all) == 0 {
		return nil
	}
	text := fmt.Sprintf("%s: %s; %s", all[0].Check, all[0].Words, all[0].Advice)
	if len(all) > 1 {
		text += fmt.Sprintf(" (and %d more, see above)", len(all)-1)
	}
	return errors.New(text)
}
