package webhook

import (
	"container/heap"
	"context"
	"sync"
	"time"

	"consilium/internal/event"
)

const (
	// maxAttempts is how many requests are open at a time.
	maxAttempts = 16
	// orderFor is how long the next event of a call waits for the one before.
	orderFor = time.Second
	// drainFor is how long Run goes on after its context has ended, so that
	// the last events of a shutdown get their first attempt.
	drainFor = 3 * time.Second
)

// line is the events of one call that wait for their first attempt.
type line struct {
	waiting []*delivery
	open    *delivery // the attempt the next one waits for; nil if none
	opened  time.Time // when it began
}

// loop is the state of Run; only its goroutine touches it.
type loop struct {
	sender   *Sender
	ctx      context.Context // of the attempts
	lines    map[string]*line
	retries  dueQueue
	open     int
	results  chan outcome
	attempts sync.WaitGroup
	draining bool
}

// Run delivers until ctx ends, then for at most 3 s more: every event that
// still waits for its first attempt gets it, retries are given up.
func (s *Sender) Run(ctx context.Context) error {
	attemptCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	l := &loop{
		sender: s, ctx: attemptCtx, lines: make(map[string]*line),
		results: make(chan outcome, maxAttempts),
	}
	l.deliver(ctx.Done())
	l.drain()
	cancel()
	l.attempts.Wait()
	l.giveUp()
	s.client.CloseIdleConnections()
	return nil
}

// deliver runs until done is closed.
func (l *loop) deliver(done <-chan struct{}) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		timer.Reset(l.start(time.Now()))
		select {
		case <-done:
			return
		case e := <-l.sender.incoming:
			l.enqueue(e)
		case result := <-l.results:
			l.finish(result)
		case <-timer.C:
		}
	}
}

// drain gives what is left its first attempt.
func (l *loop) drain() {
	l.draining = true
	for _, d := range l.retries {
		l.sender.release(droppedShutdown)
		l.sender.log.Warn("event is not delivered", "event", d.event.ID, "reason", droppedShutdown)
	}
	l.retries = nil
	deadline := time.NewTimer(drainFor)
	defer deadline.Stop()
	for {
		for len(l.sender.incoming) > 0 {
			l.enqueue(<-l.sender.incoming)
		}
		next := time.NewTimer(l.start(time.Now()))
		if l.open == 0 {
			next.Stop()
			return
		}
		select {
		case <-deadline.C:
			next.Stop()
			return
		case result := <-l.results:
			l.finish(result)
		case <-next.C:
		}
		next.Stop()
	}
}

// giveUp counts what was still open or waiting when the time was up.
func (l *loop) giveUp() {
	for len(l.results) > 0 {
		l.finish(<-l.results)
	}
	for _, line := range l.lines {
		for range line.waiting {
			l.sender.release(droppedShutdown)
		}
	}
	for len(l.sender.incoming) > 0 {
		<-l.sender.incoming
		l.sender.release(droppedShutdown)
	}
}

func (l *loop) enqueue(e event.Event) {
	body, err := encode(e)
	if err != nil {
		l.sender.log.Error("event can't be sent", "event", e.ID, "type", e.Type, "error", err)
		l.sender.release(droppedInvalid)
		return
	}
	in, ok := l.lines[e.Call]
	if !ok {
		in = &line{}
		l.lines[e.Call] = in
	}
	in.waiting = append(in.waiting, &delivery{event: e, body: body, line: e.Call})
}

// start begins all attempts that may begin now and returns how long nothing
// more can begin unless something happens.
func (l *loop) start(now time.Time) time.Duration {
	wait := time.Hour
	for _, in := range l.lines {
		for len(in.waiting) > 0 && l.open < maxAttempts {
			if in.open != nil {
				if left := in.opened.Add(orderFor).Sub(now); left > 0 {
					wait = min(wait, left)
					break
				}
			}
			next := in.waiting[0]
			in.waiting = in.waiting[1:]
			in.open, in.opened = next, now
			l.begin(next, now)
		}
	}
	for len(l.retries) > 0 && l.open < maxAttempts {
		if left := l.retries[0].due.Sub(now); left > 0 {
			wait = min(wait, left)
			break
		}
		if next, ok := heap.Pop(&l.retries).(*delivery); ok {
			l.begin(next, now)
		}
	}
	return wait
}

func (l *loop) begin(d *delivery, now time.Time) {
	if l.sender.gone.Load() {
		l.leaveLine(d)
		l.sender.release(droppedGone)
		return
	}
	if d.started.IsZero() {
		d.started = now
	}
	d.attempts++
	l.open++
	l.attempts.Go(func() { l.results <- l.sender.attempt(l.ctx, d) })
}

// leaveLine lets the next event of the call go.
func (l *loop) leaveLine(d *delivery) {
	in, ok := l.lines[d.line]
	if !ok {
		return
	}
	if in.open == d {
		in.open = nil
	}
	if in.open == nil && len(in.waiting) == 0 {
		delete(l.lines, d.line)
	}
}

func (l *loop) finish(result outcome) {
	l.open--
	d, s := result.delivery, l.sender
	l.leaveLine(d)
	if result.delivered {
		s.latency.Observe(time.Since(d.event.Time).Seconds())
		s.release("")
		return
	}
	if result.gone && !s.gone.Swap(true) {
		s.log.Error("webhook receiver answered 410 Gone: nothing more is sent until the next start")
	}
	now := time.Now()
	d.due = now.Add(max(pause(d.attempts), result.retryAfter))
	reason := ""
	switch {
	case s.gone.Load():
		reason = droppedGone
	case l.draining:
		reason = droppedShutdown
	case d.due.After(d.started.Add(s.config.RetryFor)):
		reason = droppedExpired
	case len(l.retries) >= s.config.Queue*3/4:
		reason = droppedFull // while the receiver is away, new events still find a place
	}
	if reason != "" {
		s.log.Error("event is not delivered", "event", d.event.ID, "type", d.event.Type,
			"attempts", d.attempts, "reason", reason, "last", result.reason)
		s.release(reason)
		return
	}
	s.log.Warn("event is not delivered yet", "event", d.event.ID, "attempt", d.attempts,
		"last", result.reason, "again", d.due.Sub(now))
	heap.Push(&l.retries, d)
}

// dueQueue is a heap of retries, the next due first.
type dueQueue []*delivery

func (q dueQueue) Len() int           { return len(q) }
func (q dueQueue) Less(i, j int) bool { return q[i].due.Before(q[j].due) }
func (q dueQueue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }

// Push implements heap.Interface.
func (q *dueQueue) Push(x any) {
	if d, ok := x.(*delivery); ok {
		*q = append(*q, d)
	}
}

// Pop implements heap.Interface.
func (q *dueQueue) Pop() any {
	last := len(*q) - 1
	d := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	return d
}
