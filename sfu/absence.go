package sfu

import (
	"slices"
	"time"

	"consilium/internal/event"
)

// deviceRole is the role of a camera or a recorder, which is nobody's company.
const deviceRole = "device"

// meet notes when two people have been in the call together: being left is
// something else than that nobody came. Two who wait don't see each other.
func (c *call) meet(p *participant) {
	for _, other := range c.participants {
		if other != p && person(other) && person(p) && (other.state != Waiting || p.state != Waiting) {
			c.met = true
		}
	}
}

func person(p *participant) bool { return p.role != deviceRole }

// watchAbsence tells who has been alone for too long, once.
func (c *call) watchAbsence(now time.Time) {
	after := c.s.cfg.Calls.AbsentAfter
	if after <= 0 || c.met || c.ended {
		return
	}
	for _, p := range c.participants {
		if !person(p) || p.absence != nil || len(p.sessions) == 0 || now.Sub(p.came) < after {
			continue
		}
		awaited := c.awaited()
		if c.spec.Awaited != nil && len(awaited) == 0 {
			continue // nobody else was invited
		}
		evidence := map[string]any{"alone_ms": now.Sub(p.came).Milliseconds(), "state": string(p.state)}
		if len(awaited) > 0 {
			evidence["awaited"] = awaited
		}
		e := event.Event{Type: event.ParticipantFailed,
			Failure: event.Failure{Code: event.PeerAbsent, Stage: event.StageFlowing, Evidence: evidence},
			Data:    map[string]any{"present": true}}
		e = p.speaker().tellSelf(e)
		p.absence = &e
	}
}

// awaited are those who got a link and are not here.
func (c *call) awaited() []string {
	var missing []string
	for _, identity := range c.spec.Awaited {
		if c.participants[identity] == nil {
			missing = append(missing, identity)
		}
	}
	return missing
}

// repeatAbsence says to a session that came in the place of another what that
// one was told.
func (c *call) repeatAbsence(x *Session) {
	if e := x.p.absence; e != nil && !c.met && x.mode == Interactive {
		x.notify(NoticeEvent{Event: *e})
	}
}

// speaker is the session in which a participant reads what he is told.
func (p *participant) speaker() *Session {
	if i := slices.IndexFunc(p.sessions, func(x *Session) bool { return x.mode == Interactive }); i >= 0 {
		return p.sessions[i]
	}
	return p.sessions[0]
}
