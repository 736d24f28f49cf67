package main

import (
	"os"
	"strings"
	"testing"
	"time"
)

func TestCPUTimeIsReadWhateverTheProgramIsCalled(t *testing.T) {
	rest := " S 1 2 3 0 -1 4194560 100 0 0 0 250 50 7 7 20 0 9 0 100 0 0"
	tests := map[string]struct {
		line string
		want time.Duration
		fail bool
	}{
		"plain name":        {"42 (consilium)" + rest, 3 * time.Second, false},
		"name with a space": {"42 (a b) c)" + rest, 3 * time.Second, false},
		"empty":             {"", 0, true},
		"no name":           {"42 S 1 2 3", 0, true},
		"cut off":           {"42 (consilium) S 1 2", 0, true},
		"not a number":      {strings.Replace("42 (consilium)"+rest, "250", "x", 1), 0, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := parseStat([]byte(tt.line))
			if (err != nil) != tt.fail || got != tt.want {
				t.Errorf("got %v, %v; want %v", got, err, tt.want)
			}
		})
	}
}

func TestAFieldOfProcIsFoundByItsWholeName(t *testing.T) {
	const text = "VmRSSX:\t1 kB\nVmRSS:\t  2048 kB\nEmpty:\nWord:\tkB\n"
	tests := map[string]struct {
		want float64
		fail bool
	}{
		"VmRSS": {2048, false},
		"Vm":    {0, true},
		"Empty": {0, true},
		"Word":  {0, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := procField([]byte(text), name)
			if (err != nil) != tt.fail || got != tt.want {
				t.Errorf("got %v, %v; want %v", got, err, tt.want)
			}
		})
	}
}

func TestTheKernelTellsTheUsageOfAProcess(t *testing.T) {
	before, err := readUsage(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for spin := time.Now(); time.Since(spin) < 50*time.Millisecond; {
	}
	if err := os.WriteFile(t.TempDir()+"/file", []byte("one call"), 0o600); err != nil {
		t.Fatal(err)
	}
	after, err := readUsage(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if after.cpu <= before.cpu || after.writeCalls <= before.writeCalls || after.rss < 1<<20 {
		t.Errorf("before %+v, after %+v", before, after)
	}
	if _, err := readUsage(-1); err == nil {
		t.Error("a process that does not exist has a usage")
	}
}

func TestTheModelOfTheCPUIsNamedWhereItIsKnown(t *testing.T) {
	if got := cpuModel("processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\n"); got != "Some CPU @ 2 GHz" {
		t.Errorf("got %q", got)
	}
	if got := cpuModel("processor\t: 0\n"); got != "unknown" {
		t.Errorf("got %q", got)
	}
}
