package contract

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"consilium/internal/testserver"
)

// binary is the program under test, built by TestMain.
var binary string

func TestMain(m *testing.M) {
	os.Exit(testserver.Main(m, func(path string) { binary = path }))
}

// result is what a command did.
type result struct {
	code           int
	stdout, stderr string
}

// command runs the binary to its end, in an empty directory and with nothing
// in the environment but env.
func command(t *testing.T, env []string, args ...string) result {
	t.Helper()
	cmd := exec.CommandContext(within(t, 30*time.Second), binary, args...)
	cmd.Dir, cmd.Env = t.TempDir(), append([]string{"PATH=" + os.Getenv("PATH")}, env...)
	return finish(t, cmd)
}

// finish runs a command to its end.
func finish(t *testing.T, cmd *exec.Cmd) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// wantOneLine checks that an error is one line that says what to do.
func wantOneLine(t *testing.T, r result, code int, words ...string) {
	t.Helper()
	if r.code != code || r.stdout != "" {
		t.Errorf("exit code %d and output %q, want %d and none; %s", r.code, r.stdout, code, r.stderr)
	}
	line, rest, _ := strings.Cut(r.stderr, "\n")
	if rest != "" || !strings.HasPrefix(line, "consilium: ") {
		t.Errorf("standard error is %q, want one line that begins with consilium:", r.stderr)
	}
	for _, word := range words {
		if !strings.Contains(line, word) {
			t.Errorf("%q does not say %q", line, word)
		}
	}
}
