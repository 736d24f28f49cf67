package sfu

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"consilium/internal/event"
	"consilium/internal/media"
)

// Session is one connection of a participant. Its methods are safe for
// concurrent use; those that can fail return ErrClosed when it is over.
type Session struct {
	c       *call
	p       *participant
	id      string
	mode    Mode
	person  Person
	target  string // of a Player
	order   []media.Source
	client  map[string]any
	consent *Consent
	notify  func(Notice) // called in the loop only
	done    chan struct{}

	negotiating sync.Mutex // held by Offer; with it, peer may be written
	peer        *peer      // nil before the first offer; written under negotiating and in the loop

	// What follows is owned by the call's loop.
	closed    bool
	joinedAt  time.Time
	lostAt    time.Time // when signalling was lost; zero while it is there
	successor *Session  // who took this session's place
	published []*track
	seats     []*seat
	lastSeats NoticeSeats
	views     map[string]View // nil until the client said what it sees
	decoded   map[string]uint64
	stages    stages
}

func newSession(c *call, p *participant, req JoinRequest) *Session {
	return &Session{
		c: c, p: p, id: newID(), mode: req.Mode, person: req.Person,
		target: req.Target, order: req.Sources, client: req.Client, consent: req.Consent,
		notify: req.Notify, done: make(chan struct{}), joinedAt: time.Now(),
		decoded: map[string]uint64{},
	}
}

// start writes down who came.
func (x *Session) start() {
	x.c.s.lives.Store(x.id, struct{}{})
	data := map[string]any{"text": "session opened"}
	maps.Copy(data, x.client)
	if x.mode == Player {
		data["plays"] = x.target
	}
	x.emit(event.Event{Type: event.NoteState, Data: data})
	if c := x.consent; c != nil {
		x.emit(event.Event{Type: event.ConsentGiven, Data: map[string]any{"recording": true, "text": c.Text, "lang": c.Lang}})
	}
}

// emit emits an event of this session and returns it as it went out.
func (x *Session) emit(e event.Event) event.Event {
	e.Participant, e.Session = x.p.identity, x.id
	return x.c.emit(e)
}

// tellSelf emits an event, tells it to the session itself and returns it.
func (x *Session) tellSelf(e event.Event) event.Event {
	e = x.emit(e)
	if x.mode == Interactive {
		x.notify(NoticeEvent{Event: e})
	}
	return e
}

// tellCall emits an event and tells it to everybody in the call: to the session
// itself with the evidence, to the others without.
func (x *Session) tellCall(e event.Event) {
	e = x.tellSelf(e)
	if x.c.participants[x.p.identity] != x.p {
		return // a player, of whom nobody knows
	}
	e.Evidence = nil
	for _, other := range x.c.sessions {
		if other != x && other.mode == Interactive && other.p.state != Waiting {
			other.notify(NoticeEvent{Event: e})
		}
	}
}

// ID is the session's opaque id.
func (x *Session) ID() string { return x.id }

// CallID is the id of the session's call.
func (x *Session) CallID() string { return x.c.id }

// Done is closed when the session is over, for whatever cause.
func (x *Session) Done() <-chan struct{} { return x.done }

// Call describes the call as this session may see it.
func (x *Session) Call() CallInfo {
	var i CallInfo
	_ = x.in(context.Background(), func() error { i = x.c.infoFor(x); return nil })
	return i
}

// State tells whether the session's participant is waiting or has joined.
func (x *Session) State() ParticipantState {
	state := Left
	_ = x.in(context.Background(), func() error { state = x.p.state; return nil })
	return state
}

// Seats describes the session's seats as of now.
func (x *Session) Seats() NoticeSeats {
	var n NoticeSeats
	_ = x.in(context.Background(), func() error { n = x.lastSeats; return nil })
	return n
}

// in runs f in the call's loop unless the session is over.
func (x *Session) in(ctx context.Context, f func() error) error {
	var err error
	if err2 := x.c.loop.do(ctx, func() {
		if x.closed {
			err = ErrClosed
			return
		}
		err = f()
	}); err2 != nil {
		return err2
	}
	return err
}

// Publish announces that a negotiated sending m-line now carries a source, is
// muted, or carries nothing (active false). A track ends when its m-line
// carries nothing; a new one begins when it carries something again.
func (x *Session) Publish(ctx context.Context, mid string, source media.Source, active, muted bool) error {
	return x.in(ctx, func() error {
		if x.p.state == Waiting {
			return ErrWaiting
		}
		if err := x.announce(SentTrack{MID: mid, Source: source, Muted: muted}, active); err != nil {
			return err
		}
		x.c.tellParticipant(x.p)
		x.c.seatAll()
		return nil
	})
}

