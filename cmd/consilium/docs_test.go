package main

import (
	"flag"
	"os"
	"slices"
	"strings"
	"testing"

	"consilium/internal/auth"
	"consilium/internal/config"
)

// ownFlags returns the flags of a command that aren't keys of the
// configuration, which config.example.yaml documents.
func ownFlags(cmd command) []string {
	if cmd.define == nil {
		return nil
	}
	fs := flag.NewFlagSet(cmd.name, flag.ContinueOnError)
	cmd.define(fs, nil)
	var names []string
	fs.VisitAll(func(f *flag.Flag) {
		if !slices.Contains(config.Paths(), f.Name) || f.Name == "data" && cmd.name != "check" {
			names = append(names, f.Name)
		}
	})
	return names
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestEveryCommandAndFlagIsDocumented(t *testing.T) {
	sections := strings.Split(read(t, "../../docs/reference/cli.md"), "\n## ")
	for _, cmd := range commands() {
		i := slices.IndexFunc(sections, func(s string) bool { return strings.HasPrefix(s, "`consilium "+cmd.name+"`\n") })
		if i < 0 {
			t.Errorf("docs/reference/cli.md has no section `consilium %s`", cmd.name)
			continue
		}
		for _, name := range ownFlags(cmd) {
			if !strings.Contains(sections[i], "`--"+name) {
				t.Errorf("docs/reference/cli.md: section `consilium %s` lacks `--%s`", cmd.name, name)
			}
			if !strings.Contains(cmd.help(), "--"+name) {
				t.Errorf("the help of %s lacks --%s", cmd.name, name)
			}
		}
	}
	for _, section := range sections[1:] {
		name, isCommand := strings.CutPrefix(section, "`consilium ")
		name, _, _ = strings.Cut(name, "`")
		if isCommand && !slices.ContainsFunc(commands(), func(c command) bool { return c.name == name }) {
			t.Errorf("docs/reference/cli.md documents %q, which does not exist", name)
		}
	}
}

func TestEveryRoleGrantAndReasonIsDocumented(t *testing.T) {
	text := read(t, "../../docs/reference/tokens.md")
	var words []string
	for _, role := range auth.Roles() {
		words = append(words, string(role))
		grants, _ := auth.DefaultGrants(role)
		words = append(words, grants.Names()...)
	}
	for _, reason := range []auth.Reason{
		auth.ReasonMissing, auth.ReasonMalformed, auth.ReasonWrongAlgorithm, auth.ReasonUnknownKey, auth.ReasonBadSignature,
		auth.ReasonMissingClaim, auth.ReasonBadClaim, auth.ReasonExpired, auth.ReasonNotYetValid, auth.ReasonRevoked, auth.ReasonWrongRole,
	} {
		words = append(words, string(reason))
	}
	for _, word := range words {
		if !strings.Contains(text, "`"+word+"`") {
			t.Errorf("docs/reference/tokens.md lacks `%s`", word)
		}
	}
}
