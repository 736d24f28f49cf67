// Command lab holds calls in every network of the network lab and prints what
// came of them as Markdown. `make lab` runs it; it needs root.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"consilium/internal/netlab"
	"consilium/internal/netlab/trial"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if len(os.Args) == 2 && os.Args[1] == "agent" { // one end of a call, in a namespace
		err = trial.RunAgent(ctx, os.Stdin, os.Stdout)
	} else {
		err = run(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	only := flag.String("only", "", "networks to try, with commas between; all if empty")
	clients := flag.String("clients", "pion,chromium,firefox", "clients to try")
	pion := flag.Int("pion", 10, "attempts with a Pion client, for each network")
	browsers := flag.Int("browsers", 3, "attempts with each browser, for each network")
	into := flag.String("into", "", "document whose measured part is replaced; without it the table is only printed")
	resume := flag.Bool("resume", false, "go on with a run of the same commit: try only what is missing, and what -only names once more")
	record := flag.String("record", filepath.Join(os.TempDir(), "consilium-lab.jsonl"), "file that keeps results for -resume")
	keep := flag.String("keep", "", "directory for the servers' logs; a temporary one if empty")
	flag.Parse()
	if err := netlab.Check(); err != nil {
		return err
	}
	m := trial.Matrix{Attempts: map[trial.Kind]int{}, Dir: *keep, Root: ".", Progress: os.Stderr,
		Record: *record, Resume: *resume, Again: *only != ""}
	for name := range strings.SplitSeq(*clients, ",") {
		kind := trial.Kind(name)
		switch kind {
		case trial.Pion:
			m.Attempts[kind] = *pion
		case trial.Chromium, trial.Firefox:
			m.Attempts[kind] = *browsers
		default:
			return fmt.Errorf("no client %q; there are pion, chromium and firefox", name)
		}
		m.Kinds = append(m.Kinds, kind)
	}
	m.Profiles = netlab.Profiles()
	if *only != "" {
		m.Profiles = nil
		for name := range strings.SplitSeq(*only, ",") {
			p, err := netlab.FindProfile(name)
			if err != nil {
				return err
			}
			m.Profiles = append(m.Profiles, p)
		}
	}
	if *into == "" {
		return m.Run(ctx, os.Stdout)
	}
	var table bytes.Buffer
	err := m.Run(ctx, io.MultiWriter(os.Stdout, &table))
	if ctx.Err() != nil {
		return err // half a table is no result
	}
	return errors.Join(err, replaceMeasured(*into, table.Bytes()))
}
