package signaling

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"time"

	"consilium/internal/event"
	"consilium/internal/media"
	"consilium/sfu"
)

// errFlood ends the reading of a socket that sends more than it may.
var errFlood = errors.New("too many messages")

// ackEvery is how many messages may be unacknowledged before AckDelay is over.
const ackEvery = 32

// input handles what the reader of a socket has.
func (s *session) input(in input) {
	if in.conn != s.conn {
		return // the last words of a socket that was replaced
	}
	if in.err != nil {
		s.socketFailed(in.err)
		return
	}
	m := in.msg
	if !s.replay.ack(m.Ack) {
		s.refuse(m, failure{code: codeSequence, text: "ack is higher than anything that was sent"})
		return
	}
	if m.refusal == nil && !m.kind.Numbered {
		if m.Seq == 0 {
			s.unnumbered(m)
			return
		}
		// It counts all the same, or everything after it would be out of order.
		m.refusal = &failure{code: codeUnexpected, text: m.Type + " is outside the numbering: it has no seq"}
	}
	if m.Seq == 0 {
		if m.refusal == nil {
			m.refusal = &failure{code: codeSequence, text: "seq is missing"}
		}
		s.refuse(m, *m.refusal)
		return
	}
	switch s.order.accept(m.Seq) {
	case gap:
		s.refuse(m, failure{code: codeSequence, text: "a message before this one is missing"})
	case duplicate:
		s.repeat(m)
	case fresh:
		s.ackDue = true
		s.fresh(m)
		if s.ackDue && s.order.last%ackEvery == 0 {
			s.ackDue = false
			s.sendAck()
		}
	}
}

// unnumbered handles what may come at any time.
func (s *session) unnumbered(m incoming) {
	switch b := m.body.(type) {
	case *Ping:
		now := time.Now()
		s.clock.observe(b.Time, now)
		s.sendUnnumbered("pong", 0, Pong{Time: b.Time, Server: toMillis(now)})
	case *Empty: // ack: done already
	default:
		s.refuse(m, failure{code: codeUnexpected, text: m.Type + " is only the first message of a socket"})
	}
}

// repeat handles a message that came before. What is no request was dealt with.
func (s *session) repeat(m incoming) {
	if m.ID == "" {
		return
	}
	r, known := s.replies.open(m.ID)
	switch {
	case r != nil:
		s.sendReply(m.ID, r)
	case !known: // its reply was trimmed
		s.refuse(m, failure{code: codeReplyGone, text: "the reply is not kept any more"})
	}
}

// fresh handles a message that comes for the first time.
func (s *session) fresh(m incoming) {
	if m.ID != "" {
		if r, known := s.replies.open(m.ID); known {
			if r != nil {
				s.sendReply(m.ID, r)
			}
			return
		}
	}
	switch {
	case m.refusal != nil:
		s.refuse(m, *m.refusal)
	case m.kind.Request && m.ID == "":
		s.refuse(m, failure{code: codeBadMessage, text: m.Type + " is a request: id is missing"})
	default:
		s.dispatch(m)
	}
}

// refuse answers a message with an error; the socket and the session live on.
func (s *session) refuse(m incoming, f failure) { s.reply(m.ID, "error", f.body(false)) }

// reply answers a request and keeps the reply in case the request comes again.
func (s *session) reply(id, kind string, body any) {
	raw, err := json.Marshal(body)
	if err != nil {
		s.log.Error("encode reply", "type", kind, "err", err)
		return
	}
	r := reply{kind: kind, body: raw, seq: s.replay.next()}
	if id != "" {
		s.replies.close(id, r)
	}
	s.sendReply(id, &r)
}

// sendReply sends a reply, for the first time or again.
func (s *session) sendReply(id string, r *reply) {
	r.seq = s.replay.next()
	s.sendRaw(r.kind, id, r.body)
}

