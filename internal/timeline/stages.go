package timeline

import (
	"time"

	"consilium/internal/event"
)

// Stage is a step on the way to media, as one side saw it.
type Stage struct {
	Name    event.Stage `json:"name"`
	Side    Side        `json:"side"`
	Session string      `json:"session,omitempty"`
	Began   string      `json:"began"` // by the server's clock
	// MS is how long it took, in ms; nil: it was not passed.
	MS *float64 `json:"ms"`
	// Code says why it was not passed, as far as is known.
	Code event.Code `json:"code,omitempty"`
}

// running is a stage while it is looked for.
type running struct {
	Stage
	began time.Time
}

// stages collects the stages of one session. Only the first time that each is
// begun and passed counts: what comes later is in the entries.
type stages struct {
	session string
	list    []*running
}

func (s *stages) find(side Side, name event.Stage) *running {
	for _, st := range s.list {
		if st.Side == side && st.Name == name {
			return st
		}
	}
	return nil
}

func (s *stages) begin(side Side, name event.Stage, at time.Time) {
	if s.find(side, name) == nil {
		s.list = append(s.list, &running{
			Stage: Stage{Name: name, Side: side, Session: s.session, Began: formatTime(at)}, began: at,
		})
	}
}

func (s *stages) pass(side Side, name event.Stage, at time.Time) {
	if st := s.find(side, name); st != nil && st.MS == nil {
		ms := float64(at.Sub(st.began).Microseconds()) / 1000
		st.MS = &ms
	}
}

// step passes one stage and begins the next.
func (s *stages) step(side Side, passed, next event.Stage, at time.Time) {
	s.pass(side, passed, at)
	if st := s.find(side, passed); st != nil && st.MS != nil {
		s.begin(side, next, at)
	}
}

// fail names the cause of a stage that was not passed; the first cause wins.
func (s *stages) fail(side Side, name event.Stage, code event.Code, at time.Time) {
	if name == "" || code == "" {
		return
	}
	s.begin(side, name, at)
	if st := s.find(side, name); st.MS == nil && st.Code == "" {
		st.Code = code
	}
}

func stagesOf(entries []Entry) []Stage {
	var order []*stages
	bySession := make(map[string]*stages)
	for _, e := range entries {
		s := bySession[e.Session]
		if s == nil {
			s = &stages{session: e.Session}
			bySession[e.Session] = s
			order = append(order, s)
		}
		if e.Side == Client {
			s.client(e)
		} else {
			s.server(e)
		}
		s.fail(e.Side, e.Stage, e.Code, e.At)
	}
	all := []Stage{}
	for _, s := range order {
		for _, st := range s.list {
			all = append(all, st.Stage)
		}
	}
	return all
}

// client takes an entry of the device's log.
func (s *stages) client(e Entry) {
	switch m := methodOf(e); m.name {
	case "navigator.mediaDevices.getUserMedia":
		s.begin(Client, event.StageDevices, e.At)
	case "navigator.mediaDevices.getUserMediaOnSuccess":
		s.pass(Client, event.StageDevices, e.At)
	case "setLocalDescription":
		s.begin(Client, event.StageNegotiate, e.At)
	case "setRemoteDescriptionOnSuccess":
		s.step(Client, event.StageNegotiate, event.StageICE, e.At)
	case "oniceconnectionstatechange":
		// A browser with much to do tells the page that ICE goes on, or that it
		// is through, before it tells that it has taken the answer.
		s.step(Client, event.StageNegotiate, event.StageICE, e.At)
		if state := m.text(); state == "connected" || state == "completed" {
			s.step(Client, event.StageICE, event.StageDTLS, e.At)
		}
	case "onconnectionstatechange":
		if m.text() == "connected" {
			s.step(Client, event.StageDTLS, event.StageFirstFrame, e.At)
		}
	}
	switch text(e.Data, "text") {
	case "loaded":
		s.begin(Client, event.StagePage, e.At)
	case "socket opening":
		s.step(Client, event.StagePage, event.StageSocket, e.At)
		s.begin(Client, event.StageSocket, e.At)
	case "socket open":
		s.pass(Client, event.StageSocket, e.At)
	case "first frame":
		s.pass(Client, event.StageFirstFrame, e.At)
	}
}

// server takes what the server saw.
func (s *stages) server(e Entry) {
	switch e.Type {
	case event.NoteNegotiation:
		took, ok := number(e.Data, "took_ms")
		if !ok {
			return // refused
		}
		s.begin(Server, event.StageNegotiate, e.At.Add(-time.Duration(took)*time.Millisecond))
		s.step(Server, event.StageNegotiate, event.StageICE, e.At)
	case event.NoteState:
		if text(e.Data, "ice") == "connected" {
			s.step(Server, event.StageICE, event.StageDTLS, e.At)
		}
		if text(e.Data, "dtls") == "connected" {
			s.step(Server, event.StageDTLS, event.StageFirstRTP, e.At)
		}
	case event.MediaFlowing:
		s.step(Server, event.StageFirstRTP, event.StageFlowing, e.At)
	}
}
