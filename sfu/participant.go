package sfu

import (
	"fmt"
	"slices"
	"time"

	"consilium/internal/event"
	"consilium/internal/media"
)

// participant is a person or a device in a call, by identity. It has one
// interactive session at most and any number of publishers. Owned by the
// call's loop.
type participant struct {
	identity string
	name     string
	role     string
	state    ParticipantState
	sessions []*Session // without players
	came     time.Time
	absence  *event.Event // what he was told when nobody else came; nil: nothing
}

func (p *participant) info() ParticipantInfo {
	i := ParticipantInfo{Identity: p.identity, Name: p.name, Role: p.role, State: p.state}
	for _, x := range p.sessions {
		i.Sessions = append(i.Sessions, x.id)
		for _, t := range x.published {
			i.Tracks = append(i.Tracks, t.info())
		}
	}
	return i
}

// noteLost makes the state that of the sessions: reconnecting while one has
// lost its signalling. It reports whether that changed anything.
func (p *participant) noteLost() bool {
	if p.state != Joined && p.state != Reconnecting {
		return false
	}
	before := p.state
	p.state = Joined
	if slices.ContainsFunc(p.sessions, func(x *Session) bool { return !x.lostAt.IsZero() }) {
		p.state = Reconnecting
	}
	return p.state != before
}

// held reports whether a person of this role waits in a call that holds.
func held(role string) bool { return role == "patient" || role == "companion" }

// join makes a session of a request. It runs in the loop.
func (c *call) join(req JoinRequest) (*Session, error) {
	if c.ended {
		return nil, ErrClosed
	}
	if req.Mode == Player {
		return c.joinPlayer(req)
	}
	p := c.participants[req.Identity]
	if p == nil {
		if max := c.s.cfg.Calls.MaxParticipants; max > 0 && len(c.participants) >= max {
			return nil, fmt.Errorf("%w: the call has %d participants", ErrBusy, max)
		}
		p = &participant{identity: req.Identity, state: Joined, came: time.Now()}
		if req.Admitted {
			c.admitted[req.Identity] = true
		}
		if c.spec.Hold && held(req.Role) && !c.admitted[req.Identity] {
			p.state = Waiting
		}
		c.participants[req.Identity] = p
	}
	if len(p.sessions) == 0 || req.Mode == Interactive { // a device does not rename its owner
		p.name, p.role = req.Name, req.Role
	}
	x := newSession(c, p, req)
	first, old := len(p.sessions) == 0, c.replaced(p, x)
	c.sessions[x.id] = x
	p.sessions = append(p.sessions, x)
	c.attended = true
	c.settle()
	x.start()
	if old != nil {
		old.successor = x
		code := event.SessionReplaced
		if req.Rejoin == old.id {
			code = ""
		} else {
			old.replacedBy(x)
		}
		old.close(media.EndReplaced, code, "")
	}
	c.arrive(p, x, first)
	c.repeatAbsence(x)
	return x, nil
}

// joinPlayer makes a session of somebody who only watches and is nobody in the
// call.
func (c *call) joinPlayer(req JoinRequest) (*Session, error) {
	if c.spec.Hold && held(req.Role) && !c.admitted[req.Identity] {
		return nil, fmt.Errorf("%w: %q must be admitted before watching", ErrWaiting, req.Identity)
	}
	x := newSession(c, &participant{identity: req.Identity, state: Joined}, req)
	c.sessions[x.id] = x
	c.settle()
	x.start()
	return x, nil
}

// replaced returns the session that x takes the place of, if any.
func (c *call) replaced(p *participant, x *Session) *Session {
	if x.mode != Interactive {
		return nil
	}
	for _, other := range p.sessions {
		if other.mode == Interactive {
			return other
		}
	}
	return nil
}

// arrive tells the world about a new session of p; first says that it is what
// brought him into the call.
func (c *call) arrive(p *participant, x *Session, first bool) {
	c.meet(p)
	if p.state == Waiting {
		if first {
			c.emit(event.Event{Type: event.ParticipantWaiting, Participant: p.identity, Session: x.id,
				Data: map[string]any{"role": p.role, "name": p.name}})
		}
		c.tellParticipant(p)
		return
	}
	p.noteLost()
	if first {
		c.joined(p, x)
	}
	c.enter(p, x)
}

