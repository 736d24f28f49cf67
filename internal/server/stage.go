package server

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// stage is a group of parts that run and stop together.
type stage struct {
	name   string
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex
	errs   []error
	failed chan struct{} // closed when a part ended by itself with an error
	once   sync.Once
}

func newStage(name string) *stage {
	ctx, cancel := context.WithCancel(context.Background())
	return &stage{name: name, ctx: ctx, cancel: cancel, failed: make(chan struct{})}
}

// run runs a part until the stage stops.
func (s *stage) run(part string, f func(context.Context) error) {
	s.wg.Go(func() {
		err := f(s.ctx)
		if err == nil || errors.Is(err, context.Canceled) {
			return
		}
		s.mu.Lock()
		s.errs = append(s.errs, fmt.Errorf("%s: %w", part, err))
		s.mu.Unlock()
		s.once.Do(func() { close(s.failed) })
	})
}

// stop ends the parts and waits for them.
func (s *stage) stop() error {
	s.cancel()
	s.wg.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Join(s.errs...)
}

// firstFailure waits until ctx is done or a part of a stage fails.
func firstFailure(ctx context.Context, stages []*stage) error {
	failed := make(chan struct{}, len(stages))
	done, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	for _, s := range stages {
		wg.Go(func() {
			select {
			case <-s.failed:
				failed <- struct{}{}
			case <-done.Done():
			}
		})
	}
	select {
	case <-ctx.Done():
	case <-failed:
	}
	cancel()
	wg.Wait()
	return nil // the stage reports it when it stops
}
