package main

import (
	"fmt"
	"io"
	"strings"
)

// writeReport prints the results as Markdown. A value is "median (least to
// greatest)" of the rounds.
func writeReport(w io.Writer, s subject, p plan, r results) error {
	var out strings.Builder
	fmt.Fprintf(&out, "Commit %s, %s, on %d cores of %s, Linux %s; load average before the run %s. %d rounds of %v each after %v; median (least to greatest).\n\n",
		s.commit, s.goVersion, s.cores, s.cpu, s.kernel, s.load, p.rounds, p.window, p.warmUp)
	ours, theirs := r.scenes[broadcastOurs], r.scenes[broadcastDefault]
	plain, recorded := r.scenes[callsPlain], r.scenes[callsRecorded]
	writeForwarding(&out, ours, theirs, plain, recorded)
	writeRatios(&out, ours, theirs, plain, r.floors)
	writeRecording(&out, plain, recorded)
	writeProgram(&out, s, plain, recorded)
	_, err := io.WriteString(w, out.String())
	return err
}

// cell formats a spread of values that are multiplied by scale.
func cell(s spread, format string, scale float64) string {
	f := func(v float64) string { return fmt.Sprintf(format, v*scale) }
	return f(s.median) + " (" + f(s.min) + " to " + f(s.max) + ")"
}

const (
	whole   = "%.0f"
	tenths  = "%.1f"
	cents   = "%.2f"
	kilo    = 1.0 / 1024
	mega    = kilo / 1024
	percent = 100
)

// row is one line of the table of forwarding.
type row struct {
	name   string
	format string
	scale  float64
	figure func(figures) float64
}

func forwardingRows() []row {
	perSession := func(of func(memory) float64) func(figures) float64 {
		return func(f figures) float64 { return (of(f.busy) - of(f.idle)) / f.sessions }
	}
	return []row{
		{"packets forwarded, 1/s", whole, 1, func(f figures) float64 { return f.perSecond }},
		{"of those that should be, %", cents, percent, func(f figures) float64 { return f.delivered }},
		{"CPU of the server by packet forwarded, µs", tenths, 1, func(f figures) float64 { return f.cpuPerPacket }},
		{"CPU of the server, % of a core", tenths, percent, func(f figures) float64 { return f.cpu }},
		{"allocations by packet forwarded", cents, 1, func(f figures) float64 { return f.allocsPerPacket }},
		{"latency publisher to subscriber, p50, ms", cents, 1, func(f figures) float64 { return f.latency.p50 }},
		{"the same, p99, ms", cents, 1, func(f figures) float64 { return f.latency.p99 }},
		{"latency without a server, same time, p50, ms", cents, 1, func(f figures) float64 { return f.direct.p50 }},
		{"the same, p99, ms", cents, 1, func(f figures) float64 { return f.direct.p99 }},
		{"**added latency**, p50, ms", cents, 1, func(f figures) float64 { return f.latency.p50 - f.direct.p50 }},
		{"**added latency**, p99, ms", cents, 1, func(f figures) float64 { return f.latency.p99 - f.direct.p99 }},
		{"resident memory by session, KiB", whole, kilo, perSession(func(m memory) float64 { return m.rss })},
		{"heap by session, KiB", whole, kilo, perSession(func(m memory) float64 { return m.heap })},
		{"stacks by session, KiB", whole, kilo, perSession(func(m memory) float64 { return m.stacks })},
		{"goroutines by session", tenths, 1, perSession(func(m memory) float64 { return m.goroutines })},
		{"packets the benchmark could not time", whole, 1, func(f figures) float64 { return f.unstamped }},
	}
}

func writeForwarding(out *strings.Builder, ours, theirs, plain, recorded []figures) {
	fmt.Fprintf(out, "| | 1 to %d, Consilium | 1 to %d, Pion's defaults | %d calls of 2, not recorded | %d calls of 2, recorded |\n|---|---|---|---|---|\n",
		viewers, viewers, calls, calls)
	for _, r := range forwardingRows() {
		fmt.Fprintf(out, "| %s |", r.name)
		for _, rounds := range [][]figures{ours, theirs, plain, recorded} {
			fmt.Fprintf(out, " %s |", cell(each(rounds, r.figure), r.format, r.scale))
		}
		out.WriteString("\n")
	}
	out.WriteString("\n")
}

