package main

import (
	"strings"
	"testing"
)

func TestMetricsWithoutLabelsAreRead(t *testing.T) {
	got, err := parseMetrics(strings.NewReader(`# HELP a_total Counts: 5
# TYPE a_total counter
a_total 12
b{kind="x y"} 3
c 1.5e+06

`))
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got["a_total"] != 12 || got["c"] != 1.5e6 {
		t.Errorf("got %v", got)
	}
	if _, err := parseMetrics(strings.NewReader("a_total many\n")); err == nil {
		t.Error("a value that is no number is taken")
	}
}

func TestTheAddressOfAChildIsInItsFirstLine(t *testing.T) {
	tests := map[string]struct {
		line, want string
		fail       bool
	}{
		"server":    {"doctor: http://127.0.0.1:4711/r/demo#token\n", "http://127.0.0.1:4711", false},
		"forwarder": {"forwarder: http://127.0.0.1:1\n", "http://127.0.0.1:1", false},
		"ended":     {"", "", true},
		"no URL":    {"doctor: who\n", "", true},
		"bad URL":   {"doctor: http://[\n", "", true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := baseURL(tt.line)
			if (err != nil) != tt.fail || got != tt.want {
				t.Errorf("got %q, %v; want %q", got, err, tt.want)
			}
		})
	}
}