func (c *call) joined(p *participant, x *Session) {
	data := map[string]any{"role": p.role, "name": p.name}
	if x.mode == Publisher {
		data["via"] = "whip"
	}
	c.emit(event.Event{Type: event.ParticipantJoined, Participant: p.identity, Session: x.id, Data: data})
}

// enter shows the call to a session that is in it, and the session to the call.
func (c *call) enter(p *participant, x *Session) {
	x.notify(NoticeState{Call: c.infoFor(x)})
	if c.s.cfg.Recorder != nil {
		x.notify(c.recordingNotice())
	}
	c.tellParticipant(p)
	c.seatAll()
}

// admit lets a waiting participant in.
func (c *call) admit(identity, by string) error {
	p := c.participants[identity]
	if p == nil {
		return fmt.Errorf("%w: %q is not in the call", ErrNotFound, identity)
	}
	if p.state != Waiting {
		return fmt.Errorf("%w: %q is not waiting", ErrConflict, identity)
	}
	p.state, c.admitted[identity] = Joined, true
	p.noteLost()
	c.meet(p)
	c.emit(event.Event{Type: event.ParticipantAdmitted, Participant: identity, Data: map[string]any{"by": by}})
	for i, x := range p.sessions {
		if i == 0 {
			c.joined(p, x)
		}
		c.enter(p, x)
	}
	return nil
}

// remove ends every session of a participant.
func (c *call) remove(identity, by string) error {
	p := c.participants[identity]
	if p == nil {
		return fmt.Errorf("%w: %q is not in the call", ErrNotFound, identity)
	}
	for _, x := range slices.Clone(p.sessions) {
		x.close(media.EndRemoved, "", by)
	}
	return nil
}

// mute stops the forwarding of a source and asks the publisher to mute it.
func (c *call) mute(identity string, source media.Source, by string) error {
	p := c.participants[identity]
	if p == nil {
		return fmt.Errorf("%w: %q is not in the call", ErrNotFound, identity)
	}
	if !source.Valid() {
		return fmt.Errorf("%w: unknown source %q: say mic, cam or screen", ErrBadOffer, source)
	}
	found := false
	for _, x := range p.sessions {
		for _, t := range x.published {
			if t.about.Source == source {
				found = true
				t.setMuted(true)
				t.up.setBlocked(true) // until he unmutes it himself
				x.notify(NoticeMute{Source: source, By: by})
			}
		}
	}
	if !found {
		return fmt.Errorf("%w: %q publishes no %s", ErrNotFound, identity, source)
	}
	c.tellParticipant(p)
	return nil
}

// leave takes a closed session out of the call.
func (c *call) leave(x *Session, why media.EndReason, by string) {
	delete(c.sessions, x.id)
	if x.mode == Player {
		c.settle()
		return
	}
	p := x.p
	p.sessions = slices.DeleteFunc(p.sessions, func(o *Session) bool { return o == x })
	if len(p.sessions) == 0 {
		c.left(p, x, why, by)
	} else if p.noteLost(); !c.ended && why != media.EndReplaced { // the successor is told of with what it brings
		c.tellParticipant(p)
	}
	c.seatAll()
}

// left says that a participant is gone with his last session.
func (c *call) left(p *participant, x *Session, why media.EndReason, by string) {
	delete(c.participants, p.identity)
	waited := p.state == Waiting
	p.state = Left
	data := map[string]any{"reason": string(why)}
	if by != "" {
		data["by"] = by
	}
	if waited {
		data["waited"] = true
	}
	c.emit(event.Event{Type: event.ParticipantLeft, Participant: p.identity, Session: x.id, Data: data})
	if c.ended {
		return
	}
	c.tellOf(waited, NoticeParticipantLeft{Identity: p.identity, Reason: why})
	c.linger(x, why)
	c.settle()
}
