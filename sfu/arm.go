package sfu

import (
	"context"
	"errors"
	"fmt"
	"time"

	"consilium/internal/event"
	"consilium/internal/media"
)

// arming is how far a call is in making its recording possible. Owned by the
// call's loop.
type arming struct {
	done   chan struct{}      // closed when the attempt in progress is over; nil: none
	cancel context.CancelFunc // of that attempt
	err    error              // of the last attempt
	early  []event.Event      // of the call so far, for the recording's manifest

	incident string // number of the failure to arm
}

// maxEarly bounds the events that wait for the recording. Those of a few
// people arriving fit; what is more is in the journal only.
const maxEarly = 256

// startArming starts arming the recorder unless that is done or under way. The
// result comes back to the loop.
func (c *call) startArming() {
	if c.s.cfg.Recorder == nil || c.recording != nil || c.arm.done != nil {
		return
	}
	done := make(chan struct{})
	ctx, cancel := context.WithTimeout(context.Background(), c.s.cfg.Calls.ArmTimeout)
	c.arm.done, c.arm.cancel = done, cancel
	about := media.Call{
		ID: c.id, Room: c.spec.Room, ExternalID: c.spec.ExternalID, Metadata: c.spec.Metadata, Started: c.started,
	}
	c.s.wg.Go(func() {
		defer close(done)
		defer cancel()
		rec, err := c.s.cfg.Recorder.Arm(ctx, about)
		if c.loop.do(context.Background(), func() { c.armingOver(rec, err) }) != nil && rec != nil {
			rec.End(time.Now()) // the call has ended meanwhile
		}
	})
}

// armingOver takes the result of arming; one of rec and err is nil.
func (c *call) armingOver(rec Recording, err error) {
	first := c.arm.err == nil
	c.arm.done, c.arm.cancel, c.arm.err, c.recording = nil, nil, err, rec
	if err == nil {
		for _, e := range c.arm.early {
			rec.Note(e)
		}
		c.arm.early = nil
	} else {
		c.s.log.Error("recorder is not armed: the call is withheld", "call", c.id, "err", err)
		if first { // clients try again: the same failure is not told again
			failed := c.emit(event.Event{Type: event.RecordingFailed, Failure: event.Failure{Code: armCode(err)},
				Data: map[string]any{"reason": err.Error()}})
			c.arm.incident = failed.Incident()
		}
	}
	c.tell(c.recordingNotice())
}

// armCode is the failure code of an error of Recorder.Arm.
func armCode(err error) event.Code {
	if coded, ok := errors.AsType[*CodedError](err); ok {
		return coded.Code
	}
	return event.RecorderFailed
}

// armed waits until the recorder is armed, or for want of one returns at once.
// It is called outside the loop and asks for another try where one failed.
func (c *call) armed(ctx context.Context) error {
	if c.s.cfg.Recorder == nil {
		return nil
	}
	for again := true; ; again = false {
		var wait chan struct{}
		var ready bool
		var cause error
		if err := c.loop.do(ctx, func() {
			if again {
				c.startArming()
			}
			ready, cause, wait = c.recording != nil, c.arm.err, c.arm.done
		}); err != nil {
			return err
		}
		switch {
		case ready:
			return nil
		case wait == nil:
			return &CodedError{Code: armCode(cause), Err: fmt.Errorf("%w: %w", ErrRecording, cause)}
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// noteRecording adds an event of the call to its recording, or keeps it for
// the recording to come.
func (c *call) noteRecording(e event.Event) {
	switch {
	case c.recording != nil:
		c.recording.Note(e)
	case c.s.cfg.Recorder != nil && len(c.arm.early) < maxEarly:
		c.arm.early = append(c.arm.early, e)
	}
}

// endRecording ends the recording after the loop, once. A recorder that is
// still being armed is given up; what it makes nevertheless is ended by the
// goroutine that armed it.
func (c *call) endRecording() {
	if c.arm.done != nil {
		c.arm.cancel()
		<-c.arm.done
	}
	if c.recording != nil {
		c.recording.End(time.Now())
	}
}
