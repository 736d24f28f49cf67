package e2e

import (
	"context"
	"fmt"
	"runtime/pprof"
	"testing"
	"time"

	"consilium/internal/auth"
	"consilium/internal/bot"
	"consilium/internal/config"
	"consilium/internal/leak"
)

// footprint is what the process, server and bots, holds.
type footprint struct {
	goroutines, descriptors int
	heap                    uint64 // HeapInuse, bytes, after two collections
	live                    uint64 // HeapAlloc, bytes, then
}

// atRest waits until no more goroutines and descriptors are held than in base,
// or until patience ends, and measures. What a session held is given back
// after its end: connections close, recordings are finalised.
func atRest(l *lab, base footprint) footprint {
	l.t.Helper()
	ctx := l.context(patience)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		now := footprint{goroutines: leak.Goroutines(), descriptors: leak.Descriptors()}
		if now.goroutines <= base.goroutines && now.descriptors <= base.descriptors {
			now.heap, now.live = heapInUse()
			return now
		}
		select {
		case <-ctx.Done():
			now.heap, now.live = heapInUse()
			return now
		case <-tick.C:
		}
	}
}

// Every visit is a call of its own: within one call the manifest grows with
// each track, as it must (package recorder tests by how much). The feed's
// memory, 2048 events of some 11 a visit, is full before the first 200 end.
func TestManyJoinsAndLeavesLeaveNothingBehind(t *testing.T) {
	l := start(t, func(c *config.Config) { c.Calls.LingerClean = 100 * time.Millisecond })
	ctx := l.context(5 * time.Minute) // one for all: what a test keeps is measured too
	visits := func(from, to int) {
		for n := from; n < to; n++ {
			l.visitOnce(ctx, fmt.Sprintf("room-%d", n), "guest")
		}
	}
	visits(0, 20) // pools and caches fill
	base := atRest(l, footprint{})
	visits(20, 220)
	at200 := atRest(l, base)
	visits(220, 420)
	at400 := atRest(l, base)
	t.Logf("before %+v, after 200 %+v, after 400 %+v", base, at200, at400)
	if at400.goroutines > base.goroutines || at400.descriptors > base.descriptors {
		t.Errorf("goroutines or descriptors are left: %+v, before %+v", at400, base)
		_ = pprof.Lookup("goroutine").WriteTo(t.Output(), 1)
	}
	// HeapInuse counts spans, which the last collection may leave half empty;
	// an empty server has 3 MiB of them, so that 5 % is less than this noise.
	if grown := int64(at400.heap) - int64(at200.heap); grown > max(int64(at200.heap)/20, spanNoise) {
		t.Errorf("heap in use grew by %d bytes between 200 and 400 visits", grown)
	}
	// Live objects are exact. Who may come back is remembered for minutes, some
	// 350 bytes each; more than a KiB a visit would be something else.
	if grown := int64(at400.live) - int64(at200.live); grown > liveNoise {
		t.Errorf("live heap grew by %d bytes between 200 and 400 visits", grown)
	}
}

const (
	spanNoise = 768 << 10
	liveNoise = 200 << 10
)

// visitOnce runs a bot from joining to leaving and keeps nothing of it.
func (l *lab) visitOnce(ctx context.Context, room, identity string) {
	l.t.Helper()
	b, err := bot.New(bot.Config{URL: l.url, Token: l.token(room, identity, auth.RolePatient)})
	l.must(err)
	go func() { _ = b.Run(ctx) }()
	l.must(b.WaitConnected(ctx))
	l.must(b.Leave(ctx))
	<-b.Done()
}