func writeRatios(out *strings.Builder, ours, theirs, plain []figures, floors []floorFigures) {
	cpuTo := func(of func(floorFigures) float64) func(figures, floorFigures) float64 {
		return func(f figures, floor floorFigures) float64 { return f.cpuPerPacket / of(floor) }
	}
	paced := func(f floorFigures) float64 { return f.paced }
	hot := func(f floorFigures) float64 { return f.hot }
	out.WriteString("| CPU by packet forwarded | |\n|---|---|\n")
	for _, line := range []struct {
		name string
		of   spread
	}{
		{"floor as fast as it goes, µs", each(floors, hot)},
		{"floor at the pace of the clips, µs", each(floors, paced)},
		{fmt.Sprintf("1 to %d: Consilium / paced floor", viewers), compare(ours, floors, cpuTo(paced))},
		{fmt.Sprintf("1 to %d: Consilium / hot floor", viewers), compare(ours, floors, cpuTo(hot))},
		{fmt.Sprintf("1 to %d: Pion's defaults / paced floor", viewers), compare(theirs, floors, cpuTo(paced))},
		{fmt.Sprintf("**1 to %d: Consilium / Pion's defaults**", viewers), compare(ours, theirs, func(a, b figures) float64 { return a.cpuPerPacket / b.cpuPerPacket })},
		{fmt.Sprintf("1 to %d: allocations, Consilium / Pion's defaults", viewers), compare(ours, theirs, func(a, b figures) float64 { return a.allocsPerPacket / b.allocsPerPacket })},
		{fmt.Sprintf("%d calls of 2: Consilium / paced floor", calls), compare(plain, floors, cpuTo(paced))},
	} {
		fmt.Fprintf(out, "| %s | %s |\n", line.name, cell(line.of, cents, 1))
	}
	out.WriteString("\n")
}

// writeRecording prints what the same calls cost more when they are recorded.
func writeRecording(out *strings.Builder, plain, recorded []figures) {
	byTrack := func(of func(figures) float64) spread {
		return compare(plain, recorded, func(off, on figures) float64 { return (of(on) - of(off)) / on.tracks })
	}
	out.WriteString("| recording, by track (half of them sound) | |\n|---|---|\n")
	rows := []row{
		{"CPU, % of a core", cents, percent, func(f figures) float64 { return f.cpu }},
		{"heap, KiB", whole, kilo, func(f figures) float64 { return f.busy.heap }},
		{"resident memory, KiB", whole, kilo, func(f figures) float64 { return f.busy.rss }},
		{"goroutines", cents, 1, func(f figures) float64 { return f.busy.goroutines }},
		{"write calls, 1/s", tenths, 1, func(f figures) float64 { return f.writes }},
		{"written, KiB/s", tenths, kilo, func(f figures) float64 { return f.written }},
	}
	if len(recorded) > 0 && recorded[0].calls != nil {
		rows = append(rows,
			row{"write and pwrite, 1/s, by strace", tenths, 1, func(f figures) float64 { return f.calls.named("write", "pwrite64", "writev") }},
			row{"fsync and fdatasync, 1/s", tenths, 1, func(f figures) float64 { return f.calls.named("fsync", "fdatasync") }},
			row{"other calls that name a file, 1/s", tenths, 1, func(f figures) float64 {
				return f.calls.named("openat", "close", "renameat", "renameat2", "unlinkat", "mkdirat", "newfstatat", "fstat", "statfs")
			}},
			row{"system calls of every kind, 1/s", tenths, 1, func(f figures) float64 { return f.calls.all() }},
		)
	}
	for _, r := range rows {
		fmt.Fprintf(out, "| %s | %s |\n", r.name, cell(byTrack(r.figure), r.format, r.scale))
	}
	fmt.Fprintf(out, "| **CPU of the server, recorded / not recorded** | %s |\n",
		cell(compare(plain, recorded, func(off, on figures) float64 { return on.cpu / off.cpu }), cents, 1))
	out.WriteString("\n")
}

// writeProgram prints what the program takes without a call.
func writeProgram(out *strings.Builder, s subject, plain, recorded []figures) {
	fmt.Fprintf(out, "| the program, idle | |\n|---|---|\n| size of the binary, static and stripped, MiB | %.1f |\n", float64(s.bytes)*mega)
	for _, r := range []row{
		{"resident memory, MiB", tenths, mega, func(f figures) float64 { return f.idle.rss }},
		{"heap, MiB", tenths, mega, func(f figures) float64 { return f.idle.heap }},
		{"goroutines", whole, 1, func(f figures) float64 { return f.idle.goroutines }},
	} {
		fmt.Fprintf(out, "| %s | %s |\n", r.name, cell(each(plain, r.figure), r.format, r.scale))
	}
	fmt.Fprintf(out, "| resident memory with recording, MiB | %s |\n",
		cell(each(recorded, func(f figures) float64 { return f.idle.rss }), tenths, mega))
}
