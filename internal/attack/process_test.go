package attack

import (
	"encoding/hex"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// clockTick is the unit of the kernel's processor times: USER_HZ, 100 on every
// Linux that Go runs on.
const clockTick = 10 * time.Millisecond

func (c *child) proc(name string) string {
	c.t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", c.Cmd.Process.Pid, name))
	if err != nil {
		c.t.Fatal(err)
	}
	return string(data)
}

// cpu is the processor time the server has used.
func (c *child) cpu() time.Duration {
	c.t.Helper()
	stat := c.proc("stat")
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:]) // from the third field on
	var ticks int
	for _, f := range fields[11:13] { // utime and stime, proc_pid_stat(5)
		n, err := strconv.Atoi(f)
		if err != nil {
			c.t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * clockTick
}

// memory is what the server has resident, in bytes.
func (c *child) memory() int {
	c.t.Helper()
	pages, err := strconv.Atoi(strings.Fields(c.proc("statm"))[1])
	if err != nil {
		c.t.Fatal(err)
	}
	return pages * os.Getpagesize()
}

// descriptors counts the open files of the server.
func (c *child) descriptors() int { return len(c.links()) }

// links are what the descriptors of the server lead to.
func (c *child) links() []string {
	c.t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", c.Cmd.Process.Pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		c.t.Fatal(err)
	}
	var links []string
	for _, e := range entries {
		if to, err := os.Readlink(dir + "/" + e.Name()); err == nil { // closed meanwhile otherwise
			links = append(links, to)
		}
	}
	return links
}

// sockets counts the server's own UDP sockets, its TCP listeners, and the TCP
// connections that it has made itself: those from another port than its own.
type sockets struct{ udp, listening, dialled int }

func (c *child) sockets() sockets {
	c.t.Helper()
	ours := map[string]bool{}
	for _, to := range c.links() {
		if inode, ok := strings.CutPrefix(to, "socket:["); ok {
			ours[strings.TrimSuffix(inode, "]")] = true
		}
	}
	var s sockets
	for _, table := range []string{"udp", "udp6", "tcp", "tcp6"} {
		for line := range strings.Lines(c.proc("net/" + table)) {
			f := strings.Fields(line)
			if len(f) < 10 || !ours[f[9]] {
				continue
			}
			const listen = "0A"
			switch {
			case strings.HasPrefix(table, "udp"):
				s.udp++
			case f[3] == listen:
				s.listening++
			case c.portOf(f[1]) != int(c.tcp.Port()):
				s.dialled++
			}
		}
	}
	return s
}

// portOf reads the port of an address in the kernel's tables.
func (c *child) portOf(address string) int {
	c.t.Helper()
	_, text, _ := strings.Cut(address, ":")
	port, err := hex.DecodeString(text)
	if err != nil || len(port) != 2 {
		c.t.Fatalf("address %q of the kernel: %v", address, err)
	}
	return int(port[0])<<8 | int(port[1])
}
