package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// traceTime is how long the system calls of a child are counted. Counting slows
// it, so it is done after everything else was measured.
const traceTime = 5 * time.Second

// systemCalls are calls a second, by name; nil when nobody could count them.
type systemCalls map[string]float64

// named sums some of them up.
func (s systemCalls) named(names ...string) (sum float64) {
	for _, name := range names {
		sum += s[name]
	}
	return sum
}

// all sums all of them up.
func (s systemCalls) all() (sum float64) {
	for _, n := range s {
		sum += n
	}
	return sum
}

// traceCalls counts the system calls of a process with strace. Without strace,
// or where it may not trace, it returns nil.
func traceCalls(ctx context.Context, dir string, pid int) (systemCalls, error) {
	path, err := exec.LookPath("strace")
	if errors.Is(err, exec.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("find strace: %w", err)
	}
	summary := filepath.Join(dir, "calls-"+strconv.Itoa(pid))
	ctx, cancel := context.WithTimeout(ctx, 2*traceTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "-f", "-qq", "-c", "-o", summary, "-p", strconv.Itoa(pid))
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // it writes its summary then
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start strace: %w", err)
	}
	waited := wait(ctx, traceTime)
	took := time.Since(began)
	_ = cmd.Process.Signal(os.Interrupt) // it may have ended: Wait says so
	_ = cmd.Wait()                       // it ends by the signal
	text, err := os.ReadFile(summary)
	if err != nil || waited != nil {
		return nil, waited // it may not trace
	}
	return parseCalls(text, took)
}

// parseCalls reads the table that strace -c writes:
//
//	% time     seconds  usecs/call     calls    errors syscall
//	 52.63    0.000010           1        10         2 futex
func parseCalls(text []byte, took time.Duration) (systemCalls, error) {
	calls := systemCalls{}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 5 || fields[len(fields)-1] == "total" || fields[0] == "%" || strings.HasPrefix(fields[0], "-") {
			continue
		}
		n, err := strconv.ParseFloat(fields[3], 64)
		if err != nil {
			return nil, fmt.Errorf("read the summary of strace: %w in %q", err, lines.Text())
		}
		calls[fields[len(fields)-1]] = n / took.Seconds()
	}
	return calls, nil
}
