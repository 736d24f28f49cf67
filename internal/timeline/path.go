package timeline

import (
	"cmp"
	"slices"

	"consilium/internal/event"
)

// Candidate is an ICE candidate that a participant's device offered.
type Candidate struct {
	Type     string `json:"type,omitempty"` // host, srflx, prflx or relay
	Protocol string `json:"protocol,omitempty"`
	Address  string `json:"address,omitempty"`
	Port     int    `json:"port,omitempty"`
	// Reason is why the server does not use it.
	Reason string `json:"reason"`
}

func candidatesOf(entries []Entry) []Candidate {
	found := []Candidate{}
	for _, e := range entries {
		if e.Type != event.NoteCandidate {
			continue
		}
		port, _ := number(e.Data, "port")
		c := Candidate{
			Type: text(e.Data, "type"), Protocol: text(e.Data, "protocol"), Port: int(port),
			Address: cmp.Or(text(e.Data, "address"), text(e.Data, "candidate")), Reason: text(e.Data, "reason"),
		}
		if !slices.Contains(found, c) {
			found = append(found, c)
		}
	}
	return found
}

// Change is a state that one end entered.
type Change struct {
	At    string `json:"at"` // by the server's clock
	State string `json:"state"`
}

// EndStates are the states of one end, in order.
type EndStates struct {
	ICE       []Change `json:"ice"`
	DTLS      []Change `json:"dtls"` // of a client: of its whole connection
	Signaling []Change `json:"signaling"`
}

// States are the states of both ends.
type States struct {
	Client EndStates `json:"client"`
	Server EndStates `json:"server"`
}

func statesOf(entries []Entry) States {
	s := States{Client: newEndStates(), Server: newEndStates()}
	for _, e := range entries {
		switch {
		case e.Side == Client:
			switch m := methodOf(e); m.name {
			case "oniceconnectionstatechange":
				s.Client.ICE = enter(s.Client.ICE, e, m.text())
			case "onconnectionstatechange":
				s.Client.DTLS = enter(s.Client.DTLS, e, m.text())
			case "onsignalingstatechange":
				s.Client.Signaling = enter(s.Client.Signaling, e, m.text())
			}
		case e.Type == event.NoteState:
			s.Server.ICE = enter(s.Server.ICE, e, text(e.Data, "ice"))
			s.Server.DTLS = enter(s.Server.DTLS, e, text(e.Data, "dtls"))
		case e.Type == event.NoteNegotiation:
			s.Server.Signaling = enter(s.Server.Signaling, e, text(e.Data, "text"))
		}
	}
	return s
}

func newEndStates() EndStates {
	return EndStates{ICE: []Change{}, DTLS: []Change{}, Signaling: []Change{}}
}

func enter(list []Change, e Entry, state string) []Change {
	if state == "" {
		return list
	}
	return append(list, Change{At: formatTime(e.At), State: state})
}

// Path is how a participant's media goes.
type Path struct {
	Path     string `json:"path"`     // direct or relay
	Protocol string `json:"protocol"` // udp, tcp or tls, from the device
	// AfterMS is the time from the answer to the first offer, in ms.
	AfterMS float64 `json:"after_ms"`
	// Rescued says what brought it about where the first attempt did not:
	// "relay_only_restart", or empty.
	Rescued string `json:"rescued,omitempty"`
	// Pair is what the device says of the selected pair, by getStats.
	Pair map[string]any `json:"pair,omitempty"`
}

func pathOf(entries []Entry) *Path {
	var p *Path
	for _, e := range entries {
		switch {
		case e.Type == event.ICEConnected:
			after, _ := number(e.Data, "after_ms")
			next := &Path{Path: text(e.Data, "path"), Protocol: text(e.Data, "protocol"), AfterMS: after}
			if p != nil { // the device may have said it before the server did
				next.Rescued, next.Pair = p.Rescued, p.Pair
			}
			p = next
		case e.Side == Client && text(e.Data, "text") == "connected":
			if p == nil {
				p = &Path{}
			}
			if rescued, _ := e.Data["rescued"].(bool); rescued {
				p.Rescued = "relay_only_restart"
			}
		case e.Side == Client && text(e.Data, "text") == "selected pair":
			if p == nil {
				p = &Path{}
			}
			p.Pair, _ = e.Data["pair"].(map[string]any)
		}
	}
	return p
}
