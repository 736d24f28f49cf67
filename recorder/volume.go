package recorder

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"sync"
	"time"

	"consilium/internal/event"
)

const (
	spaceInterval = 5 * time.Second  // between measurements
	spaceStale    = 10 * time.Second // without one: the disk has stalled
	probeName     = ".probe"
	probeBytes    = 4096
)

// volume watches the disk of the recordings. One goroutine measures it, and
// may hang with it; everybody else reads what was measured last and never
// waits. All methods but run and measure are safe for concurrent use.
type volume struct {
	marks Marks
	root  *os.Root // set before run

	// Replaced by tests.
	statfs func(*os.Root) (free, total uint64, err error)
	write  func() error // tries whether the disk takes something

	wake chan struct{} // somebody found the disk full: measure now

	mu      sync.Mutex
	space   Space
	asked   time.Time     // when the measurement in progress began; zero: none
	changed chan struct{} // closed and replaced by each measurement
}

func newVolume(m Marks) *volume {
	v := &volume{marks: m, statfs: statfs, wake: make(chan struct{}, 1), changed: make(chan struct{})}
	v.write = v.probe
	return v
}

// run measures until ctx ends.
func (v *volume) run(ctx context.Context) {
	tick := time.NewTicker(spaceInterval)
	defer tick.Stop()
	for {
		v.measure()
		select {
		case <-tick.C:
		case <-v.wake:
		case <-ctx.Done():
			return
		}
	}
}

// measure asks the disk, keeps the ballast as the answer demands it and
// publishes what is known. It hangs when the disk does.
func (v *volume) measure() {
	v.mu.Lock()
	last := v.space
	v.asked = time.Now()
	v.mu.Unlock()
	now := Space{}
	free, total, err := v.statfs(v.root)
	if err == nil {
		err = v.write()
	}
	if err == nil || codeOf(err) == event.DiskFull {
		kept := v.ballastSize()
		now.Total, now.Free = total, free-min(free, v.marks.ballast(total)-min(kept, v.marks.ballast(total)))
		now.Level = v.marks.level(now.Free, total, last.Level)
		if err != nil { // also by a quota, or for want of inodes: statfs knows of neither
			now.Level, err = LevelFull, nil
		}
		v.keepBallast(now, kept)
	} else { // nothing is known of the space
		now.Level, now.Free, now.Total = last.Level, last.Free, last.Total
	}
	now.Err, now.Measured = err, time.Now()
	v.mu.Lock()
	defer v.mu.Unlock()
	v.space, v.asked = now, time.Time{}
	close(v.changed)
	v.changed = make(chan struct{})
}

// get returns what is known now.
func (v *volume) get() Space {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.space
	s.Stalled = !v.asked.IsZero() && time.Since(v.asked) > spaceStale
	return s
}

// full tells that a write found no space.
func (v *volume) full() {
	select {
	case v.wake <- struct{}{}:
	default: // it has been told already
	}
}

// admit returns nil if a call may begin. It asks the disk, and hangs when that
// does.
func (v *volume) admit() error {
	known := v.get()
	if known.Err != nil {
		return fmt.Errorf("the disk can't be written to: %w", known.Err)
	}
	free, total, err := v.statfs(v.root)
	if err != nil {
		return err
	}
	if !known.Measured.IsZero() { // the ballast is not ours to take
		reserved := v.marks.ballast(total)
		free -= min(free, reserved-min(v.ballastSize(), reserved))
	}
	least := v.marks.bounds(total)[LevelHard-1]
	if free < least || known.Level == LevelFull {
		return fmt.Errorf("%w: %d MiB free, %d MiB needed", errDiskFull, free>>20, least>>20)
	}
	return nil
}

// room waits until a file of so many bytes can be written without taking what
// calls in progress need. It returns an error when ctx ends or closing is
// closed before.
func (v *volume) room(ctx context.Context, closing <-chan struct{}, bytes uint64) error {
	for {
		v.mu.Lock()
		s, changed := v.space, v.changed
		v.mu.Unlock()
		least := v.marks.bounds(s.Total)[LevelCritical-1]
		if s.Measured.IsZero() || s.Err == nil && s.Level < LevelFull && s.Free >= least+min(bytes, s.Total) {
			return nil
		}
		select {
		case <-changed:
		case <-closing:
			return errDiskFull
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// measured waits for the next measurement.
func (v *volume) measured(ctx context.Context, closing <-chan struct{}) error {
	v.mu.Lock()
	changed := v.changed
	v.mu.Unlock()
	select {
	case <-changed:
		return nil
	case <-closing:
		return errClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// probe writes and syncs a small file: a disk that has become read-only, or
// fails, is noticed also while nothing is recorded.
func (v *volume) probe() error {
	name := path.Join(spoolDir, probeName)
	f, err := v.root.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, fileMode)
	if errors.Is(err, fs.ErrNotExist) { // somebody removed the directory
		if err = v.root.MkdirAll(spoolDir, dirMode); err == nil {
			f, err = v.root.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, fileMode)
		}
	}
	if err != nil {
		return fmt.Errorf("try the disk: %w", err)
	}
	_, err = f.Write(make([]byte, probeBytes))
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return fmt.Errorf("try the disk: %w", err)
	}
	return nil
}
