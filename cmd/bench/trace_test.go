package main

import (
	"testing"
	"time"
)

func TestSystemCallsAreCountedBySecond(t *testing.T) {
	got, err := parseCalls([]byte(`% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 52.63    0.000010           1        10         2 futex
 47.37    0.000009           4         2           fdatasync
------ ----------- ----------- --------- --------- ----------------
100.00    0.000019           1        12         2 total
`), 2*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got["futex"] != 5 || got["fdatasync"] != 1 || got.all() != 6 || got.named("fsync", "fdatasync") != 1 {
		t.Errorf("got %v", got)
	}
	if _, err := parseCalls([]byte(" 52.63    0.000010           1        many         2 futex\n"), time.Second); err == nil {
		t.Error("a count that is no number is taken")
	}
	var none systemCalls
	if none.all() != 0 {
		t.Error("nothing counted is not 0")
	}
}
