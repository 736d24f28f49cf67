package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// someFigures are those of a second in which 100 packets became 200.
func someFigures(t *testing.T, cpu time.Duration) figures {
	t.Helper()
	at := time.Now()
	idle := sample{usage: usage{rss: 10 << 20}, inside: inside{heap: 1 << 20, goroutines: 30}}
	before := sample{at: at, usage: usage{cpu: time.Second, writeCalls: 5}, inside: inside{allocs: 1000}}
	after := sample{
		at:     at.Add(time.Second),
		usage:  usage{cpu: time.Second + cpu, rss: 12 << 20, writeCalls: 25},
		inside: inside{allocs: 1300, heap: 3 << 20, goroutines: 70},
	}
	through := delivery{sent: 100, received: 200, took: []time.Duration{2 * time.Millisecond, 4 * time.Millisecond, 6 * time.Millisecond}}
	past := delivery{received: 1, took: []time.Duration{time.Millisecond}}
	f, err := evaluate(&party{sessions: 2, tracks: 4, fanOut: 2}, idle, before, after, through, past)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestFiguresAreByPacketForwarded(t *testing.T) {
	f := someFigures(t, 10*time.Millisecond)
	if f.perSecond != 200 || f.delivered != 1 || f.cpuPerPacket != 50 || f.allocsPerPacket != 1.5 || f.cpu != 0.01 || f.writes != 20 {
		t.Errorf("got %+v", f)
	}
	if f.latency != (latency{4, 6}) || f.direct != (latency{1, 1}) {
		t.Errorf("latency %+v, directly %+v", f.latency, f.direct)
	}
}

func TestTheHeapIsReadAfterACollection(t *testing.T) {
	var scrapes atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		collections := scrapes.Add(1) / 3 // the third brings one about
		fmt.Fprintf(w, "consilium_go_alloc_objects_total 1\nconsilium_go_gc_cycles_total %d\nconsilium_go_heap_bytes 900\n"+
			"consilium_go_heap_live_bytes %d\nconsilium_go_stack_bytes 1\nconsilium_go_goroutines 1\n", collections, 300*collections)
	}))
	defer server.Close()
	look := probe{&child{base: server.URL}, server.Client()}
	got, err := look.collected(t.Context(), inside{allocs: 7})
	if err != nil || scrapes.Load() != 3 || got.heap != 300 || got.allocs != 7 {
		t.Errorf("after %d scrapes: %+v, %v", scrapes.Load(), got, err)
	}
}

func TestASceneWithoutMediaIsAnError(t *testing.T) {
	now := sample{at: time.Now()}
	if _, err := evaluate(&party{sessions: 1, fanOut: 1}, now, now, now, delivery{}, delivery{}); err == nil {
		t.Error("nothing was sent, and that is a result")
	}
}

func TestTheReportGivesMediansSpreadsAndRatios(t *testing.T) {
	r := results{scenes: map[string][]figures{}, floors: []floorFigures{{5, 10}, {5, 25}}}
	for _, s := range scenes() {
		cpu := 10 * time.Millisecond
		if s.name == broadcastDefault {
			cpu = 20 * time.Millisecond
		}
		r.scenes[s.name] = []figures{someFigures(t, cpu), someFigures(t, cpu)}
	}
	for i := range r.scenes[callsRecorded] {
		r.scenes[callsRecorded][i].writes += 8
	}
	var out strings.Builder
	err := writeReport(&out, subject{commit: "abc", bytes: 2 << 20, cores: 2, cpu: "Some CPU"}, plan{rounds: 2, window: time.Second}, r)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Commit abc", "on 2 cores of Some CPU", "2 rounds of 1s",
		"| CPU of the server by packet forwarded, µs | 50.0 (50.0 to 50.0) | 100.0 (100.0 to 100.0) |",
		"| goroutines by session | 20.0 (20.0 to 20.0) |",
		"| heap by session, KiB | 1024 (1024 to 1024) |",
		"| **added latency**, p50, ms | 3.00 (3.00 to 3.00) |",
		"Consilium / paced floor | 3.50 (2.00 to 5.00) |",
		"Consilium / Pion's defaults** | 0.50 (0.50 to 0.50) |",
		"| write calls, 1/s | 2.0 (2.0 to 2.0) |",
		"stripped, MiB | 2.0 |",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, out.String())
		}
	}
}

func TestWrongUsageIsRefused(t *testing.T) {
	for name, args := range map[string][]string{
		"no rounds":     {"-rounds", "0"},
		"short window":  {"-window", "10ms"},
		"an argument":   {"now"},
		"unknown flag":  {"-fast"},
		"negative time": {"-warm-up", "-1s"},
	} {
		t.Run(name, func(t *testing.T) {
			var out, complaint strings.Builder
			if err := run(t.Context(), args, &out, &complaint); err == nil || out.Len() > 0 {
				t.Errorf("err %v, output %q", err, out.String())
			}
		})
	}
}
