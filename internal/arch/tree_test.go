package arch

import (
	"os/exec"
	"strings"
	"testing"
)

// tracked lists the files that git tracks, or would: not those it ignores.
func tracked(t *testing.T) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	cmd.Dir = root(t)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("git ls-files: %v", err)
	}
	files := strings.Split(strings.Trim(string(out), "\x00"), "\x00")
	if len(files) < 20 {
		t.Fatalf("git knows only %d files", len(files))
	}
	return files
}
