package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"text/tabwriter"

	"consilium/internal/audit"
	"consilium/internal/seal"
	"consilium/recorder"
)

// exportOptions are the flags of recordings export.
type exportOptions struct {
	recordingsFlags
	out, identity string
	merged        bool
}

func recordingsExportCommand() command {
	return command{
		name: "recordings export", args: "ID --out DIR [--merged] [--data DIR] [--identity FILE] [--json]",
		summary: "copy a recording out, opened where a key opens it",
		details: recordingsFlagsHelp + identityFlagHelp + `  --out DIR    directory for the files; it is made if need be
  --merged     besides, each participant's sound and pictures in one file, which
               is not evidence

Writes the files of all participants and the signed manifest, each compared with
its checksum. What no key opens is copied sealed, with its keys. Every export is
in the audit log; if that can't be written nothing is exported.
`,
		define: func(flags *flag.FlagSet, _ []string) action {
			o := &exportOptions{}
			o.define(flags)
			flags.StringVar(&o.out, "out", "", "")
			flags.BoolVar(&o.merged, "merged", false, "")
			flags.StringVar(&o.identity, "identity", "", "")
			return func(ctx context.Context, p *program, args []string) error {
				if len(args) != 1 || o.out == "" {
					return usagef("recordings export: want one ID and --out DIR; `consilium recordings list` prints the ids")
				}
				return p.export(ctx, o, args[0])
			}
		},
	}
}

func (p *program) export(ctx context.Context, o *exportOptions, id string) error {
	dir := o.dir(p)
	sealer, err := identity(o.identity)
	if err != nil {
		return err
	}
	if _, err := recorder.Show(dir, id); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("no recording %q in %s; `consilium recordings list` prints those there are", id, dir)
	} else if err != nil {
		return err
	}
	if err := os.MkdirAll(o.out, 0o700); err != nil {
		return fmt.Errorf("make --out: %w", err)
	}
	// Before the first byte: who saw what must not depend on how it ended.
	entry := audit.Entry{Action: audit.Exported, Recording: id, Data: map[string]any{"opened": o.identity != "", "merged": o.merged}}
	if err := p.noteAsOwner(ctx, dir, entry); err != nil {
		return fmt.Errorf("not exported, for it can't be noted: %w", err)
	}
	copied, err := recorder.Copy(ctx, dir, id, o.out, sealer)
	if err != nil {
		return err
	}
	if o.merged {
		merged, err := recorder.CopyMerged(ctx, dir, id, o.out, sealer)
		if errors.Is(err, seal.ErrNoIdentity) {
			return fmt.Errorf("%w: name the archive's key with --identity FILE to merge", err)
		}
		if err != nil {
			return err
		}
		copied = append(copied, merged...)
	}
	if o.json {
		return printJSON(p.stdout, copied)
	}
	tw := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	for _, c := range copied {
		state := ""
		if c.Sealed {
			state = "sealed: open it with age -d"
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\n", c.File, size(c.Bytes), state)
	}
	return flush(tw)
}
