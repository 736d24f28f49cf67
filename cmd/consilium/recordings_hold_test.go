package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestARecordingOnHoldIsErasedOnlyAfterItsRelease(t *testing.T) {
	dir, _ := recordedCall(t, nil)
	run := func(want int, says string, args ...string) {
		t.Helper()
		r := consilium(t, nil, append([]string{"recordings"}, append(args, "--data", dir)...)...)
		if r.code != want || !strings.Contains(r.stdout+r.stderr, says) {
			t.Errorf("%v: exit code %d, %q %q", args, r.code, r.stdout, r.stderr)
		}
	}
	run(2, "--reason", "hold", "c_1")
	run(1, "no recording", "hold", "nobody", "--reason", "case 7")
	run(0, "on hold", "hold", "c_1", "--reason", "case 7")
	run(1, "legal hold", "erase", "c_1", "--reason", "no space")
	run(0, "", "export", "c_1", "--out", t.TempDir())
	run(0, "", "verify", "c_1")
	run(0, "not on hold", "release", "c_1", "--reason", "case closed")
	run(0, "is erased", "erase", "c_1", "--reason", "no space")
	run(1, "has been erased", "erase", "c_1", "--reason", "again")
	run(0, "erased", "list")
	run(0, "erased: 1", "verify")
	entries, err := os.ReadDir(filepath.Join(dir, "recordings", "c_1"))
	if err != nil || len(entries) != 1 || entries[0].Name() != "tombstone.json" {
		t.Errorf("left are %v, %v", entries, err)
	}
	log := consilium(t, nil, "audit", "--data", dir)
	for _, action := range []string{"recording.held", "recording.exported", "recording.verified", "recording.released", "recording.erased"} {
		if !strings.Contains(log.stdout, action) {
			t.Errorf("the audit log lacks %s: %s", action, log.stdout)
		}
	}
}
