package sfu

import (
	"context"
	"fmt"
	"time"

	"consilium/internal/event"
	"consilium/internal/media"
)

// call is what happens in a room from the first person to the last. All fields
// below loop are owned by the loop.
type call struct {
	s       *Server
	id      string
	started time.Time
	loop    *loop

	spec         CallSpec
	participants map[string]*participant // by identity; the waiting ones too
	sessions     map[string]*Session     // by id; players too
	byAPI        bool                    // opened by OpenCall, or adopted by it
	attended     bool                    // somebody has been here
	endsAt       time.Time               // when it ends if nobody comes; zero while attended
	ended        bool

	arming    chan struct{} // closed when the arming in progress is over; nil: none
	recording Recording     // nil until armed
	armErr    error
}

// tickEvery is how often a call looks at its clocks: the precision of every
// deadline of this package.
const tickEvery = 100 * time.Millisecond

func newCall(s *Server, spec CallSpec) *call {
	c := &call{
		s: s, id: newID(), started: time.Now(), loop: newLoop(), spec: spec,
		participants: map[string]*participant{}, sessions: map[string]*Session{},
	}
	c.spec.Hold = spec.Hold || s.cfg.Calls.HoldPatients
	c.endsAt = c.started.Add(s.cfg.Calls.Unattended)
	return c
}

// run is the goroutine of the call.
func (c *call) run() {
	c.emit(event.Event{Type: event.CallStarted, Data: map[string]any{"recording": c.s.cfg.Recorder != nil}})
	c.arm()
	c.loop.run(tickEvery, c.tick)
	c.s.forget(c)
	if c.arming != nil { // a recorder that armed too late is ended by arm's goroutine
		<-c.arming
	}
	if c.recording != nil {
		c.recording.End(time.Now())
	}
}

func (c *call) tick(now time.Time) {
	for _, x := range c.sessions {
		x.watch(now)
	}
	if !c.ended && !c.endsAt.IsZero() && now.After(c.endsAt) {
		reason := "everybody left"
		if !c.attended {
			reason = "nobody came"
		}
		c.end(reason, "")
	}
}

// emit completes an event with what it says about the call and passes it on.
func (c *call) emit(e event.Event) {
	e.Call, e.Room = c.id, c.spec.Room
	e.ExternalID, e.Metadata = c.spec.ExternalID, c.spec.Metadata
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	if e.Data == nil {
		e.Data = map[string]any{}
	}
	c.s.cfg.Events.Emit(e)
	if c.recording != nil {
		c.recording.Note(e)
	}
}

// arm starts arming the recorder unless that is done or under way. The result
// comes back to the loop; until then arming is open.
func (c *call) arm() {
	if c.s.cfg.Recorder == nil || c.recording != nil || c.arming != nil {
		return
	}
	done := make(chan struct{})
	c.arming = done
	about := media.Call{
		ID: c.id, Room: c.spec.Room, ExternalID: c.spec.ExternalID, Metadata: c.spec.Metadata, Started: c.started,
	}
	c.s.wg.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), c.s.cfg.Calls.ArmTimeout)
		defer cancel()
		rec, err := c.s.cfg.Recorder.Arm(ctx, about)
		defer close(done)
		delivered := c.loop.do(context.Background(), func() {
			c.arming, c.recording, c.armErr = nil, rec, err
			if err != nil {
				c.s.log.Error("recorder is not armed: the call is withheld", "call", c.id, "err", err)
				c.tell(NoticeRecording{On: false, Code: event.RecorderFailed}, nil)
				return
			}
			c.tell(NoticeRecording{On: true}, nil)
		})
		if delivered != nil && rec != nil {
			rec.End(time.Now())
		}
	})
}

// armed waits until the recorder is armed, or for want of one returns at once.
// It is called outside the loop and asks for another try where one failed.
func (c *call) armed(ctx context.Context) error {
	if c.s.cfg.Recorder == nil {
		return nil
	}
	for tries := 0; ; tries++ {
		var wait chan struct{}
		var ready bool
		var cause error
		if err := c.loop.do(ctx, func() {
			ready, cause = c.recording != nil, c.armErr
			if !ready && tries == 0 {
				c.arm()
			}
			wait = c.arming
		}); err != nil {
			return err
		}
		if ready {
			return nil
		}
		if wait == nil {
			return fmt.Errorf("%w: %w", ErrRecording, cause)
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// adopt gives the call the details of an API request that came after it was
// opened, provided that nobody has been in it and that it is nobody else's: a
// player may wait in a room before its call is made.
func (c *call) adopt(spec CallSpec) error {
	if c.attended || c.byAPI {
		return fmt.Errorf("%w: room %q has a call already", ErrConflict, c.spec.Room)
	}
	hold := c.spec.Hold || spec.Hold
	c.spec, c.byAPI = spec, true
	c.spec.Hold = hold
	return nil
}

// tell notifies every admitted interactive session but one.
func (c *call) tell(n Notice, but *Session) {
	for _, x := range c.sessions {
		if x != but && x.mode == Interactive && x.p.state != Waiting {
			x.notify(n)
		}
	}
}

// tellParticipant tells what p is now: to everybody if he is in the call, to
// those who may admit him if he waits.
func (c *call) tellParticipant(p *participant) {
	n := NoticeParticipant{Participant: p.info()}
	for _, x := range c.sessions {
		if x.mode != Interactive || x.p.state == Waiting {
			continue
		}
		if p.state != Waiting || x.person.Grants.Admit {
			x.notify(n)
		}
	}
}

func (c *call) info() CallInfo {
	i := CallInfo{
		ID: c.id, Room: c.spec.Room, ExternalID: c.spec.ExternalID, Metadata: c.spec.Metadata,
		Started: c.started, Recording: c.recording != nil, Hold: c.spec.Hold,
	}
	for _, p := range c.participants {
		i.Participants = append(i.Participants, p.info())
	}
	return i
}

// infoFor is info as one session may see it.
func (c *call) infoFor(x *Session) CallInfo {
	i := c.info()
	if x.person.Grants.Admit {
		return i
	}
	seen := i.Participants[:0]
	for _, p := range i.Participants {
		if p.State != Waiting {
			seen = append(seen, p)
		}
	}
	i.Participants = seen
	return i
}

// end ends the call for everybody.
func (c *call) end(reason, by string) { c.finish(media.EndCall, "", reason, by) }

// shutdown ends the call because the server stops.
func (c *call) shutdown() {
	c.finish(media.EndShutdown, event.ServerRestart, "the server stops", "")
}

func (c *call) finish(why media.EndReason, code event.Code, reason, by string) {
	if c.ended {
		return
	}
	c.ended = true
	for _, x := range c.sessions {
		x.close(why, code, by)
	}
	c.s.forget(c)
	data := map[string]any{"reason": reason, "duration_ms": time.Since(c.started).Milliseconds()}
	if by != "" {
		data["by"] = by
	}
	c.emit(event.Event{Type: event.CallEnded, Data: data})
	c.loop.stop()
}

// settle starts or stops the clock after which the call ends for want of
// people. lostAt is zero for a clean leave.
func (c *call) settle(lostAt time.Time) {
	for _, p := range c.participants {
		if len(p.sessions) > 0 {
			c.endsAt = time.Time{}
			return
		}
	}
	if !c.attended {
		return
	}
	if lostAt.IsZero() {
		c.endsAt = time.Now().Add(c.s.cfg.Calls.LingerClean)
		return
	}
	c.endsAt = lostAt.Add(c.s.cfg.Calls.LingerLost)
}
