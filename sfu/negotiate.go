package sfu

import (
	"context"
	"fmt"
	"slices"
	"time"

	"consilium/internal/event"
	"consilium/internal/media"
)

// The one primitive of negotiation: the client offers, the server answers, one
// offer is in flight. It serves the WebSocket, WHIP and WHEP alike. plan.go
// says what the m-lines mean, answer.go has what is Pion's part. DESIGN.md has
// the rules and why they are so.

// Offer answers an offer. It waits for the recorder to be armed, so that no
// media flows in a call that is not recorded. It returns ErrConflict while
// another offer of the session is in flight, ErrNotSDP, ErrBadOffer,
// ErrNoGrant, ErrWaiting, ErrRecording or ErrClosed. A refused offer leaves the
// session as it was. ctx counts until the answer is being made; that is brief,
// and half an answer could not be taken back.
func (x *Session) Offer(ctx context.Context, o Offer) (Answer, error) {
	if !x.negotiating.TryLock() {
		return Answer{}, fmt.Errorf("%w: an offer is in flight already", ErrConflict)
	}
	defer x.negotiating.Unlock()
	answer, err := x.offer(ctx, o)
	if err != nil {
		x.c.loop.post(func() {
			x.emit(event.Event{Type: event.NoteNegotiation, Data: map[string]any{"text": "offer refused", "error": err.Error()}})
		})
	}
	return answer, err
}

func (x *Session) offer(ctx context.Context, o Offer) (Answer, error) {
	began := time.Now()
	if err := x.in(ctx, x.mayOffer); err != nil {
		return Answer{}, err
	}
	parsed, err := parseOffer(o.SDP)
	if err != nil {
		return Answer{}, err
	}
	var pl plan
	if err := x.in(ctx, func() (err error) { pl, err = x.beginOffer(o, parsed); return err }); err != nil {
		return Answer{}, err
	}
	defer x.c.s.wg.Done()
	if err := x.c.armed(ctx); err != nil {
		return Answer{}, err
	}
	p := x.peer
	if p == nil {
		if p, err = newPeer(x); err != nil {
			return Answer{}, err
		}
	}
	answer, up, err := p.answer(x.c.s.cfg.Media.Video, parsed, pl)
	if err == nil {
		err = x.in(context.WithoutCancel(ctx), func() error { return x.negotiated(p, pl, parsed, up, began) })
	}
	if err != nil {
		x.takeBack(p)
		return Answer{}, err
	}
	answer = x.c.s.cfg.Network.advertise(withBitrates(answer, up, x.c.s.cfg.Media))
	return Answer{SDP: answer, Candidates: answerCandidates(answer)}, nil
}

// checkOffer checks the first offer of a session that does not exist yet.
func checkOffer(req JoinRequest) error {
	parsed, err := parseOffer(req.Offer.SDP)
	if err != nil {
		return err
	}
	_, err = (&Session{mode: req.Mode, person: req.Person}).plan(*req.Offer, parsed)
	return err
}

func (x *Session) mayOffer() error {
	if x.p.state == Waiting {
		return fmt.Errorf("%w", ErrWaiting)
	}
	return nil
}

// beginOffer checks an offer. If it is good the server waits, when it stops,
// for the negotiation to be over: until then a peer may have no other owner.
func (x *Session) beginOffer(o Offer, parsed parsedOffer) (plan, error) {
	if x.peer != nil && x.peer.fingerprint != parsed.fingerprint {
		return plan{}, fmt.Errorf("%w: it comes from another PeerConnection (its DTLS fingerprint has changed), "+
			"and a session has one: join again to replace it", ErrBadOffer)
	}
	pl, err := x.plan(o, parsed)
	if err == nil {
		err = x.c.s.cfg.Media.checkCodecs(parsed, pl)
	}
	if err == nil {
		x.c.s.wg.Add(1)
	}
	return pl, err
}

// takeBack makes good for an offer that failed when Pion had begun with it. A
// peer that nobody has yet is thrown away; one in use has to become stable
// again, or else no further offer could be answered and the session is lost.
func (x *Session) takeBack(p *peer) {
	if x.peer == nil {
		p.close()
		return
	}
	if err := p.settle(); err != nil {
		p.log.Warn("session is given up: its negotiation can't be taken back", "err", err)
		x.Leave(media.EndLost)
	}
}

// negotiated takes an answered offer over into the call. It runs in the loop.
func (x *Session) negotiated(p *peer, pl plan, o parsedOffer, up map[string]upLine, began time.Time) error {
	first := x.peer == nil
	if first {
		x.peer, p.fingerprint = p, o.fingerprint
		x.stages.answered = time.Now()
		p.attach(x)
	}
	lines := make([]upLine, 0, len(up))
	for mid, l := range up {
		p.lines[mid] = l
		lines = append(lines, l)
	}
	p.transport.setLines(lines)
	for _, c := range o.candidates {
		x.noteCandidate(c, "")
	}
	for _, s := range pl.seats {
		x.addSeat(s)
	}
	for _, t := range pl.tracks {
		if t.Source == "" || x.publishes(t.MID) {
			continue
		}
		if err := x.announce(t, true); err != nil {
			return err
		}
	}
	x.emit(event.Event{Type: event.NoteNegotiation, Data: map[string]any{
		"text": "offer answered", "m_lines": len(o.lines), "first": first, "took_ms": time.Since(began).Milliseconds(),
	}})
	x.c.tellParticipant(x.p)
	x.c.seatAll()
	return nil
}

func (x *Session) publishes(mid string) bool {
	return slices.ContainsFunc(x.published, func(t *track) bool { return t.mid == mid })
}
