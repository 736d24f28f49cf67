package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"strings"
)

// command is one entry of the table. Its name may have two words.
type command struct {
	name    string
	args    string // as in the usage line
	summary string // one line
	details string // the rest of the help: flags and examples
	// define puts the command's flags on fs and returns what it does once they
	// are parsed; args are the arguments before parsing.
	define func(fs *flag.FlagSet, args []string) action
}

// action runs a command with the arguments that are left after the flags.
type action func(ctx context.Context, p *program, args []string) error

// commands returns the table, in the order of the help.
func commands() []command {
	return []command{
		serveCommand(),
		tokenCommand(),
		recordingsListCommand(),
		recordingsShowCommand(),
		recordingsHoldCommand(),
		recordingsReleaseCommand(),
		recordingsEraseCommand(),
		recordingsReindexCommand(),
		recordingsFetchCommand(),
		auditCommand(),
		recordingsVerifyCommand(),
		recordingsKeyCommand(),
		recordingsExportCommand(),
		recordingsRepairCommand(),
		probeCommand(),
		loadCommand(),
		checkCommand(),
		caInitCommand(),
		caIssueCommand(),
		versionCommand(),
	}
}

// lookUp finds the command of a command line and its arguments.
func lookUp(args []string) (command, []string, error) {
	if len(args) == 0 {
		return command{}, nil, usagef("a command is missing; `consilium help` lists them")
	}
	switch args[0] {
	case "help", "-h", "-help", "--help":
		return helpCommand(), args[1:], nil
	}
	if cmd, words, ok := find(args); ok {
		return cmd, args[words:], nil
	}
	for _, cmd := range commands() {
		if strings.HasPrefix(cmd.name, args[0]+" ") {
			return command{}, nil, usagef("%s needs one of its commands; see `consilium help %s`", args[0], args[0])
		}
	}
	return command{}, nil, usagef("there is no command %q; `consilium help` lists them", args[0])
}

// find returns the command that args begin with and how many words name it.
func find(args []string) (command, int, bool) {
	for _, cmd := range commands() {
		words := strings.Fields(cmd.name)
		if len(args) >= len(words) && strings.Join(args[:len(words)], " ") == cmd.name {
			return cmd, len(words), true
		}
	}
	return command{}, 0, false
}

// help returns the help of one command.
func (c command) help() string {
	text := "usage: consilium " + strings.TrimSpace(c.name+" "+c.args) + "\n\n" + c.summary + "\n"
	if c.details != "" {
		text += "\n" + c.details
	}
	return text
}

func helpCommand() command {
	return command{
		name: "help", args: "[COMMAND]", summary: "explain a command",
		define: func(*flag.FlagSet, []string) action {
			return func(_ context.Context, p *program, args []string) error {
				text, err := helpText(args)
				if err != nil {
					return err
				}
				_, err = io.WriteString(p.stdout, text)
				return err
			}
		},
	}
}

// helpText returns the help of the command, of the group of commands, or of
// everything.
func helpText(args []string) (string, error) {
	if len(args) == 0 {
		return overview(""), nil
	}
	if cmd, _, ok := find(args); ok {
		return cmd.help(), nil
	}
	if text := overview(args[0] + " "); text != "" {
		return text, nil
	}
	return "", usagef("there is no command %q; `consilium help` lists them", strings.Join(args, " "))
}

// overview lists the commands whose names begin with prefix.
func overview(prefix string) string {
	var b strings.Builder
	for _, cmd := range commands() {
		if strings.HasPrefix(cmd.name, prefix) {
			fmt.Fprintf(&b, "  %-18s %s\n", cmd.name, cmd.summary)
		}
	}
	if b.Len() == 0 {
		return ""
	}
	return "usage: consilium COMMAND ...\n\n" + b.String() +
		"\n`consilium help COMMAND` explains one. Exit codes: 0 done, 1 failed, 2 wrong usage.\n"
}