// View says which video tracks the client shows and how large. Video that is
// not listed is not sent; before the first call everything is.
func (x *Session) View(ctx context.Context, views []View) error {
	return x.in(ctx, func() error {
		x.views = make(map[string]View, len(views))
		for _, v := range views {
			x.views[v.Track] = v
		}
		for _, s := range x.seats {
			s.applyView(x)
		}
		return nil
	})
}

// Decoded reports how many frames (video) or samples (audio) the client has
// decoded so far, by track.
func (x *Session) Decoded(counts map[string]uint64) {
	x.c.loop.post(func() {
		for _, s := range x.seats {
			s.noteDecoded(counts)
		}
	})
}

// Candidate notes an ICE candidate that the client offered. It is never used:
// the server learns its peers from their checks.
func (x *Session) Candidate(candidate, mid string) {
	x.c.loop.post(func() { x.noteCandidate(candidate, mid) })
}

// ClientLog puts an entry of the client's own log in the journal. An entry
// with a code is the client's word for what failed: the first one that is about
// the way to a connection counts as the cause if there comes to be none,
// and the client hears its incident number.
func (x *Session) ClientLog(stage event.Stage, text string, f event.Failure, data map[string]any, at time.Time) {
	x.c.loop.post(func() {
		d := map[string]any{"text": text, "client_time": at.UTC().Format(time.RFC3339Nano)}
		maps.Copy(d, data)
		if f.Stage == "" {
			f.Stage = stage
		}
		note := event.Event{Type: event.NoteClient, Failure: f, Data: d}
		if f.Code != "" {
			x.tellSelf(note)
		} else {
			x.emit(note)
		}
		x.named(f)
	})
}

// Admit, Remove, Mute and EndCall do to others what the session's grants allow.
func (x *Session) Admit(ctx context.Context, identity string) error {
	return x.granted(ctx, x.person.Grants.Admit, "admit", func() error { return x.c.admit(identity, x.p.identity) })
}

// Remove ends every session of a participant.
func (x *Session) Remove(ctx context.Context, identity string) error {
	return x.granted(ctx, x.person.Grants.Remove, "remove", func() error { return x.c.remove(identity, x.p.identity) })
}

// Mute mutes a source of a participant.
func (x *Session) Mute(ctx context.Context, identity string, source media.Source) error {
	return x.granted(ctx, x.person.Grants.Mute, "mute", func() error { return x.c.mute(identity, source, x.p.identity) })
}

// EndCall ends the call for everybody.
func (x *Session) EndCall(ctx context.Context) error {
	return x.granted(ctx, x.person.Grants.End, "end", func() error { x.c.end("ended", x.p.identity); return nil })
}

func (x *Session) granted(ctx context.Context, ok bool, grant string, f func() error) error {
	if !ok {
		return fmt.Errorf("%w: %s", ErrNoGrant, grant)
	}
	return x.in(ctx, func() error {
		if x.p.state == Waiting {
			return ErrWaiting
		}
		return f()
	})
}

// SocketLost says that signalling is gone for now; media may go on.
func (x *Session) SocketLost() {
	x.c.loop.post(func() {
		if x.closed || !x.lostAt.IsZero() {
			return
		}
		x.lostAt = time.Now()
		x.emit(event.Event{Type: event.NoteState, Data: map[string]any{"text": "signalling lost"}})
		x.tellLost()
	})
}

// SocketBack says that signalling is there again.
func (x *Session) SocketBack() {
	x.c.loop.post(func() {
		if x.closed || x.lostAt.IsZero() {
			return
		}
		x.emit(event.Event{Type: event.NoteState, Data: map[string]any{
			"text": "signalling back", "after_ms": time.Since(x.lostAt).Milliseconds(),
		}})
		x.lostAt = time.Time{}
		x.tellLost()
	})
}

func (x *Session) tellLost() {
	if x.p.noteLost() {
		x.c.tellParticipant(x.p)
	}
}

// Leave ends the session: cleanly (media.EndLeft) or because it was lost
// (media.EndLost). It returns at once.
func (x *Session) Leave(why media.EndReason) {
	x.c.loop.post(func() { x.close(why, "", "") })
}

// close ends the session. It runs in the loop; what takes time is done by a
// goroutine of the server.
func (x *Session) close(why media.EndReason, code event.Code, by string) {
	if x.closed {
		return
	}
	if why == media.EndShutdown {
		x.stoppedByServer()
	}
	x.closed = true
	x.emit(event.Event{Type: event.NoteState, Data: map[string]any{"text": "session closed", "reason": string(why)}})
	for _, t := range x.published {
		t.end(why)
	}
	x.published = nil
	for _, s := range x.seats {
		s.clear()
	}
	x.c.leave(x, why, by)
	x.notify(NoticeEnded{Reason: why, Code: code, By: by})
	close(x.done)
	x.c.s.lives.Delete(x.id)
	x.c.s.cfg.SessionEnded(x.id)
	if x.peer != nil {
		x.c.s.wg.Go(x.peer.close)
	}
}
