package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// clockTick is the unit of /proc/PID/stat: USER_HZ, which is 100 on every
// architecture that Go supports.
const clockTick = 10 * time.Millisecond

// usage is what the kernel knows of a process.
type usage struct {
	cpu        time.Duration // user and system, since its start
	rss        float64       // resident bytes
	writeCalls float64       // write(2) and its kin since its start; sends on sockets do not count
	written    float64       // bytes on their way to disk since its start
}

// readUsage asks the kernel about a process.
func readUsage(pid int) (u usage, err error) {
	dir := "/proc/" + strconv.Itoa(pid) + "/"
	stat, err := os.ReadFile(dir + "stat")
	if err != nil {
		return u, fmt.Errorf("read CPU time: %w", err)
	}
	if u.cpu, err = parseStat(stat); err != nil {
		return u, err
	}
	status, err := os.ReadFile(dir + "status")
	if err != nil {
		return u, fmt.Errorf("read memory: %w", err)
	}
	kilobytes, err := procField(status, "VmRSS")
	if err != nil {
		return u, err
	}
	u.rss = kilobytes * 1024
	io, err := os.ReadFile(dir + "io")
	if err != nil {
		return u, fmt.Errorf("read I/O counts: %w", err)
	}
	if u.writeCalls, err = procField(io, "syscw"); err != nil {
		return u, err
	}
	u.written, err = procField(io, "write_bytes")
	return u, err
}

// parseStat returns the CPU time of a line of /proc/PID/stat. The name of the
// program, in parentheses, may hold anything.
func parseStat(line []byte) (time.Duration, error) {
	end := bytes.LastIndexByte(line, ')')
	fields := strings.Fields(string(line[end+1:]))
	const user, system = 14 - 3, 15 - 3 // numbered from 1 in proc(5); the first here is 3
	if end < 0 || len(fields) <= system {
		return 0, fmt.Errorf("read CPU time: %d fields after the name in %q", len(fields), line)
	}
	var ticks int64
	for _, text := range []string{fields[user], fields[system]} {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read CPU time: %w", err)
		}
		ticks += n
	}
	return time.Duration(ticks) * clockTick, nil
}

// procField returns the first number of a line "name: number ...".
func procField(text []byte, name string) (float64, error) {
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		key, value, _ := strings.Cut(lines.Text(), ":")
		if fields := strings.Fields(value); key == name && len(fields) > 0 {
			n, err := strconv.ParseFloat(fields[0], 64)
			if err != nil {
				return 0, fmt.Errorf("read %s: %w", name, err)
			}
			return n, nil
		}
	}
	return 0, fmt.Errorf("read %s: it is missing", name)
}
