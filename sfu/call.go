package sfu

import (
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
	admitted     map[string]bool         // identities let in: they need not wait again
	attended     bool                    // somebody has been here
	met          bool                    // two people have been here together
	lingers      time.Time               // until when the call waits for those who left
	endsAt       time.Time               // when it ends if nobody comes; zero while somebody is there
	ended        bool

	arm       arming
	recording Recording // nil until armed
	alarms    alarms    // of the recording
}

// tickEvery is how often a call looks at its clocks: the precision of every
// deadline of this package.
const tickEvery = 100 * time.Millisecond

func newCall(s *Server, spec CallSpec) *call {
	c := &call{
		s: s, id: newID(), started: time.Now(), loop: newLoop(), spec: spec,
		participants: map[string]*participant{}, sessions: map[string]*Session{}, admitted: map[string]bool{},
		alarms: alarms{},
	}
	c.spec.Hold = spec.Hold || s.cfg.Calls.HoldPatients
	return c
}

// run is the goroutine of the call.
func (c *call) run() {
	c.emit(event.Event{Type: event.CallStarted, Data: map[string]any{"recording": c.s.cfg.Recorder != nil}})
	c.startArming()
	c.settle()
	c.loop.run(tickEvery, c.tick)
	c.s.forget(c)
	c.endRecording()
}

func (c *call) tick(now time.Time) {
	for _, x := range c.sessions {
		x.watch(now)
	}
	c.watchAbsence(now)
	if !c.ended && !c.endsAt.IsZero() && now.After(c.endsAt) {
		reason := "everybody left"
		if !c.attended {
			reason = "nobody came"
		}
		c.end(reason, "")
	}
}

// emit completes an event with what it says about the call, passes it on and
// returns it as it went out.
func (c *call) emit(e event.Event) event.Event {
	e.Call, e.Room = c.id, c.spec.Room
	e.ExternalID, e.Metadata = c.spec.ExternalID, c.spec.Metadata
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	if e.Data == nil {
		e.Data = map[string]any{}
	}
	e = c.s.cfg.Number(e)
	c.s.cfg.Events.Emit(e)
	c.noteRecording(e)
	return e
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
	c.settle()
	return nil
}

// tell notifies every admitted interactive session.
func (c *call) tell(n Notice) { c.tellOf(false, n) }

// tellOf notifies every admitted interactive session of something about
// somebody; of who waits only those who may admit him.
func (c *call) tellOf(waits bool, n Notice) {
	for _, x := range c.sessions {
		if x.mode == Interactive && x.p.state != Waiting && (!waits || x.person.Grants.Admit) {
			x.notify(n)
		}
	}
}

// tellParticipant tells what p is now. A player has a participant of his own
// that is not one of the call: nobody is told of him.
func (c *call) tellParticipant(p *participant) {
	if c.participants[p.identity] != p {
		return
	}
	c.tellOf(p.state == Waiting, NoticeParticipant{Participant: p.info()})
}

func (c *call) info() CallInfo {
	i := CallInfo{
		ID: c.id, Room: c.spec.Room, ExternalID: c.spec.ExternalID, Metadata: c.spec.Metadata,
		Started: c.started, Recording: c.recordingNotice(), Hold: c.spec.Hold,
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
// people. It runs after everybody who comes or goes.
func (c *call) settle() {
	switch cfg := c.s.cfg.Calls; {
	case len(c.participants) > 0:
		c.endsAt = time.Time{}
	case c.attended:
		c.endsAt = c.lingers
	case c.byAPI || len(c.sessions) > 0: // awaited, by the MIS or by a player
		c.endsAt = c.started.Add(cfg.Unattended)
	default: // who opened it was refused, or was a player that has gone
		c.endsAt = time.Now().Add(cfg.LingerClean)
	}
}

// linger keeps the call open for a while for a session that has left: long for
// one that was lost and may come back, short for one that meant to go.
func (c *call) linger(x *Session, why media.EndReason) {
	until := time.Now().Add(c.s.cfg.Calls.LingerClean)
	if why == media.EndLost {
		lost := x.lostAt
		if lost.IsZero() {
			lost = time.Now()
		}
		until = lost.Add(c.s.cfg.Calls.LingerLost)
	}
	c.lingers = later(c.lingers, until)
}
