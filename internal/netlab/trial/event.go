package trial

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"consilium/internal/netlab"
)

const (
	// downTime is how long a killed server stays away.
	downTime = time.Second
	// idleTime is how long nobody sends in an IdleEvent.
	idleTime = netlab.MappingLife + 3*time.Second
	// settled is how long streams must flow before and after an event.
	settled = 2 * time.Second
	// eventLimit is how long media may be gone after an event, before it is
	// given up.
	eventLimit = 40 * time.Second
)

// gathering lets calls wait for each other, so that an event happens once and to
// all of them. Each call has a place, which it takes or gives up.
type gathering struct {
	event func(context.Context, []pair) (bool, error)

	mu       sync.Mutex
	expected int // places neither taken nor given up
	pairs    []pair
	ready    chan struct{} // closed when none is expected any more

	over chan struct{} // closed when the event has happened; then the rest may be read
	held bool
	err  error
}

func newGathering(n int, event func(context.Context, []pair) (bool, error)) *gathering {
	return &gathering{event: event, expected: n, ready: make(chan struct{}), over: make(chan struct{})}
}

// run lets the event happen when nobody is expected any more.
func (g *gathering) run(ctx context.Context) {
	defer close(g.over)
	select {
	case <-g.ready:
	case <-ctx.Done():
		g.err = ctx.Err()
		return
	}
	if len(g.pairs) > 0 {
		g.held, g.err = g.event(ctx, g.pairs)
	}
}

// place is one call's in a gathering.
type place struct {
	g    *gathering
	once sync.Once
}

// take says that the call is ready for the event.
func (p *place) take(call pair) { p.settle(call) }

// giveUp says that there will be no call; after take it does nothing.
func (p *place) giveUp() { p.settle() }

func (p *place) settle(calls ...pair) {
	p.once.Do(func() {
		p.g.mu.Lock()
		defer p.g.mu.Unlock()
		p.g.pairs = append(p.g.pairs, calls...)
		if p.g.expected--; p.g.expected == 0 {
			close(p.g.ready)
		}
	})
}

// watchEvent lets the profile's event happen and waits until all streams flow
// again.
func (s *Site) watchEvent(ctx context.Context, call pair, at *place, r *Result) error {
	w := &flowWatch{}
	if err := w.follow(ctx, call, settled, settled+Limit); err != nil {
		return fmt.Errorf("before the event: %w", err)
	}
	at.take(call)
	begin := at.g.ready
	if s.Lab.Profile.Event == netlab.IdleEvent {
		begin = at.g.over // nothing is to flow until then
	}
	select {
	case <-begin:
	case <-ctx.Done():
		return ctx.Err()
	}
	w.reset()
	r.Back = w.follow(ctx, call, settled, eventLimit) == nil
	r.Gap = w.gap
	<-at.g.over // ends with ctx
	r.Held = at.g.held
	if at.g.err != nil {
		return fmt.Errorf("at the event: %w", at.g.err)
	}
	return nil
}

// happen is what the profile's event does to calls. After an IdleEvent it
// reports whether the NAT has held their mappings.
func (s *Site) happen(ctx context.Context, calls []pair) (held bool, err error) {
	switch s.Lab.Profile.Event {
	case netlab.RebindEvent:
		return false, s.Lab.Rebind(ctx)
	case netlab.HandoverEvent:
		s.handedOver = true
		if err := s.Lab.Handover(ctx); err != nil {
			return false, err
		}
		for _, p := range calls {
			err = errors.Join(err, p.patient.networkChanged())
		}
		return false, err
	case netlab.RestartEvent:
		if err := s.server.kill(); err != nil {
			return false, err
		}
		if err := pause(ctx, downTime); err != nil {
			return false, err
		}
		return false, s.server.start(ctx)
	case netlab.IdleEvent:
		return s.idle(ctx, calls)
	}
	return false, nil
}

// idle lets nobody send media for longer than a mapping lives, and reports
// whether those of all calls that go by UDP are still there. The router's list
// does not say which is whose.
func (s *Site) idle(ctx context.Context, calls []pair) (held bool, err error) {
	if err := quiet(ctx, calls, true); err != nil {
		return false, err
	}
	before, err := s.Lab.Mappings(ctx)
	if err != nil {
		return false, err
	}
	if err := pause(ctx, idleTime); err != nil {
		return false, err
	}
	later, err := s.Lab.Mappings(ctx)
	if err != nil {
		return false, err
	}
	same, wanted := 0, 0
	for _, c := range calls {
		if c.path == netlab.PathUDP || c.path == netlab.PathTURNUDP {
			wanted++
		}
	}
	for client, router := range before {
		if later[client] == router {
			same++
		}
	}
	return wanted > 0 && same >= wanted, quiet(ctx, calls, false)
}

func quiet(ctx context.Context, calls []pair, on bool) (err error) {
	for _, p := range calls {
		err = errors.Join(err, p.patient.quiet(ctx, on), p.doctor.quiet(ctx, on))
	}
	return err
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
