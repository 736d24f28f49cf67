// Command bench measures what a call costs: it starts the real program as a
// process of its own, puts synthetic participants on it, and prints a Markdown
// report: CPU, allocations and latency by forwarded packet, memory and
// goroutines by participant, the cost of recording by track.
//
// Absolute figures depend on the machine and its mood. So every round also
// measures, right after one another, a floor (the least work that forwards a
// packet: rewrite, seal, send) and the same calls through a forwarder made of
// Pion's defaults, and the report gives ratios.
//
// Read plan.go for what is run, client.go for who takes part, measure.go for
// what is read, report.go for what is printed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// patience bounds a whole run, whatever hangs.
const patience = 10 * time.Minute

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// referenceCommand is the argument that makes a process the forwarder of
// Pion's defaults instead.
const referenceCommand = "pion-default"

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) == 1 && args[0] == referenceCommand {
		return runReference(ctx, stdout)
	}
	p := plan{progress: stderr}
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.SetOutput(stderr)
	binary := fs.String("binary", "", "the `program` to measure; by default it is built, static and stripped")
	fs.IntVar(&p.rounds, "rounds", 3, "how often everything is measured, in turns")
	fs.DurationVar(&p.warmUp, "warm-up", 2*time.Second, "time before each measurement")
	fs.DurationVar(&p.window, "window", 10*time.Second, "time of each measurement")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() > 0 || p.rounds < 1 || p.warmUp < 0 || p.window < time.Second {
		return errors.New("usage: bench [-binary FILE] [-rounds N] [-warm-up D] [-window D], at least 1 round and 1s; see bench -help")
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	dir, err := os.MkdirTemp("", "consilium-bench-")
	if err != nil {
		return fmt.Errorf("make a directory for the run: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }() // what is left is in the temporary directory
	p.dir, p.binary = dir, *binary
	if p.binary == "" {
		if p.binary, err = build(ctx, dir); err != nil {
			return err
		}
	}
	subject, err := describe(p.binary)
	if err != nil {
		return err
	}
	results, err := p.run(ctx)
	if err != nil {
		return err
	}
	return writeReport(stdout, subject, p, results)
}
