package sfu

import (
	"fmt"
	"slices"

	"consilium/internal/media"
)

// plan is what the m-lines of an offer mean.
type plan struct {
	tracks []SentTrack // every sending m-line not yet published
	seats  []SeatRequest
}

// plan completes and checks the meaning of an offer's m-lines against what was
// negotiated before and what the session may do. It runs in the call's loop
// with negotiating held.
func (x *Session) plan(o Offer, parsed parsedOffer) (plan, error) {
	var p plan
	named := map[string]SentTrack{}
	for _, t := range o.Tracks {
		named[t.MID] = t
	}
	counts := map[media.Kind]int{}
	shown := map[media.Source]string{} // to mid
	var receiving []offerLine
	for _, l := range parsed.lines {
		if l.app {
			continue
		}
		if err := x.checkDirection(l); err != nil {
			return p, err
		}
		if !x.sends(l) {
			receiving = append(receiving, l)
			continue
		}
		t, ok := named[l.mid]
		delete(named, l.mid)
		if !ok {
			t = SentTrack{MID: l.mid, Source: x.unnamed(o, l, counts[l.kind])}
		}
		counts[l.kind]++
		if err := x.checkTrack(t, l); err != nil {
			return p, err
		}
		if other := shown[t.Source]; t.Source != "" && other != "" {
			return p, fmt.Errorf("%w: both mid %q and mid %q carry %q", ErrBadOffer, other, t.MID, t.Source)
		}
		shown[t.Source] = t.MID
		p.tracks = append(p.tracks, t)
	}
	for mid := range named {
		return p, fmt.Errorf("%w: tracks name mid %q, which is no sending m-line of the offer", ErrBadOffer, mid)
	}
	var err error
	p.seats, err = x.planSeats(o.Seats, receiving)
	return p, err
}

// sends reports whether the client may send on an m-line. What a Player says
// it could send is ignored.
func (x *Session) sends(l offerLine) bool { return l.sends && x.mode != Player }

// unnamed gives an m-line that the offer's tracks don't name a source, by its
// order, or none: one negotiated before means what Publish says, and a client
// that names tracks at all announces the others later.
func (x *Session) unnamed(o Offer, l offerLine, n int) media.Source {
	if x.peer != nil {
		if _, old := x.peer.line(l.mid); old {
			return ""
		}
	}
	if x.mode == Interactive && len(o.Tracks) > 0 {
		return ""
	}
	return sourceByOrder(l.kind, n)
}

// checkDirection refuses m-lines of both directions, and such as change
// theirs: Pion would give the local track to another m-line.
func (x *Session) checkDirection(l offerLine) error {
	if l.sends && l.receives && x.mode == Interactive {
		return fmt.Errorf("%w: mid %q is sendrecv: use one m-line to send and others to receive", ErrBadOffer, l.mid)
	}
	if x.peer == nil || x.mode == Player {
		return nil
	}
	_, sent := x.peer.line(l.mid)
	if received := x.peer.slots[l.mid] != nil; sent && !l.sends || received && l.sends {
		return fmt.Errorf("%w: mid %q has changed its direction: leave m-lines as they are", ErrBadOffer, l.mid)
	}
	return nil
}

func sourceByOrder(kind media.Kind, n int) media.Source {
	switch {
	case kind == media.Audio:
		return media.Microphone
	case n == 0:
		return media.Camera
	default:
		return media.Screen
	}
}

func (x *Session) checkTrack(t SentTrack, l offerLine) error {
	switch {
	case t.Source == "":
		return nil
	case !t.Source.Valid():
		return fmt.Errorf("%w: mid %q: unknown source %q: say mic, cam or screen", ErrBadOffer, l.mid, t.Source)
	case t.Source.Kind() != l.kind:
		return fmt.Errorf("%w: mid %q is %s and can't carry %q", ErrBadOffer, l.mid, l.kind, t.Source)
	case !x.person.Grants.publish(t.Source):
		return fmt.Errorf("%w: publish %s", ErrNoGrant, t.Source)
	}
	return nil
}

// checkCodecs refuses an offer with a sending m-line that offers no codec that
// is configured.
func (m *MediaConfig) checkCodecs(parsed parsedOffer, pl plan) error {
	for _, l := range parsed.lines {
		taken := m.Video
		if l.kind == media.Audio {
			taken = []string{media.Opus}
		}
		planned := slices.ContainsFunc(pl.tracks, func(t SentTrack) bool { return t.MID == l.mid })
		if planned && !slices.ContainsFunc(taken, func(name string) bool { return slices.Contains(l.codecs, name) }) {
			return fmt.Errorf("%w: mid %q offers no codec that this server takes (%s offered)", ErrBadOffer, l.mid, l.codecs)
		}
	}
	return nil
}

// planSeats pairs the receiving m-lines that are new. Named seats come first;
// the rest is paired by order.
func (x *Session) planSeats(named []SeatRequest, receiving []offerLine) ([]SeatRequest, error) {
	free := map[string]media.Kind{}
	var order []string
	for _, l := range receiving {
		if x.seated(l.mid) {
			continue
		}
		free[l.mid] = l.kind
		order = append(order, l.mid)
	}
	if len(order) == 0 {
		return nil, nil
	}
	if x.mode == Publisher {
		return nil, fmt.Errorf("%w: mid %q wants to receive, but this endpoint only publishes", ErrBadOffer, order[0])
	}
	if !x.person.Grants.Subscribe {
		return nil, fmt.Errorf("%w: subscribe", ErrNoGrant)
	}
	var seats []SeatRequest
	for _, s := range named {
		if x.seated(s.Video) {
			continue // a seat of an earlier offer, repeated
		}
		if free[s.Video] != media.Video || (s.Audio != "" && free[s.Audio] != media.Audio) {
			return nil, fmt.Errorf("%w: seat {audio %q, video %q} does not name new receive-only m-lines", ErrBadOffer, s.Audio, s.Video)
		}
		delete(free, s.Video)
		delete(free, s.Audio)
		seats = append(seats, s)
	}
	var audio, video []string
	for _, mid := range order {
		switch free[mid] {
		case media.Audio:
			audio = append(audio, mid)
		case media.Video:
			video = append(video, mid)
		}
	}
	for i := range max(len(audio), len(video)) {
		var s SeatRequest
		if i < len(audio) {
			s.Audio = audio[i]
		}
		if i < len(video) {
			s.Video = video[i]
		}
		seats = append(seats, s)
	}
	return seats, nil
}

// seated reports whether an m-line is part of a seat already.
func (x *Session) seated(mid string) bool {
	return x.peer != nil && x.peer.slots[mid] != nil && x.peer.slots[mid].seated
}
