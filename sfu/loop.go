package sfu

import (
	"context"
	"sync"
	"time"
)

// loop runs closures one at a time in one goroutine, which thereby owns all
// state the closures touch. Producers: everybody who holds the loop. The queue
// holds loopQueue closures; a producer waits when it is full, which is safe
// because nothing on the media path posts to a loop, and closures never wait
// for other loops.
type loop struct {
	work   chan func()
	closed chan struct{} // closed by run when no further closure is run
	once   sync.Once
	quit   chan struct{}
}

const loopQueue = 256

func newLoop() *loop {
	return &loop{work: make(chan func(), loopQueue), closed: make(chan struct{}), quit: make(chan struct{})}
}

// run executes closures, and tick every interval, until stop is called from a
// closure or from outside.
func (l *loop) run(interval time.Duration, tick func(now time.Time)) {
	defer close(l.closed)
	t := time.NewTicker(interval)
	defer t.Stop()
	for {
		select {
		case <-l.quit:
			return
		default:
		}
		select {
		case f := <-l.work:
			f()
		case now := <-t.C:
			tick(now)
		case <-l.quit:
			return
		}
	}
}

// stop ends run after the closure in progress. It may be called repeatedly.
func (l *loop) stop() { l.once.Do(func() { close(l.quit) }) }

// do runs f in the loop and waits for it. It returns ErrClosed if the loop ends
// without running it, and ctx's error if that ended before f was queued. What is
// queued is waited for: closures never block, and a caller that went away would
// leave a session, or half a negotiation, that belongs to nobody.
func (l *loop) do(ctx context.Context, f func()) error {
	done := make(chan struct{})
	select {
	case l.work <- func() { defer close(done); f() }:
	case <-l.closed:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-done:
		return nil
	case <-l.closed:
		select {
		case <-done:
			return nil
		default:
			return ErrClosed
		}
	}
}

// post runs f in the loop without waiting for it; it is dropped when the loop
// has ended.
func (l *loop) post(f func()) {
	select {
	case l.work <- f:
	case <-l.closed:
	}
}
