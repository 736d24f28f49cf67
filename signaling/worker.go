package signaling

import (
	"context"
)

// job is a call into the SFU that may block. Jobs of a session run one after
// the other, in the order in which the client sent them.
type job struct {
	id   string // of the request; "" if nobody waits for the result
	name string // message type, for the log
	run  func(ctx context.Context) (kind string, body any, err error)
}

// result is what became of a job.
type result struct {
	job
	kind string
	body any
	err  error
}

// work runs the jobs until ctx ends.
func (s *session) work(ctx context.Context) {
	for {
		var j job
		select {
		case j = <-s.jobs:
		case <-ctx.Done():
			return
		}
		r := s.runJob(ctx, j)
		select {
		case s.results <- r:
		case <-ctx.Done():
			return
		}
	}
}

func (s *session) runJob(ctx context.Context, j job) result {
	ctx, cancel := context.WithTimeout(ctx, s.server.cfg.Timing.Request)
	defer cancel()
	r := result{job: j}
	r.kind, r.body, r.err = j.run(ctx)
	return r
}
