package sfu

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pion/webrtc/v4"

	"consilium/internal/event"
	"consilium/internal/media"
)

// The one primitive of negotiation: the client offers, the server answers, one
// offer is in flight. It serves the WebSocket, WHIP and WHEP alike. DESIGN.md
// has the rules and why they are so.

// gatherTimeout bounds the gathering of local candidates. There are only host
// candidates of sockets that are open already, so it takes no time.
const gatherTimeout = 3 * time.Second

// Offer answers an offer. It waits for the recorder to be armed, so that no
// media flows in a call that is not recorded. It returns ErrConflict while
// another offer of the session is in flight, ErrNotSDP, ErrBadOffer,
// ErrNoGrant, ErrWaiting, ErrRecording or ErrClosed.
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
	plan, err := x.plan(o, parsed)
	if err != nil {
		return Answer{}, err
	}
	if err := x.c.armed(ctx); err != nil {
		return Answer{}, err
	}
	p := x.peer
	if p == nil {
		if p, err = newPeer(x); err != nil {
			return Answer{}, err
		}
	}
	answer, up, err := p.answer(ctx, x, parsed, plan)
	if err == nil {
		err = x.in(ctx, func() error { return x.negotiated(p, plan, parsed, up, began) })
	}
	if err != nil {
		if x.peer == nil {
			p.close()
		}
		return Answer{}, err
	}
	answer = withStartBitrate(answer, up, x.c.s.cfg.Media.StartBitrate)
	return Answer{SDP: answer, Candidates: answerCandidates(answer)}, nil
}

func (x *Session) mayOffer() error {
	if x.p.state == Waiting {
		return fmt.Errorf("%w", ErrWaiting)
	}
	return nil
}

// plan is what the m-lines of an offer mean.
type plan struct {
	tracks []SentTrack // every sending m-line not yet published
	seats  []SeatRequest
}

