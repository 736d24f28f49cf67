package export

import (
	"context"
	"errors"
	"slices"
	"time"
)

// Run takes up the jobs an earlier run left, from their beginning, and runs
// jobs until ctx ends. The one that runs then is begun anew at the next start.
func (q *Queue) Run(ctx context.Context) error {
	q.resume()
	for {
		e := q.next()
		if e == nil {
			select {
			case <-ctx.Done():
				q.close()
				return nil
			case <-q.wake:
				continue
			}
		}
		if ctx.Err() != nil {
			q.close()
			return nil
		}
		q.work(ctx, e)
	}
}

func (q *Queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
}

// resume puts jobs that have not ended back into the queue.
func (q *Queue) resume() {
	recordings, err := q.store.recordings()
	if err != nil {
		q.log.Error("exports of an earlier run not found", "error", err)
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	var left []*entry
	for _, recording := range recordings {
		jobs, err := q.store.load(recording)
		if err != nil {
			q.log.Warn("list of exports not read", "call", recording, "error", err)
			continue
		}
		for _, j := range jobs {
			if !j.State.Ended() && q.find(recording, j.ID) == nil {
				j.State, j.Progress = Queued, 0
				left = append(left, &entry{recording: recording, job: j})
			}
		}
	}
	slices.SortStableFunc(left, func(a, b *entry) int { return a.job.Created.Compare(b.job.Created) })
	q.live = append(left, q.live...)
}

// next returns the job to run, or nil.
func (q *Queue) next() *entry {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.live) == 0 {
		return nil
	}
	return q.live[0]
}

// work runs one job to its end.
func (q *Queue) work(ctx context.Context, e *entry) {
	jobCtx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timed, stop := context.WithTimeoutCause(jobCtx, q.config.Timeout, &Refusal{Words: "the export took too long"})
	defer stop()
	q.mu.Lock()
	if e.canceled {
		q.drop(e)
		q.mu.Unlock()
		return
	}
	e.cancel, e.job.State = cancel, Running
	err := q.keep(e)
	q.mu.Unlock()

	var files []File
	if err == nil {
		watched := make(chan struct{})
		go func() {
			defer close(watched)
			q.watchSpace(timed, cancel)
		}()
		files, err = q.config.Maker.Make(timed, e.recording, e.job.Request, func(p float64) { q.progress(e, p) })
		if cause := context.Cause(timed); err != nil && cause != nil {
			err = cause
		}
		cancel(nil)
		<-watched
	}
	if ctx.Err() != nil && err != nil {
		q.mu.Lock()
		q.drop(e) // stays on the disk as running, and is begun anew
		q.mu.Unlock()
		return
	}
	q.finish(e, files, err)
}

// watchSpace ends a job when the disk gets low.
func (q *Queue) watchSpace(ctx context.Context, cancel context.CancelCauseFunc) {
	tick := time.NewTicker(spacePeriod)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := q.config.Space(); err != nil {
			cancel(err)
			return
		}
	}
}

// progress never runs back.
func (q *Queue) progress(e *entry, p float64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	e.job.Progress = max(e.job.Progress, min(p, 1))
}

// finish notes the end of a job.
func (q *Queue) finish(e *entry, files []File, err error) {
	q.mu.Lock()
	now := time.Now().UTC().Truncate(time.Millisecond)
	e.job.State, e.job.Progress, e.job.Ended = Done, 1, &now
	if files != nil {
		e.job.Files = files
	}
	if err != nil {
		e.job.State, e.job.Reason, e.job.Files = Failed, words(err), []File{}
		q.log.Warn("export failed", "call", e.recording, "job", e.job.ID, "kind", e.job.Kind, "error", err)
	}
	q.drop(e)
	canceled, job := e.canceled, e.job
	if !canceled {
		if err := q.keep(e); err != nil {
			q.log.Error("end of an export not noted", "call", e.recording, "job", e.job.ID, "error", err)
		}
	}
	q.mu.Unlock()
	if !canceled {
		q.exports.With(string(job.Kind), string(job.State)).Inc()
	}
	if canceled && err == nil { // it was done before it could be stopped
		for _, f := range files {
			if err := q.config.Maker.Remove(e.recording, f.Name); err != nil {
				q.log.Warn("file of a canceled export not removed", "call", e.recording, "file", f.Name, "error", err)
			}
		}
	}
}

// words is what may be shown of an error: no paths.
func words(err error) string {
	if r, ok := errors.AsType[*Refusal](err); ok {
		return r.Words
	}
	for _, known := range []error{ErrDiskLow, ErrSealed, ErrNotFinal} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return "the export failed; the server's log says more"
}
