package main

import (
	"context"
	"flag"
	"fmt"
	"runtime"
	"runtime/debug"
)

func versionCommand() command {
	return command{
		name: "version", summary: "print the version and what it was built from",
		define: func(*flag.FlagSet, []string) action {
			return func(_ context.Context, p *program, args []string) error {
				if err := noArguments("version", args); err != nil {
					return err
				}
				_, err := fmt.Fprintln(p.stdout, versionLine())
				return err
			}
		},
	}
}

// versionLine comes from the build info that the Go tool embeds; a build
// without version control says (devel).
func versionLine() string {
	version, settings := "(devel)", map[string]string{}
	if info, ok := debug.ReadBuildInfo(); ok {
		if info.Main.Version != "" {
			version = info.Main.Version
		}
		for _, s := range info.Settings {
			settings[s.Key] = s.Value
		}
	}
	line := "consilium " + version
	if revision := settings["vcs.revision"]; revision != "" {
		line += " " + revision + " " + settings["vcs.time"]
		if settings["vcs.modified"] == "true" {
			line += " (modified)"
		}
	}
	return fmt.Sprintf("%s %s %s/%s", line, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
