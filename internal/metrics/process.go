package metrics

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// RegisterProcess registers what the kernel says that this process costs.
func RegisterProcess(r *Registry) {
	r.CounterFunc("consilium_process_cpu_seconds_total", "CPU time of the process, user and system.", func() float64 {
		var u unix.Rusage
		if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
			return 0
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
	})
	r.GaugeFunc("consilium_process_resident_memory_bytes", "Memory of the process that is not swapped out.", residentMemory)
}

// residentMemory reads proc_pid_status(5); 0 where there is none.
func residentMemory() float64 {
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); {
		var kibibytes float64
		if n, _ := fmt.Sscanf(lines.Text(), "VmRSS: %f kB", &kibibytes); n == 1 {
			return kibibytes * 1024
		}
	}
	return 0
}
