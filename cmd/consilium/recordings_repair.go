package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"syscall"

	"consilium/internal/audit"
	"consilium/internal/server"
	"consilium/recorder"
)

func recordingsRepairCommand() command {
	return command{
		name: "recordings repair", args: "[ID...] [--data DIR] [--identity FILE] [--json]",
		summary: "finish what a crash left behind",
		details: recordingsFlagsHelp + identityFlagHelp + `
A server does this when it starts; what is sealed it finishes only with a key of
its own (recording.server_key_file). Stop the server first, or work on a copy of
its data directory. It may be interrupted and run again.
`,
		define: func(flags *flag.FlagSet, _ []string) action {
			f := &recordingsFlags{}
			f.define(flags)
			private := flags.String("identity", "", "")
			return func(ctx context.Context, p *program, args []string) error {
				return p.repair(ctx, f, *private, args)
			}
		},
	}
}

func (p *program) repair(ctx context.Context, f *recordingsFlags, private string, ids []string) error {
	dir := f.dir(p)
	if err := ownedByUs(dir); err != nil {
		return err
	}
	unlock, err := server.LockData(dir)
	if err != nil {
		return err
	}
	defer func() { _ = unlock() }() // the process ends anyway
	c := recorder.Config{Dir: dir, Version: strings.Fields(versionLine())[1]}
	if private != "" {
		if c.Sealer, err = identity(private); err != nil {
			return err
		}
	}
	done, err := recorder.Repair(ctx, c, ids...)
	if err != nil {
		return err
	}
	var entries []audit.Entry
	wrong := 0
	for _, r := range done {
		e := audit.Entry{Action: audit.Repaired, Recording: r.Recording, Data: map[string]any{"state": string(r.State)}}
		if r.Problem != "" {
			wrong++
			e.Outcome, e.Data["problem"] = audit.Failed, r.Problem
		}
		entries = append(entries, e)
	}
	p.noteCommand(ctx, dir, entries)
	if f.json {
		err = printJSON(p.stdout, done)
	} else {
		err = p.printRepaired(done)
	}
	if err == nil && wrong > 0 {
		err = fmt.Errorf("%d of %d recordings are not whole yet, see above", wrong, len(done))
	}
	return err
}

func (p *program) printRepaired(done []recorder.Repaired) error {
	if len(done) == 0 {
		fmt.Fprintln(p.stdout, "nothing was left unfinished")
		return nil
	}
	for _, r := range done {
		text := string(r.State)
		if r.Problem != "" {
			text += ": " + r.Problem
		}
		if _, err := fmt.Fprintf(p.stdout, "%s  %s\n", r.Recording, text); err != nil {
			return fmt.Errorf("print: %w", err)
		}
	}
	return nil
}

// ownedByUs refuses to write into somebody else's data directory: the server
// could not use what root made there.
func ownedByUs(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return dataError(err)
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && int(stat.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to another user: run this as the user of the service, like sudo -u consilium", dir)
	}
	return nil
}

// noteCommand puts rows into the audit log for what may go on without: then it
// says so.
func (p *program) noteCommand(ctx context.Context, dir string, entries []audit.Entry) {
	for _, e := range entries {
		if err := p.noteAsOwner(ctx, dir, e); err != nil {
			fmt.Fprintf(p.stderr, "consilium: not in the audit log: %v\n", err)
			return
		}
	}
}

// noteAsOwner is note by who owns the data directory: a log that root made
// could not be written by the server.
func (p *program) noteAsOwner(ctx context.Context, dir string, e audit.Entry) error {
	if err := ownedByUs(dir); err != nil {
		return err
	}
	return p.note(ctx, dir, e)
}
