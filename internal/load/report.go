package load

import (
	"context"
	"time"

	"golang.org/x/sys/unix"
)

// Report is what came of a Run. Delays and times are in milliseconds.
type Report struct {
	Rooms    int            `json:"rooms"`
	People   int            `json:"people"` // that tried to join
	Joined   int            `json:"joined"` // and got media
	Failed   map[string]int `json:"failed"` // by code
	Measured float64        `json:"measured_seconds"`

	// Sent, Received and Lost count RTP packets while it was measured; each is
	// received by everybody else in its room. Lost ones were asked for again in
	// vain. Skipped are frames that this machine was too busy to send.
	Sent     uint64 `json:"sent"`
	Received uint64 `json:"received"`
	Lost     uint64 `json:"lost"`
	Repaired uint64 `json:"repaired"`
	Skipped  uint64 `json:"skipped"`

	Delay Delay `json:"delay_ms"`
	// Connect is how long the slowest one took from the first message to media.
	Connect float64 `json:"slowest_connect_ms"`

	Server *Cost `json:"server,omitempty"` // nil: it may not be asked
	Client Cost  `json:"client"`           // this machine's part, which limits what can be measured
}

// Delay from sender to receiver through the server.
type Delay struct {
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// Cost of the time that was measured.
type Cost struct {
	CPU    float64 `json:"cpu"`    // cores in use on average
	Memory float64 `json:"memory"` // resident, bytes
}

// costs are what was spent and lost so far, since the first one joined.
type costs struct {
	server map[string]float64 // metrics; nil: unknown
	client float64            // CPU seconds of this process

	lost, repaired, skipped uint64
}

// Names of the metrics that the server's cost is read from.
const (
	metricCPU    = "consilium_process_cpu_seconds_total"
	metricMemory = "consilium_process_resident_memory_bytes"
)

func (r *run) costs(ctx context.Context) costs {
	c := costs{client: cpuSeconds()}
	for _, p := range r.people {
		s := p.Snapshot()
		for _, track := range s.Received {
			c.lost += track.Lost
			c.repaired += track.Repaired
		}
		for _, sent := range s.Sent {
			c.skipped += sent.Skipped
		}
	}
	if r.cfg.Metrics == nil {
		return c
	}
	if values, err := r.cfg.Metrics(ctx); err == nil { // who may not ask does without
		c.server = values
	}
	return c
}

// cpuSeconds is what this process has used.
func cpuSeconds() float64 {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

// peakMemory of this process.
func peakMemory() float64 {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return float64(u.Maxrss) * 1024
}

func (r *run) report(count delivery, measured time.Duration, before, after costs) Report {
	out := Report{
		Rooms: r.cfg.Rooms, People: len(r.people), Failed: map[string]int{}, Measured: measured.Seconds(),
		Sent: count.sent, Received: count.received,
		Delay: Delay{
			milliseconds(count.quantile(.5)), milliseconds(count.quantile(.95)), milliseconds(count.quantile(.99)), milliseconds(count.longest),
		},
		Client: Cost{CPU: (after.client - before.client) / measured.Seconds(), Memory: peakMemory()},
	}
	for _, p := range r.people {
		s := p.Snapshot()
		if code := r.outcome(s, p.Err()); code != "" {
			out.Failed[string(code)]++
			continue
		}
		out.Joined++
		out.Connect = max(out.Connect, milliseconds(s.Connected.Sub(p.begun)))
	}
	out.Lost, out.Repaired, out.Skipped = after.lost-before.lost, after.repaired-before.repaired, after.skipped-before.skipped
	if before.server != nil && after.server != nil {
		out.Server = &Cost{
			CPU:    (after.server[metricCPU] - before.server[metricCPU]) / measured.Seconds(),
			Memory: after.server[metricMemory],
		}
	}
	return out
}

func milliseconds(d time.Duration) float64 { return float64(d.Round(10*time.Microsecond)) / 1e6 }
