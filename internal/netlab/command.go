package netlab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// Check reports what the lab lacks on this machine, in words that say what to
// do; nil means that labs can be built.
func Check() error {
	if os.Geteuid() != 0 {
		return errors.New("the network lab needs root: it makes network namespaces")
	}
	for tool, pkg := range map[string]string{"ip": "iproute2", "nft": "nftables", "conntrack": "conntrack", "sysctl": "procps", "tc": "iproute2"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%s is missing: apt-get install %s", tool, pkg)
		}
	}
	return nil
}

// run runs a command and returns its output; an error has what it said.
func run(ctx context.Context, name string, args ...string) (string, error) {
	return output(exec.CommandContext(ctx, name, args...))
}

func output(cmd *exec.Cmd) (string, error) {
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return string(out), nil
}
