package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"
)

const (
	settleTime = 500 * time.Millisecond // from a server's start to its idle figures
	// collectTime bounds the wait for a collection of the server's garbage.
	collectTime = 5 * time.Second
)

// figures are what one measurement of a scene gave.
type figures struct {
	sessions, tracks float64
	perSecond        float64 // packets forwarded
	delivered        float64 // share of the packets that should have been
	unstamped        float64 // packets without a credible time: a fault of the benchmark
	cpuPerPacket     float64 // microseconds
	allocsPerPacket  float64
	latency, direct  latency
	cpu              float64 // cores
	writes, written  float64 // calls and bytes a second
	calls            systemCalls
	idle, busy       memory
}

// latency is in milliseconds.
type latency struct{ p50, p99 float64 }

// memory is in bytes, but for goroutines.
type memory struct{ rss, heap, stacks, goroutines float64 }

// sample is everything known of a child at an instant.
type sample struct {
	at time.Time
	usage
	inside
}

func (s sample) memory() memory { return memory{s.rss, s.heap, s.stacks, s.goroutines} }

// probe samples a child.
type probe struct {
	child  *child
	client *http.Client
}

func (p probe) sample(ctx context.Context) (sample, error) {
	in, err := scrape(ctx, p.client, p.child.base)
	if err != nil {
		return sample{}, err
	}
	u, err := readUsage(p.child.pid())
	return sample{time.Now(), u, in}, err
}

// measure runs a scene once.
func (p plan) measure(ctx context.Context, s scene) (_ figures, err error) {
	server, err := s.start(ctx, p)
	if err != nil {
		return figures{}, err
	}
	defer func() { err = errors.Join(err, server.stop()) }()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	look := probe{server, &http.Client{Transport: transport, Timeout: 5 * time.Second}}
	if err := wait(ctx, settleTime); err != nil {
		return figures{}, err
	}
	idle, err := look.sample(ctx)
	if err != nil {
		return figures{}, err
	}
	if idle.collections > 0 { // the rest is garbage of the start
		idle.heap = idle.liveHeap
	}

	through, past := newMeter(), newMeter()
	direct, err := joinDirect(ctx, past)
	if err != nil {
		return figures{}, err
	}
	defer direct.close()
	clients, err := s.join(ctx, server.base, through)
	if err != nil {
		return figures{}, err
	}
	defer clients.close()
	if err := wait(ctx, p.warmUp); err != nil {
		return figures{}, err
	}

	before, err := look.sample(ctx)
	if err != nil {
		return figures{}, err
	}
	through.begin()
	past.begin()
	if err := wait(ctx, p.window); err != nil {
		return figures{}, err
	}
	forwarded, reference := through.end(), past.end()
	after, err := look.sample(ctx)
	if err != nil {
		return figures{}, err
	}
	if after.inside, err = look.collected(ctx, after.inside); err != nil {
		return figures{}, err
	}
	f, err := evaluate(clients, idle, before, after, forwarded, reference)
	if err != nil {
		return figures{}, err
	}
	if s.trace {
		f.calls, err = traceCalls(ctx, p.dir, server.pid())
	}
	return f, err
}

// collected waits until the server has collected its garbage since in, and
// returns in with the heap as it is then. Scrapes are garbage: they bring the
// collection about. If it does not come, the garbage counts as in use.
func (p probe) collected(ctx context.Context, in inside) (inside, error) {
	for end := time.Now().Add(collectTime); time.Now().Before(end); {
		now, err := scrape(ctx, p.client, p.child.base)
		if err != nil {
			return in, err
		}
		in.heap = now.heap
		if now.collections > in.collections {
			in.heap = now.liveHeap
			break
		}
	}
	return in, nil
}

// evaluate turns samples and counts into figures.
func evaluate(c *party, idle, before, after sample, through, past delivery) (figures, error) {
	packets := float64(through.received)
	seconds := after.at.Sub(before.at).Seconds()
	if packets == 0 || through.sent == 0 || len(past.took) == 0 || seconds <= 0 {
		return figures{}, fmt.Errorf("no media within the window: %d packets sent, %d received, %d directly", through.sent, through.received, len(past.took))
	}
	cpu := after.cpu - before.cpu
	return figures{
		sessions: float64(c.sessions), tracks: float64(c.tracks),
		perSecond:       packets / seconds,
		delivered:       packets / float64(through.sent) / float64(c.fanOut),
		unstamped:       float64(through.unstamped),
		cpuPerPacket:    microseconds(cpu) / packets,
		allocsPerPacket: (after.allocs - before.allocs) / packets,
		latency:         latencyOf(through.took),
		direct:          latencyOf(past.took),
		cpu:             cpu.Seconds() / seconds,
		writes:          (after.writeCalls - before.writeCalls) / seconds,
		written:         (after.written - before.written) / seconds,
		idle:            idle.memory(), busy: after.memory(),
	}, nil
}

func latencyOf(took []time.Duration) latency {
	sorted := slices.Sorted(slices.Values(took))
	return latency{milliseconds(quantile(sorted, 0.5)), milliseconds(quantile(sorted, 0.99))}
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
