package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"

	"consilium/internal/audit"
	"consilium/internal/seal"
	"consilium/internal/upload"
	"consilium/recorder"
)

const identityFlagHelp = `  --identity FILE  private key of age (AGE-SECRET-KEY-1...) that opens what is sealed:
               the archive's, or the server's (recording.server_key_file)
`

// identity makes what opens sealed recordings; without a file it opens none.
func identity(file string) (seal.Sealer, error) {
	sealer, err := seal.NewAge(seal.AgeConfig{IdentityFile: file})
	if err != nil {
		return nil, err
	}
	return sealer, nil
}

func recordingsVerifyCommand() command {
	return command{
		name: "recordings verify", args: "[ID...] [--data DIR] [--identity FILE] [--key FINGERPRINT] [--json]",
		summary: "check recordings against their signed manifests and the chain",
		details: recordingsFlagsHelp + identityFlagHelp + `  --key FINGERPRINT  of the public key that must have signed, as
               consilium recordings key printed it on another day; default: that in
               the data directory

Reads every file. Without an ID it also says which recordings are missing.
Exit code 1 if anything is wrong.
`,
		define: func(flags *flag.FlagSet, _ []string) action {
			f := &recordingsFlags{}
			f.define(flags)
			private := flags.String("identity", "", "")
			key := flags.String("key", "", "")
			return func(ctx context.Context, p *program, args []string) error {
				sealer, err := identity(*private)
				if err != nil {
					return err
				}
				report, err := recorder.Verify(ctx, f.dir(p), recorder.VerifyOptions{
					IDs: args, Sealer: sealer, Fingerprint: *key,
					Away: func(id string) bool { return upload.LocalRemoved(f.dir(p), id) },
				})
				if errors.Is(err, fs.ErrNotExist) {
					return fmt.Errorf("%w; `consilium recordings list --data DIR` prints those there are", err)
				}
				if err != nil {
					return err
				}
				p.noteCommand(ctx, f.dir(p), verifiedEntries(args, report))
				if f.json {
					err = printJSON(p.stdout, report)
				} else {
					err = printReport(p.stdout, report)
				}
				if err != nil {
					return err
				}
				if n := len(report.Findings); n > 0 {
					return fmt.Errorf("%d of %d things checked are wrong; keep the files as they are and compare with a backup", n, report.Recordings+report.Files)
				}
				return nil
			}
		},
	}
}

// verifiedEntries is a row of the audit log for each recording asked for, or one
// for all.
func verifiedEntries(ids []string, report recorder.Report) []audit.Entry {
	entry := audit.Entry{Action: audit.Verified, Data: map[string]any{
		"recordings": report.Recordings, "files": report.Files, "findings": len(report.Findings),
	}}
	if len(report.Findings) > 0 {
		entry.Outcome = audit.Failed
		entry.Data["first"] = report.Findings[0]
	}
	if len(ids) == 0 {
		return []audit.Entry{entry}
	}
	var entries []audit.Entry
	for _, id := range ids {
		entry.Recording = id
		entries = append(entries, entry)
	}
	return entries
}

func printReport(w io.Writer, r recorder.Report) error {
	for _, f := range r.Findings {
		name := f.Recording
		if f.File != "" {
			name += "/" + f.File
		}
		if _, err := fmt.Fprintf(w, "WRONG  %s: %s\n", name, f.Problem); err != nil {
			return fmt.Errorf("print: %w", err)
		}
	}
	trust := "the data directory's own"
	if !r.KeyTrusted {
		trust = "which nothing here vouches for: compare it with what `consilium recordings key` printed on the server"
	}
	_, err := fmt.Fprintf(w, "%d recordings, %d files, %s; %d sealed files opened\nchain: %d manifests\nsigned by: %s, %s\nunfinished: %d, erased: %d, files in another store: %d\n",
		r.Recordings, r.Files, size(r.Bytes), r.Opened, r.Links, r.Key, trust, len(r.Unfinished), len(r.Erased), r.Away)
	if err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}

func recordingsKeyCommand() command {
	return command{
		name: "recordings key", args: "[--data DIR] [--json]",
		summary: "print the public key that signs manifests",
		details: recordingsFlagsHelp + `
Keep its fingerprint somewhere else: recordings verify --key compares with it.
`,
		define: func(flags *flag.FlagSet, _ []string) action {
			f := &recordingsFlags{}
			f.define(flags)
			return func(_ context.Context, p *program, args []string) error {
				if err := noArguments("recordings key", args); err != nil {
					return err
				}
				text, fingerprint, err := recorder.PublicKey(f.dir(p))
				if errors.Is(err, fs.ErrNotExist) {
					return fmt.Errorf("no server has recorded in %s yet; name its data directory with --data DIR", f.dir(p))
				}
				if err != nil {
					return err
				}
				if f.json {
					return printJSON(p.stdout, map[string]string{"public_key": string(text), "fingerprint": fingerprint})
				}
				if _, err := fmt.Fprintf(p.stdout, "%sfingerprint: %s\n", text, fingerprint); err != nil {
					return fmt.Errorf("print: %w", err)
				}
				return nil
			}
		},
	}
}
