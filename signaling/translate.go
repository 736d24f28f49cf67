package signaling

import (
	"time"

	"consilium/internal/event"
	"consilium/internal/media"
	"consilium/sfu"
)

// eventTime is RFC 3339 with microseconds.
const eventTime = "2006-01-02T15:04:05.000000Z07:00"

// takeNotices sends what the SFU has to tell.
func (s *session) takeNotices() {
	items, snapshot, dropped := s.notices.take()
	if dropped > 0 {
		s.server.metrics.notices.Add(dropped)
		s.log.Warn("notices dropped: a snapshot takes their place", "count", dropped)
	}
	if snapshot {
		// Its notice may be among those that were dropped.
		if s.waiting && s.media.State() != sfu.Waiting {
			s.admit()
		}
		s.snapshot()
	}
	for _, n := range items {
		if s.last != nil {
			return
		}
		s.notify(n)
	}
}

// admit tells the client that its waiting is over.
func (s *session) admit() {
	s.waiting = false
	s.admitted = s.replay.next()
	secret, err := s.newSecret()
	if err != nil {
		s.log.Error("make session secret", "err", err) // he keeps the one he has
	}
	s.send("admitted", "", Admitted{Secret: secret})
}

// notify turns one notice into messages.
func (s *session) notify(n sfu.Notice) {
	switch n := n.(type) {
	case sfu.NoticeState:
		if s.waiting {
			s.admit()
		}
		s.send("state", "", s.stateBody(n.Call))
	case sfu.NoticeParticipant:
		s.send("participant", "", participantBody(n.Participant))
	case sfu.NoticeParticipantLeft:
		s.send("participant_left", "", ParticipantLeft{Identity: n.Identity, Reason: string(n.Reason)})
	case sfu.NoticeSeats:
		seats := seatsBody(n)
		s.seats = &seats
		s.send("seats", "", seats)
	case sfu.NoticeRecording:
		s.send("recording", "", recordingBody(n))
	case sfu.NoticeEvent:
		s.send("event", "", eventBody(n.Event))
	case sfu.NoticeMute:
		s.send("muted", "", Muted{Source: string(n.Source), By: n.By})
	case sfu.NoticeEnded:
		ended := Ended{Reason: string(n.Reason), Code: string(n.Code), By: n.By}
		if n.Reason == media.EndShutdown {
			ended.Code = string(event.ServerRestart)
			ended.Retry = s.server.cfg.Timing.Retry.Seconds()
		}
		s.send("ended", "", ended)
		s.last = &ended
	}
}

// stateBody is the whole picture for this session: who waits is shown to those
// who may admit.
func (s *session) stateBody(c sfu.CallInfo) State {
	body := State{
		Call:         c.ID,
		Recording:    recordingBody(c.Recording),
		Participants: make([]Participant, 0, len(c.Participants)),
	}
	for _, p := range c.Participants {
		own := p.Identity == s.who.Person.Identity
		if p.State == sfu.Waiting && !own && !s.who.Person.Grants.Admit {
			continue
		}
		body.Participants = append(body.Participants, participantBody(p))
	}
	return body
}

func recordingBody(n sfu.NoticeRecording) RecordingBody {
	return RecordingBody{On: n.On, Code: string(n.Code), Incident: n.Incident}
}

func participantBody(p sfu.ParticipantInfo) Participant {
	body := Participant{
		Identity: p.Identity,
		Name:     p.Name,
		Role:     p.Role,
		State:    string(p.State),
		Sessions: append([]string{}, p.Sessions...),
		Tracks:   make([]TrackInfo, 0, len(p.Tracks)),
	}
	for _, t := range p.Tracks {
		body.Tracks = append(body.Tracks, TrackInfo{
			ID: t.ID, Session: t.Session, Source: string(t.Source), Muted: t.Muted, State: string(t.State),
		})
	}
	return body
}

func seatsBody(n sfu.NoticeSeats) Seats {
	body := Seats{
		Seats:          make([]Seat, 0, len(n.Seats)),
		MissingPersons: n.MissingPersons,
		MissingScreens: n.MissingScreens,
	}
	for _, seat := range n.Seats {
		body.Seats = append(body.Seats, Seat(seat))
	}
	return body
}

func eventBody(e event.Event) EventBody {
	at := e.Time
	if at.IsZero() {
		at = time.Now()
	}
	return EventBody{
		Type:        string(e.Type),
		Time:        at.UTC().Format(eventTime),
		Participant: e.Participant,
		Track:       e.Track,
		Code:        string(e.Code),
		Stage:       string(e.Stage),
		Direction:   string(e.Direction),
		Data:        e.Data,
	}
}
