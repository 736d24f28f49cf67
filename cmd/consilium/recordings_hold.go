package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"

	"consilium/internal/audit"
	"consilium/recorder"
)

// retentionFlags are the flags of the commands that hold, release and erase.
type retentionFlags struct {
	recordingsFlags
	reason string
}

const reasonHelp = `  --reason TEXT  why; it is kept with the recording and in the audit log
`

func recordingsHoldCommand() command {
	return retentionCommand("hold", "keep a recording from being erased (legal hold)", audit.Held,
		func(p *program, f *retentionFlags, id string) error {
			hold, err := recorder.Hold(f.dir(p), id, p.account(), f.reason)
			if err != nil {
				return err
			}
			if f.json {
				return printJSON(p.stdout, hold)
			}
			_, err = fmt.Fprintf(p.stdout, "%s is on hold since %s by %s: %s\n", id, localTime(hold.At), hold.By, hold.Reason)
			return err
		})
}

func recordingsReleaseCommand() command {
	return retentionCommand("release", "end the legal hold of a recording", audit.Released,
		func(p *program, f *retentionFlags, id string) error {
			if err := recorder.Release(f.dir(p), id); err != nil {
				return err
			}
			if f.json {
				return printJSON(p.stdout, map[string]string{"id": id})
			}
			_, err := fmt.Fprintf(p.stdout, "%s is not on hold\n", id)
			return err
		})
}

func recordingsEraseCommand() command {
	return retentionCommand("erase", "remove a recording for ever; its tombstone stays", audit.Erased,
		func(p *program, f *retentionFlags, id string) error {
			stone, err := recorder.Erase(f.dir(p), id, p.account(), f.reason)
			if err != nil {
				return err
			}
			if f.json {
				return printJSON(p.stdout, stone)
			}
			_, err = fmt.Fprintf(p.stdout, "%s is erased, %d files\n", id, len(stone.Files))
			return err
		})
}

// retentionCommand is a command that does something to one recording, noted
// before it is done.
func retentionCommand(name, summary string, noted audit.Action, do func(*program, *retentionFlags, string) error) command {
	return command{
		name: "recordings " + name, args: "ID --reason TEXT [--data DIR] [--json]", summary: summary,
		details: reasonHelp + recordingsFlagsHelp,
		define: func(flags *flag.FlagSet, _ []string) action {
			f := &retentionFlags{}
			f.define(flags)
			flags.StringVar(&f.reason, "reason", "", "")
			return func(ctx context.Context, p *program, args []string) error {
				if len(args) != 1 {
					return usagef("recordings %s: want one ID; `consilium recordings list` prints them", name)
				}
				if f.reason == "" {
					return usagef("recordings %s: say why with --reason", name)
				}
				e := audit.Entry{Action: noted, Recording: args[0], Data: map[string]any{"reason": f.reason}}
				if err := p.noteAsOwner(ctx, f.dir(p), e); err != nil {
					return err
				}
				err := do(p, f, args[0])
				if err != nil {
					e.Outcome = audit.Failed
					err = errors.Join(retentionError(f, p, args[0], err), p.noteAsOwner(ctx, f.dir(p), e))
				}
				return err
			}
		},
	}
}

// retentionError says what to do about a refusal.
func retentionError(f *retentionFlags, p *program, id string, err error) error {
	switch {
	case errors.Is(err, recorder.ErrHeld):
		return fmt.Errorf("%s is on legal hold; `consilium recordings release` ends that", id)
	case errors.Is(err, recorder.ErrUnfinished):
		return fmt.Errorf("%s is not finished; wait for its end, or see `consilium help recordings repair`", id)
	case errors.Is(err, recorder.ErrErased):
		return fmt.Errorf("%s has been erased", id)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("no recording %q in %s; `consilium recordings list` prints those there are", id, f.dir(p))
	default:
		return err
	}
}
