package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"consilium/internal/config"
)

// Exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// program is one run of the command line: what it reads from the outside and
// where it writes. Commands write results to stdout and everything else to
// stderr.
type program struct {
	stdout, stderr io.Writer
	environ        []string
	newServer      func(config.Config, *slog.Logger) (runner, error)
}

// usageError is a mistake in the command line itself.
type usageError struct{ text string }

func (e usageError) Error() string { return e.text }

func usagef(format string, args ...any) error { return usageError{fmt.Sprintf(format, args...)} }

// run executes the command line and returns the exit code. An error becomes one
// line on stderr.
func (p *program) run(ctx context.Context, args []string) int {
	cmd, rest, err := lookUp(args)
	if err == nil {
		err = p.execute(ctx, cmd, rest)
	}
	if err == nil {
		return exitDone
	}
	fmt.Fprintf(p.stderr, "consilium: %s\n", oneLine(err))
	if usage := (usageError{}); errors.As(err, &usage) {
		return exitUsage
	}
	return exitFailed
}

// execute parses the flags of a command and runs it.
func (p *program) execute(ctx context.Context, cmd command, args []string) error {
	fs := flag.NewFlagSet(cmd.name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	action := cmd.define(fs, args)
	positional, err := parse(fs, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		_, err := io.WriteString(p.stdout, cmd.help())
		return err
	case err != nil:
		return usagef("%s: %s; see `consilium help %s`", cmd.name, plainFlagError(err), cmd.name)
	}
	return action(ctx, p, positional)
}

// parse parses flags that may stand before, between and after the other
// arguments, which it returns. What follows "--" is no flag.
func parse(fs *flag.FlagSet, args []string) ([]string, error) {
	var positional []string
	for {
		if err := fs.Parse(args); err != nil {
			return nil, err
		}
		rest := fs.Args()
		if parsed := args[:len(args)-len(rest)]; len(parsed) > 0 && parsed[len(parsed)-1] == "--" {
			return append(positional, rest...), nil
		}
		if len(rest) == 0 {
			return positional, nil
		}
		positional, args = append(positional, rest[0]), rest[1:]
	}
}

// plainFlagError spells flags the way the documentation does.
func plainFlagError(err error) string {
	return strings.NewReplacer(
		"flag provided but not defined: -", "there is no flag --",
		"flag needs an argument: -", "a value is missing after --",
		" for flag -", " for flag --",
	).Replace(err.Error())
}

// noArguments is an error if a command that takes none got some.
func noArguments(name string, args []string) error {
	if len(args) > 0 {
		return usagef("%s: unexpected argument %q; see `consilium help %s`", name, args[0], name)
	}
	return nil
}

// oneLine joins the lines of an error, as [errors.Join] makes them.
func oneLine(err error) string {
	return strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}
