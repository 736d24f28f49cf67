package check

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// wantBuffer is what the server asks for each socket of media: the packets
	// of a tenth of a second at some hundred participants.
	wantBuffer = 4 << 20
	// wantFiles are the descriptors of some hundred participants over TCP, with
	// their recordings.
	wantFiles = 4096
	// wantMemory is what a server for some dozen calls needs.
	wantMemory = 512 << 20
)

// kernel looks at the limits of this machine and of this process.
func (c *checker) kernel() []Finding {
	var findings []Finding
	for _, name := range []string{"rmem_max", "wmem_max"} {
		// A machine that is no Linux, or hides it, says nothing.
		if text, err := os.ReadFile("/proc/sys/net/core/" + name); err == nil {
			findings = append(findings, judgeBuffer("net.core."+name, strings.TrimSpace(string(text))))
		}
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err == nil {
		findings = append(findings, judgeFiles(limit.Cur))
	}
	if f, err := os.Open("/proc/meminfo"); err == nil {
		if available, ok := availableMemory(f); ok {
			findings = append(findings, judgeMemory(available))
		}
		_ = f.Close() // read only
	}
	return findings
}

func judgeBuffer(name, text string) Finding {
	const check = "udp buffers"
	size, err := strconv.ParseUint(text, 10, 64)
	if err != nil || size >= wantBuffer {
		return ok(check, fmt.Sprintf("%s is %s bytes", name, text))
	}
	return warning(check, fmt.Sprintf("%s is %s bytes: packets are lost when many speak at once", name, text),
		fmt.Sprintf("put \"%s=%d\" into /etc/sysctl.d/consilium.conf and run: sysctl --system", name, wantBuffer))
}

func judgeFiles(limit uint64) Finding {
	const check = "open files"
	words := fmt.Sprintf("at most %d at once", limit)
	if limit < wantFiles {
		return warning(check, words+": every person over TCP and every recorded track needs one", "in the systemd unit: LimitNOFILE=65536; by hand: ulimit -n 65536")
	}
	return ok(check, words)
}

// availableMemory reads proc_meminfo(5).
func availableMemory(r io.Reader) (uint64, bool) {
	for lines := bufio.NewScanner(r); lines.Scan(); {
		var kibibytes uint64
		if n, _ := fmt.Sscanf(lines.Text(), "MemAvailable: %d kB", &kibibytes); n == 1 {
			return kibibytes << 10, true
		}
	}
	return 0, false
}

func judgeMemory(available uint64) Finding {
	const check = "memory"
	words := fmt.Sprintf("%d MiB available", available>>20)
	if available < wantMemory {
		return warning(check, words, "a server for some dozen calls needs 512 MiB")
	}
	return ok(check, words)
}
