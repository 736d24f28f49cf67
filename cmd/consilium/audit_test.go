package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"consilium/internal/audit"
)

// ran runs the binary and returns what it printed.
func ran(t *testing.T, args ...string) string {
	t.Helper()
	r := consilium(t, nil, args...)
	if r.code != exitDone {
		t.Fatalf("%q: %+v", args, r)
	}
	return r.stdout
}

func TestTheAuditLogIsShownCheckedAndWrittenByCommands(t *testing.T) {
	dir := t.TempDir()
	p := &program{environ: []string{"SUDO_USER=olga"}}
	for _, id := range []string{"one", "two", "one"} {
		if err := p.note(t.Context(), dir, audit.Entry{Action: audit.Verified, Recording: id}); err != nil {
			t.Fatal(err)
		}
	}
	shown := ran(t, "audit", "--data", dir)
	if strings.Count(shown, "recording.verified") != 3 || !strings.Contains(shown, "olga as ") || !strings.Contains(shown, "(command)") {
		t.Errorf("shown:\n%s", shown)
	}
	for limit, want := range map[string]int{"1": 1, "2": 2, "0": 2} {
		var entries []audit.Entry
		out := ran(t, "audit", "--data", dir, "--json", "--recording", "one", "--limit", limit)
		if err := json.Unmarshal([]byte(out), &entries); err != nil || len(entries) != want || entries[0].Recording != "one" {
			t.Errorf("limit %s: %v, %s", limit, err, out)
		}
	}
	if out := ran(t, "audit", "--data", dir, "--after", "3"); strings.Contains(out, "verified") {
		t.Errorf("after the last:\n%s", out)
	}
	if out := ran(t, "audit", "--data", dir, "--verify"); !strings.HasPrefix(out, "ok: 3 entries, the last has the hash ") {
		t.Errorf("verify says %q", out)
	}
}

func TestNoAuditLogIsMadeWhereThereIsNone(t *testing.T) {
	dir := t.TempDir()
	if r := consilium(t, nil, "audit", "--data", dir); r.code != exitFailed || !strings.Contains(r.stderr, "no audit log in ") {
		t.Errorf("%+v", r)
	}
	if err := (&program{}).note(t.Context(), filepath.Join(dir, "missing"), audit.Entry{Action: audit.Verified}); err == nil {
		t.Error("a log was begun in a directory that is not there")
	}
	if r := consilium(t, nil, "recordings", "reindex", "--data", filepath.Join(dir, "missing")); r.code != exitFailed {
		t.Errorf("%+v", r)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("there is %v, %v", left, err)
	}
	if r := consilium(t, nil, "audit", "--data", dir, "--limit", "-1"); r.code != exitUsage {
		t.Errorf("%+v", r)
	}
}
