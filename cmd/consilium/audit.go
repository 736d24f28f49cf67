package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"

	"consilium/internal/audit"
	"consilium/internal/server"
)

// auditFlags are the flags of `consilium audit`.
type auditFlags struct {
	recordingsFlags
	recording string
	after     int64
	limit     int
	verify    bool
}

func auditCommand() command {
	return command{
		name: "audit", args: "[--recording ID] [--after N] [--limit N] [--verify] [--data DIR] [--json]",
		summary: "show who did what to recordings, or check that nobody changed it",
		details: `  --recording ID  entries about one recording
  --after N       entries after number N
  --limit N       how many entries; default 100, 0: all
  --verify        recompute the chain of hashes, and print its length and last
                  hash: whoever keeps that elsewhere sees later if entries were
                  cut off
` + recordingsFlagsHelp,
		define: func(flags *flag.FlagSet, _ []string) action {
			f := &auditFlags{}
			f.define(flags)
			flags.StringVar(&f.recording, "recording", "", "")
			flags.Int64Var(&f.after, "after", 0, "")
			flags.IntVar(&f.limit, "limit", 100, "")
			flags.BoolVar(&f.verify, "verify", false, "")
			return f.run
		},
	}
}

func (f *auditFlags) run(ctx context.Context, p *program, args []string) error {
	if err := noArguments("audit", args); err != nil {
		return err
	}
	if f.limit < 0 || f.after < 0 {
		return usagef("audit: --after and --limit can't be below zero; see `consilium help audit`")
	}
	store, err := audit.OpenExisting(filepath.Join(f.dir(p), audit.FileName))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("no audit log in %s; name the server's data directory with --data DIR", f.dir(p))
	}
	if err != nil {
		return dataError(err)
	}
	if f.verify {
		err = f.check(ctx, p.stdout, store)
	} else {
		err = f.list(ctx, p.stdout, store)
	}
	return errors.Join(err, store.Close())
}

// check recomputes the chain.
func (f *auditFlags) check(ctx context.Context, w io.Writer, store *audit.Store) error {
	head, err := store.Verify(ctx)
	if err != nil {
		return err
	}
	if f.json {
		return printJSON(w, head)
	}
	_, err = fmt.Fprintf(w, "ok: %d entries, the last has the hash %s\n", head.Rows, head.Hash)
	return err
}

// list prints entries, page by page.
func (f *auditFlags) list(ctx context.Context, w io.Writer, store *audit.Store) error {
	all := []audit.Entry{}
	after := f.after
	for f.limit == 0 || len(all) < f.limit {
		page := audit.MaxLimit
		if f.limit > 0 {
			page = min(page, f.limit-len(all))
		}
		entries, err := store.Entries(ctx, audit.Filter{Recording: f.recording, After: after, Limit: page})
		if err != nil {
			return err
		}
		all = append(all, entries...)
		if len(entries) < page {
			break
		}
		after = entries[len(entries)-1].Sequence
	}
	if f.json {
		return printJSON(w, all)
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "N\tTIME\tACTION\tOUTCOME\tWHO\tFROM\tRECORDING\tFILE")
	for _, e := range all {
		who := e.Actor
		if e.Role != "" {
			who += " (" + e.Role + ")"
		}
		fmt.Fprintf(tw, "%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", e.Sequence, localTime(e.Time), e.Action, e.Outcome,
			dash(strings.TrimSpace(who)), dash(e.Address), dash(e.Recording), dash(e.File))
	}
	return flush(tw)
}

// dash stands for what there is not.
func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// note writes into the audit log of a data directory what somebody does at the
// command line. On an error the command must not do it.
func (p *program) note(ctx context.Context, dir string, e audit.Entry) error {
	if _, err := os.Stat(dir); err != nil {
		return dataError(err) // no log is begun where there is no data
	}
	store, err := audit.Open(filepath.Join(dir, audit.FileName))
	if err != nil {
		return fmt.Errorf("%w; what is done to recordings must be noted: run this as the user of the server", err)
	}
	e.Actor, e.Role = p.account(), audit.RoleCommand
	return errors.Join(store.Append(ctx, e), store.Close())
}

// account is who runs this program; with sudo, who asked for it.
func (p *program) account() string {
	name := "uid " + strconv.Itoa(os.Getuid())
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	for _, variable := range p.environ {
		if by, ok := strings.CutPrefix(variable, "SUDO_USER="); ok && by != "" {
			return by + " as " + name
		}
	}
	return name
}

func recordingsReindexCommand() command {
	return command{
		name: "recordings reindex", args: "[--data DIR] [--json]",
		summary: "make the index of recordings again from their manifests",
		details: recordingsFlagsHelp + "\nThe server does so by itself where the index is missing or old.\n",
		define: func(flags *flag.FlagSet, _ []string) action {
			f := &recordingsFlags{}
			f.define(flags)
			return func(ctx context.Context, p *program, args []string) error {
				if err := noArguments("recordings reindex", args); err != nil {
					return err
				}
				n, err := server.Reindex(ctx, f.dir(p))
				if err != nil {
					return dataError(err)
				}
				if f.json {
					return printJSON(p.stdout, map[string]int{"recordings": n})
				}
				_, err = fmt.Fprintf(p.stdout, "%d recordings\n", n)
				return err
			}
		},
	}
}
