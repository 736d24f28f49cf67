package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"text/tabwriter"
	"time"

	"consilium/internal/config"
	"consilium/recorder"
)

// recordingsFlags are the flags of every `consilium recordings` command.
type recordingsFlags struct {
	data string
	json bool
}

func (f *recordingsFlags) define(fs *flag.FlagSet) {
	fs.StringVar(&f.data, "data", "", "")
	fs.BoolVar(&f.json, "json", false, "")
}

const recordingsFlagsHelp = `  --data DIR   the server's data directory; default $CONSILIUM_DATA, else
               /var/lib/consilium (serve --dev keeps its data in ./data)
  --json       print JSON instead of text
`

// dir returns the data directory.
func (f *recordingsFlags) dir(p *program) string {
	if f.data != "" {
		return f.data
	}
	for _, variable := range p.environ {
		if dir, ok := strings.CutPrefix(variable, config.EnvName("data")+"="); ok && dir != "" {
			return dir
		}
	}
	return config.Default().Data
}

func recordingsListCommand() command {
	return command{
		name: "recordings list", args: "[--data DIR] [--json]",
		summary: "list the recorded calls, oldest first",
		details: recordingsFlagsHelp,
		define: func(flags *flag.FlagSet, _ []string) action {
			f := &recordingsFlags{}
			f.define(flags)
			return func(_ context.Context, p *program, args []string) error {
				if err := noArguments("recordings list", args); err != nil {
					return err
				}
				list, err := recorder.List(f.dir(p))
				if err != nil {
					return dataError(err)
				}
				if f.json {
					return printJSON(p.stdout, list)
				}
				return printSummaries(p.stdout, list)
			}
		},
	}
}

func recordingsShowCommand() command {
	return command{
		name: "recordings show", args: "ID [--data DIR] [--json]",
		summary: "show what was recorded of a call",
		details: recordingsFlagsHelp + "\nWith --json it prints the manifest of the recording.\n",
		define: func(flags *flag.FlagSet, _ []string) action {
			f := &recordingsFlags{}
			f.define(flags)
			return func(_ context.Context, p *program, args []string) error {
				if len(args) != 1 {
					return usagef("recordings show: want one ID; `consilium recordings list` prints them")
				}
				manifest, err := recorder.Show(f.dir(p), args[0])
				if errors.Is(err, fs.ErrNotExist) {
					return fmt.Errorf("no recording %q in %s; `consilium recordings list` prints those there are", args[0], f.dir(p))
				}
				if err != nil {
					return err
				}
				if f.json {
					return printJSON(p.stdout, manifest)
				}
				return printManifest(p.stdout, manifest)
			}
		},
	}
}

// dataError says what to do about a data directory that isn't there.
func dataError(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w; name the server's data directory with --data DIR", err)
	}
	return err
}

func printJSON(w io.Writer, value any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	if err := e.Encode(value); err != nil {
		return fmt.Errorf("print JSON: %w", err)
	}
	return nil
}

func printSummaries(w io.Writer, list []recorder.Summary) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "ID\tROOM\tSTARTED\tLENGTH\tPEOPLE\tFILES\tSIZE\tSTATE")
	for _, s := range list {
		if s.Problem != "" {
			fmt.Fprintf(tw, "%s\t-\t-\t-\t-\t-\t-\tunreadable: %s\n", s.ID, s.Problem)
			continue
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%d\t%d\t%s\t%s\n", s.ID, s.Room, localTime(s.Started),
			length(s.Started, s.Ended), s.Participants, s.Files, size(s.Bytes), s.State)
	}
	return flush(tw)
}

func printManifest(w io.Writer, m recorder.Manifest) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "call\t%s\nroom\t%s\n", m.Call, m.Room)
	if m.ExternalID != "" {
		fmt.Fprintf(tw, "external id\t%q\n", m.ExternalID)
	}
	fmt.Fprintf(tw, "started\t%s\nlength\t%s\nstate\t%s\n", localTime(m.Started), length(m.Started, m.Ended), m.State)
	if m.Signature != nil {
		fmt.Fprintf(tw, "signed\tyes; `consilium recordings verify` checks it\n")
	}
	if m.State == recorder.Locked {
		fmt.Fprintf(tw, "locked\ta crash left it sealed; `consilium recordings repair --identity FILE` finishes it\n")
	}
	if err := flush(tw); err != nil {
		return err
	}
	fmt.Fprintln(tw, "\nFILE\tPARTICIPANT\tSOURCE\tCODEC\tFROM\tLENGTH\tSIZE\tLOST\tSTATE")
	for _, s := range m.Segments {
		lost := "0"
		if total := s.Packets + s.PacketsLost; s.PacketsLost > 0 && total > 0 {
			lost = fmt.Sprintf("%.2f%%", 100*float64(s.PacketsLost)/float64(total))
		}
		state := string(s.State)
		if s.Sealed != nil {
			state += ", sealed"
		}
		if s.Error != "" {
			state += " " + string(s.Error)
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%.3fs\t%.3fs\t%s\t%s\t%s\n", s.File, s.Participant, s.Source, s.Codec,
			s.T0MS/1000, float64(s.DurationMS)/1000, size(s.Bytes), lost, state)
	}
	return flush(tw)
}

func flush(tw *tabwriter.Writer) error {
	if err := tw.Flush(); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}

func localTime(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05") }

// length returns how long a call was, in seconds' resolution.
func length(started time.Time, ended *time.Time) string {
	if ended == nil {
		return "-"
	}
	return ended.Sub(started).Round(time.Second).String()
}

// size returns bytes with a binary prefix.
func size(bytes int64) string {
	for _, unit := range []struct {
		name  string
		bytes int64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if bytes >= unit.bytes {
			return fmt.Sprintf("%.1f %s", float64(bytes)/float64(unit.bytes), unit.name)
		}
	}
	return fmt.Sprintf("%d B", bytes)
}
