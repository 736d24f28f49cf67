package main

import (
	"bufio"
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// freePorts are flags that let the kernel choose every port.
var freePorts = []string{
	"--http.address=127.0.0.1:0", "--media.udp_port=0", "--media.tcp_port=0", "--turn.udp_port=0",
}

func TestTheBinaryServesUntilSIGTERM(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	cmd := exec.CommandContext(t.Context(), binary, append([]string{"serve", "--dev", "--data", data}, freePorts...)...)
	cmd.Dir = t.TempDir()
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	cmd.WaitDelay = 10 * time.Second
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	printed := make(chan string, 10)
	go func() { // ends with the process, which the test's context ends
		defer close(printed)
		for scanner := bufio.NewScanner(stdout); scanner.Scan(); {
			printed <- scanner.Text()
		}
	}()
	for _, who := range []string{"doctor", "patient"} {
		line := wait(t, "the link of the "+who, printed)
		page, token, ok := strings.Cut(strings.TrimPrefix(line, who+": "), "#")
		base, isRoom := strings.CutSuffix(page, "/r/demo")
		if !ok || !isRoom {
			t.Fatalf("got %q, want %s: BASE/r/demo#TOKEN", line, who)
		}
		for _, url := range []string{page, base + "/readyz"} {
			if status := get(t, url); status != http.StatusOK {
				t.Errorf("GET %s: status %d", url, status)
			}
		}
		if _, err := devAuthority(t).VerifyJoin(token); err != nil {
			t.Error(err)
		}
	}
	if info, err := os.Stat(data); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("data directory: %v, %v", info, err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if line, more := <-printed; more {
		t.Errorf("printed a third line: %q", line)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("exit after SIGTERM: %v; stderr: %s", err, stderr.String())
	}
}

func TestAFilterThatLeavesNoAddressStopsTheStart(t *testing.T) {
	got := consilium(t, nil, append([]string{"serve", "--dev", "--media.networks.exclude=0.0.0.0/0,::/0"}, freePorts...)...)
	if got.code != exitFailed || got.stdout != "" {
		t.Errorf("got %+v, want exit code %d and no links", got, exitFailed)
	}
	if last := lastLine(got.stderr); !strings.HasPrefix(last, "consilium: ") || !strings.Contains(last, "media.networks") {
		t.Errorf("got %q, want the remedy in one line", last)
	}
}

// get returns the status of a GET.
func get(t *testing.T, url string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	response, err := (&http.Client{Transport: transport, Timeout: 10 * time.Second}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := response.Body.Close(); err != nil {
		t.Error(err)
	}
	return response.StatusCode
}

func lastLine(text string) string {
	text = strings.TrimSpace(text)
	return text[strings.LastIndexByte(text, '\n')+1:]
}
