package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// stopTime is how long a child may take to end after SIGTERM: a server
// finishes its recordings.
const stopTime = 30 * time.Second

// child is a process that is measured. It is apart from the clients, so that
// its CPU and memory are its own.
type child struct {
	cmd    *exec.Cmd
	base   string // http://host:port
	stderr *bytes.Buffer
	output sync.WaitGroup
}

// build compiles the program as it is shipped.
func build(ctx context.Context, dir string) (string, error) {
	binary := filepath.Join(dir, "consilium")
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=auto", "-trimpath", "-ldflags", "-s -w", "-o", binary, "consilium/cmd/consilium")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the program: %w\n%s", err, out)
	}
	return binary, nil
}

func startPlain(ctx context.Context, p plan) (*child, error)     { return startServer(ctx, p, false) }
func startRecording(ctx context.Context, p plan) (*child, error) { return startServer(ctx, p, true) }

// startServer starts the program on loopback, on ports of the kernel's choice,
// with the key that everybody knows.
func startServer(ctx context.Context, p plan, recording bool) (*child, error) {
	data, err := os.MkdirTemp(p.dir, "data-")
	if err != nil {
		return nil, fmt.Errorf("make data directory: %w", err)
	}
	return startChild(ctx, p.binary, "serve", "--dev", "--data", data,
		"--http.address=127.0.0.1:0", "--media.udp_port=0", "--media.tcp_port=0", "--turn.udp_port=0",
		"--media.interfaces.include=lo", "--media.families=ipv4", "--log.level=warn",
		"--recording.enabled="+strconv.FormatBool(recording))
}

// startReference starts this program as the forwarder of Pion's defaults.
func startReference(ctx context.Context, _ plan) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	return startChild(ctx, self, referenceCommand)
}

// startChild starts a program and waits for its first line, "name: URL".
func startChild(ctx context.Context, name string, args ...string) (*child, error) {
	c := &child{cmd: exec.CommandContext(ctx, name, args...), stderr: &bytes.Buffer{}}
	c.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "TMPDIR=" + os.TempDir()}
	c.cmd.Cancel = func() error { return c.cmd.Process.Signal(syscall.SIGTERM) }
	c.cmd.WaitDelay = stopTime
	c.cmd.Stderr = c.stderr
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	first := make(chan string, 1)
	c.output.Go(func() {
		line, _ := bufio.NewReader(stdout).ReadString('\n') // an early end is an empty line
		first <- line
		_, _ = io.Copy(io.Discard, stdout) // ends with the process
	})
	if c.base, err = baseURL(<-first); err != nil {
		return nil, errors.Join(err, c.stop())
	}
	return c, nil
}

// baseURL takes scheme and host out of a line "name: URL".
func baseURL(line string) (string, error) {
	_, text, ok := strings.Cut(strings.TrimSpace(line), ": ")
	u, err := url.Parse(text)
	if !ok || err != nil || u.Host == "" {
		return "", fmt.Errorf("the child's first line is %q, not a name and a URL", line)
	}
	return u.Scheme + "://" + u.Host, nil
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// stop ends the process and waits for it.
func (c *child) stop() error {
	_ = c.cmd.Process.Signal(syscall.SIGTERM) // an error means that it has ended: Wait says why
	force := time.AfterFunc(stopTime, func() { _ = c.cmd.Process.Kill() })
	defer force.Stop()
	c.output.Wait()
	if err := c.cmd.Wait(); err != nil {
		return fmt.Errorf("%s ended: %w\n%s", filepath.Base(c.cmd.Path), err, c.stderr.Bytes())
	}
	return nil
}