// plan completes and checks the meaning of an offer's m-lines against what was
// negotiated before and what the session may do.
func (x *Session) plan(o Offer, parsed parsedOffer) (plan, error) {
	var p plan
	named := map[string]SentTrack{}
	for _, t := range o.Tracks {
		named[t.MID] = t
	}
	counts := map[media.Kind]int{}
	var receiving []offerLine
	for _, l := range parsed.lines {
		if l.app {
			continue
		}
		sends := l.sends && x.mode != Player
		if l.sends && l.receives && x.mode == Interactive {
			return p, fmt.Errorf("%w: mid %q is sendrecv: use one m-line to send and others to receive", ErrBadOffer, l.mid)
		}
		if !sends {
			receiving = append(receiving, l)
			continue
		}
		t, ok := named[l.mid]
		delete(named, l.mid)
		if !ok {
			t = SentTrack{MID: l.mid, Source: sourceByOrder(l.kind, counts[l.kind])}
			if x.mode == Interactive && len(o.Tracks) > 0 {
				t.Source = "" // negotiated, announced later by Publish
			}
		}
		counts[l.kind]++
		if err := x.checkTrack(t, l); err != nil {
			return p, err
		}
		p.tracks = append(p.tracks, t)
	}
	for mid := range named {
		return p, fmt.Errorf("%w: tracks name mid %q, which is no sending m-line of the offer", ErrBadOffer, mid)
	}
	var err error
	p.seats, err = x.planSeats(o.Seats, receiving)
	return p, err
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

// planSeats pairs the receiving m-lines that are new. Named seats come first;
// the rest is paired by order.
func (x *Session) planSeats(named []SeatRequest, receiving []offerLine) ([]SeatRequest, error) {
	free := map[string]media.Kind{}
	var order []string
	for _, l := range receiving {
		if x.peer != nil && x.peer.slots[l.mid] != nil {
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
		if x.peer != nil && x.peer.slots[s.Video] != nil {
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

// answer applies the offer to the PeerConnection and makes the answer.
func (p *peer) answer(ctx context.Context, x *Session, o parsedOffer, pl plan) (string, map[string]upLine, error) {
	offer := webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: o.sdp}
	if err := p.pc.SetRemoteDescription(offer); err != nil {
		return "", nil, fmt.Errorf("%w: %w", ErrBadOffer, err)
	}
	if err := p.addSlots(x, o, pl); err != nil {
		return "", nil, err
	}
	if err := p.chooseCodecs(x, o); err != nil {
		return "", nil, err
	}
	a, err := p.pc.CreateAnswer(nil)
	if err != nil {
		return "", nil, fmt.Errorf("%w: %w", ErrBadOffer, err)
	}
	gathered := webrtc.GatheringCompletePromise(p.pc)
	if err := p.pc.SetLocalDescription(a); err != nil {
		return "", nil, fmt.Errorf("%w: %w", ErrBadOffer, err)
	}
	timeout := time.NewTimer(gatherTimeout)
	defer timeout.Stop()
	select {
	case <-gathered:
	case <-timeout.C:
		return "", nil, fmt.Errorf("local candidates were not gathered within %v", gatherTimeout)
	case <-ctx.Done():
		return "", nil, ctx.Err()
	}
	text := p.pc.LocalDescription().SDP
	up, err := upLines(text, o.lines)
	if err != nil {
		return "", nil, err
	}
	for _, l := range o.lines {
		if _, ok := up[l.mid]; l.sends && !ok && x.mode != Player {
			return "", nil, fmt.Errorf("%w: mid %q offers no codec that this server takes (%s offered)", ErrBadOffer, l.mid, l.codecs)
		}
	}
	return text, up, nil
}

// addSlots gives every new receiving m-line a local track for life. AddTrack
// takes the first transceiver of the kind that may send and has no track, so
// the order of the offer is kept.
func (p *peer) addSlots(x *Session, o parsedOffer, pl plan) error {
	fresh := map[string]string{} // mid to seat id
	next := len(x.seatsOf())
	for i, s := range pl.seats {
		id := fmt.Sprintf("seat-%d", next+i)
		if s.Audio == "" {
			id = fmt.Sprintf("screen-%d", next+i)
		}
		fresh[s.Video] = id
		if s.Audio != "" {
			fresh[s.Audio] = id
		}
	}
	for _, l := range o.lines {
		id, ok := fresh[l.mid]
		if !ok || l.mid == "" {
			continue
		}
		dt := newDownTrack(downConfig{
			ID: fmt.Sprintf("%s-%s", id, l.kind), StreamID: id, Kind: l.kind, MID: l.mid, Transport: p.transport,
		})
		sender, err := p.pc.AddTrack(dt)
		if err != nil {
			return fmt.Errorf("%w: mid %q: %w", ErrBadOffer, l.mid, err)
		}
		if mid := p.midOf(sender); mid != l.mid {
			return fmt.Errorf("%w: mid %q: its track went to mid %q", ErrBadOffer, l.mid, mid)
		}
		p.slots[l.mid] = &seatLine{mid: l.mid, kind: l.kind, down: dt}
	}
	return nil
}

func (p *peer) midOf(sender *webrtc.RTPSender) string {
	for _, t := range p.pc.GetTransceivers() {
		if t.Sender() == sender {
			return t.Mid()
		}
	}
	return ""
}

// chooseCodecs leaves one codec, with its retransmissions, on every m-line on
// which the client sends: the first of our preference that it offers. The
// codec of a track is thus known before its first packet.
func (p *peer) chooseCodecs(x *Session, o parsedOffer) error {
	for _, l := range o.lines {
		if !l.sends || l.kind != media.Video {
			continue
		}
		i := slices.IndexFunc(p.pc.GetTransceivers(), func(t *webrtc.RTPTransceiver) bool { return t.Mid() == l.mid })
		if i < 0 {
			continue
		}
		t := p.pc.GetTransceivers()[i]
		if t.Receiver() == nil {
			continue
		}
		all := t.Receiver().GetParameters().Codecs
		for _, name := range x.c.s.cfg.Media.Video {
			mime := videoCodecs[name].MimeType
			chosen := onlyCodec(all, mime)
			if len(chosen) == 0 || !slices.Contains(l.codecs, name) {
				continue
			}
			if err := t.SetCodecPreferences(chosen); err != nil {
				return fmt.Errorf("%w: mid %q: %w", ErrBadOffer, l.mid, err)
			}
			break
		}
	}
	return nil
}

// onlyCodec returns the first codec of a MIME type and its RTX.
func onlyCodec(all []webrtc.RTPCodecParameters, mime string) []webrtc.RTPCodecParameters {
	i := slices.IndexFunc(all, func(c webrtc.RTPCodecParameters) bool { return strings.EqualFold(c.MimeType, mime) })
	if i < 0 {
		return nil
	}
	chosen := []webrtc.RTPCodecParameters{all[i]}
	for _, c := range all {
		if strings.EqualFold(c.MimeType, webrtc.MimeTypeRTX) && c.SDPFmtpLine == fmt.Sprintf("apt=%d", all[i].PayloadType) {
			chosen = append(chosen, c)
		}
	}
	return chosen
}

// negotiated takes an answered offer over into the call. It runs in the loop.
func (x *Session) negotiated(p *peer, pl plan, o parsedOffer, up map[string]upLine, began time.Time) error {
	first := x.peer == nil
	x.peer = p
	lines := make([]upLine, 0, len(up))
	for mid, l := range up {
		p.lines[mid] = l
		lines = append(lines, l)
	}
	p.transport.setLines(lines)
	for _, c := range o.candidates {
		x.noteCandidate(c, "")
	}
	if first {
		x.stages.answered = time.Now()
	}
	for _, t := range pl.tracks {
		if t.Source == "" || x.publishes(t.MID) {
			continue
		}
		if err := x.announce(t, true); err != nil {
			return err
		}
	}
	for _, s := range pl.seats {
		x.addSeat(s)
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
