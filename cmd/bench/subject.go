package main

import (
	"debug/buildinfo"
	"fmt"
	"os"
	"runtime"
	"strings"
)

// subject is what was measured, and where.
type subject struct {
	commit, goVersion string
	bytes             int64 // of the program
	cores             int
	cpu, kernel       string
	load              string // of the machine before the run, by others; average of a minute
}

// describe reads what the program's file and the kernel say.
func describe(binary string) (subject, error) {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return subject{}, fmt.Errorf("read the program's build information: %w", err)
	}
	s := subject{commit: "unknown", goVersion: info.GoVersion, cores: runtime.NumCPU(), cpu: "unknown", kernel: "unknown", load: "unknown"}
	changed := ""
	for _, setting := range info.Settings {
		switch {
		case setting.Key == "vcs.revision":
			s.commit = setting.Value[:min(len(setting.Value), 12)]
		case setting.Key == "vcs.modified" && setting.Value == "true":
			changed = ", with changes not committed"
		}
	}
	s.commit += changed
	file, err := os.Stat(binary)
	if err != nil {
		return subject{}, fmt.Errorf("measure the program's file: %w", err)
	}
	s.bytes = file.Size()
	// A system without these files is described by "unknown".
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		s.cpu = cpuModel(string(text))
	}
	if text, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		s.kernel = strings.TrimSpace(string(text))
	}
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		s.load, _, _ = strings.Cut(string(text), " ")
	}
	return s, nil
}

// cpuModel finds the model in /proc/cpuinfo, which not every architecture says.
func cpuModel(cpuinfo string) string {
	for line := range strings.Lines(cpuinfo) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}
