package check

import (
	"bufio"
	"encoding/hex"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// process holds a port.
type process struct {
	id   int
	name string // of the program
}

// isOurs reports whether it is a consilium.
func (p process) isOurs() bool { return p.name == "consilium" }

// holders finds out who holds a port, by /proc (proc(5)). Of other users'
// processes only root learns.
type holders struct{ byInode map[string]process }

// of returns the processes that hold a socket, as far as they can be seen.
func (h *holders) of(s socket) []process {
	if h.byInode == nil {
		h.byInode = socketOwners("/proc")
	}
	var found []process
	for _, family := range []string{"", "6"} {
		f, err := os.Open("/proc/net/" + s.network + family)
		if err != nil {
			continue // a machine without that family
		}
		for _, inode := range inodes(f, s) {
			if p, known := h.byInode[inode]; known && !slices.Contains(found, p) {
				found = append(found, p)
			}
		}
		_ = f.Close() // read only
	}
	return found
}

// inodes reads a table of sockets and returns those that stand in the way of
// one: on the same port, and on its address or on all of them.
func inodes(table io.Reader, s socket) []string {
	host, portText, err := net.SplitHostPort(s.address)
	if err != nil {
		return nil
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil
	}
	want, errWant := netip.ParseAddr(host)
	var found []string
	for lines := bufio.NewScanner(table); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 10 {
			continue
		}
		local, ok := parseLocal(fields[1])
		const listening = "0A"
		if !ok || local.Port() != uint16(port) || s.network == "tcp" && fields[3] != listening {
			continue
		}
		anywhere := errWant != nil || want.IsUnspecified() || local.Addr().IsUnspecified()
		if anywhere || local.Addr() == want.Unmap() {
			found = append(found, fields[9])
		}
	}
	return found
}

// parseLocal reads "0100007F:1F90": groups of four bytes, each in the order of
// this machine, which is little-endian on all that we build for.
func parseLocal(text string) (netip.AddrPort, bool) {
	address, portText, _ := strings.Cut(text, ":")
	raw, err := hex.DecodeString(address)
	port, errPort := strconv.ParseUint(portText, 16, 16)
	if err != nil || errPort != nil || len(raw) != 4 && len(raw) != 16 {
		return netip.AddrPort{}, false
	}
	for group := range slices.Chunk(raw, 4) {
		slices.Reverse(group)
	}
	a, _ := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(a.Unmap(), uint16(port)), true
}

// socketOwners returns which process has which socket, by inode.
func socketOwners(proc string) map[string]process {
	found := map[string]process{}
	links, err := filepath.Glob(filepath.Join(proc, "[0-9]*", "fd", "*"))
	if err != nil {
		return found // the pattern is right
	}
	for _, link := range links {
		target, err := os.Readlink(link)
		if err != nil {
			continue // closed meanwhile, or somebody else's
		}
		inode, isSocket := strings.CutPrefix(target, "socket:[")
		if !isSocket {
			continue
		}
		dir := filepath.Dir(filepath.Dir(link))
		id, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			continue // not reached: the pattern has digits only at its begin
		}
		name, err := os.ReadFile(filepath.Join(dir, "comm"))
		if err != nil {
			continue // gone
		}
		found[strings.TrimSuffix(inode, "]")] = process{id, strings.TrimSpace(string(name))}
	}
	return found
}