// dispatch does what a message asks for.
func (s *session) dispatch(m incoming) {
	switch b := m.body.(type) {
	case *OfferBody:
		s.offer(m, b)
	case *Publish:
		s.request(m, func(ctx context.Context) error {
			return s.media.Publish(ctx, b.MID, media.Source(b.Source), b.Active, b.Muted)
		})
	case *Candidate:
		s.media.Candidate(b.Candidate, b.MID)
	case *ViewBody:
		s.request(m, func(ctx context.Context) error { return s.media.View(ctx, views(b)) })
	case *Report:
		s.report(b)
	case *Log:
		s.clientLog(b)
	case *Target:
		act := s.media.Admit
		if m.Type == "remove" {
			act = s.media.Remove
		}
		s.request(m, func(ctx context.Context) error { return act(ctx, b.Participant) })
	case *MuteOther:
		s.request(m, func(ctx context.Context) error {
			return s.media.Mute(ctx, b.Participant, media.Source(b.Source))
		})
	case *Empty:
		s.simple(m)
	}
}

// simple does what a message without a body asks for.
func (s *session) simple(m incoming) {
	switch m.Type {
	case "turn":
		s.reply(m.ID, "turn", TURNBody{ICEServers: s.iceServers()})
	case "end":
		s.request(m, s.media.EndCall)
	case "leave":
		s.notify(sfu.NoticeEnded{Reason: media.EndLeft})
	}
}

func (s *session) offer(m incoming, b *OfferBody) {
	if s.offering {
		s.refuse(m, failure{code: codeOfferInFlight, text: "the last offer is not answered yet"})
		return
	}
	o := sfu.Offer{SDP: b.SDP}
	for _, t := range b.Tracks {
		o.Tracks = append(o.Tracks, sfu.SentTrack{MID: t.MID, Source: media.Source(t.Source), Muted: t.Muted})
	}
	for _, seat := range b.Seats {
		o.Seats = append(o.Seats, sfu.SeatRequest{Audio: seat.Audio, Video: seat.Video})
	}
	s.offering = s.enqueue(m, func(ctx context.Context) (string, any, error) {
		answer, err := s.media.Offer(ctx, o)
		return "answer", AnswerBody{SDP: answer.SDP}, err
	})
}

// request has the worker call the SFU; the reply is "ok" or "error".
func (s *session) request(m incoming, call func(context.Context) error) {
	s.enqueue(m, func(ctx context.Context) (string, any, error) { return "ok", Empty{}, call(ctx) })
}

func (s *session) enqueue(m incoming, run func(context.Context) (string, any, error)) bool {
	select {
	case s.jobs <- job{id: m.ID, name: m.Type, run: run}:
		return true
	default:
		s.refuse(m, failure{code: codeRateLimited, text: "too many requests are waiting", retry: time.Second})
		return false
	}
}

// finish replies to a request that the worker has done.
func (s *session) finish(r result) {
	if r.name == "offer" {
		s.offering = false
	}
	if r.err == nil {
		if r.id != "" {
			s.reply(r.id, r.kind, r.body)
		}
		return
	}
	f, known := sfuFailure(r.err, s.server.cfg.Timing.Retry)
	if !known {
		s.log.Error("request failed", "type", r.name, "err", r.err)
	}
	if r.id != "" {
		s.reply(r.id, "error", f.body(false))
	}
}

func views(b *ViewBody) []sfu.View {
	tracks := make([]sfu.View, 0, len(b.Tracks))
	for _, t := range b.Tracks {
		tracks = append(tracks, sfu.View{Track: t.Track, Width: t.Width, Height: t.Height})
	}
	return tracks
}

func (s *session) report(b *Report) {
	counts := make(map[string]uint64, len(b.Decoded))
	for track, d := range b.Decoded {
		counts[track] = max(d.Frames, d.Samples)
	}
	s.media.Decoded(counts)
	if len(b.Stats) == 0 {
		return
	}
	data := make(map[string]any, len(b.Stats))
	for name, value := range b.Stats {
		data[name] = value
	}
	s.media.ClientLog(event.StageFlowing, "stats", event.Failure{}, data, time.Now())
}

func (s *session) clientLog(b *Log) {
	now := time.Now()
	var newest float64
	for _, e := range b.Entries {
		newest = max(newest, e.Time)
	}
	for _, e := range b.Entries {
		var f event.Failure
		if e.Code != "" {
			f = event.Failure{Code: event.Code(e.Code), Stage: event.Stage(e.Stage)}
		}
		data := make(map[string]any, len(e.Data)+1)
		maps.Copy(data, e.Data)
		data["device_ms"] = e.Time // by the device's own clock
		s.media.ClientLog(event.Stage(e.Stage), e.Text, f, data, s.clock.at(e.Time, newest, now))
	}
}
