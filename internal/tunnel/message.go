package tunnel

import (
	"encoding/json"
	"fmt"
)

// Message is a text message on the socket, both ways. Frames are binary ones.
type Message struct {
	Type string          `json:"type"`
	Body json.RawMessage `json:"body,omitempty"`
}

// Page to server.
type (
	// Open ("open") is the first message of a socket. It opens the tunnel of a
	// signalling session, or takes over the one that is there from the socket
	// before.
	Open struct {
		Session string `json:"session"`
		Secret  string `json:"secret"` // of the welcome message
		Wanted
	}
	// Wanted ("lines") is all that the page wants to send and to receive from
	// now on; it is answered by "lines". M-lines are only ever added: what is
	// not wanted any more stays.
	Wanted struct {
		Sources []Source `json:"sources"`
		Persons int      `json:"persons"` // seats for persons, 0 to 64
		Screens int      `json:"screens"` // seats for screens, 0 to 16
	}
	// Source is what the page sends, or keeps an m-line for.
	Source struct {
		Source string `json:"source"` // mic, cam or screen
		Active bool   `json:"active"`
		Muted  bool   `json:"muted"`
	}
)

// Server to page.
type (
	// Lines ("lines") says which m-lines there are.
	Lines struct {
		Sources []SourceLine `json:"sources"`
		Seats   []Seat       `json:"seats"`
		Bitrate int          `json:"bitrate"` // the most the page may send, bit/s
	}
	// SourceLine is the m-line of a source.
	SourceLine struct {
		Source string `json:"source"`
		MID    string `json:"mid"`
	}
	// Seat is the pair of m-lines of a person, or the one of a screen.
	Seat struct {
		Audio string `json:"audio,omitempty"`
		Video string `json:"video"`
	}
	// Refusal ("error") says why the socket is about to close.
	Refusal struct {
		Code    string  `json:"code"` // a failure code, or a problem code
		Message string  `json:"message"`
		Retry   float64 `json:"retry,omitempty"` // seconds; 0: don't
	}
)

// Both ways.
type (
	// Keyframe ("keyframe") asks the sender of an m-line for a keyframe.
	Keyframe struct {
		MID string `json:"mid"`
	}
	// Received ("received") tells the other side how many bytes of frame
	// messages have come on this socket. It is sent at most every 100 ms.
	Received struct {
		Bytes uint64 `json:"bytes"`
	}
)

// Bounds of what one page may ask for.
const (
	maxPersons = 64
	maxScreens = 16
	maxSources = 3
)

// check says what is wrong with a request for m-lines.
func (w *Wanted) check() error {
	switch {
	case w.Persons < 0 || w.Persons > maxPersons:
		return fmt.Errorf("persons is %d, may be 0 to %d", w.Persons, maxPersons)
	case w.Screens < 0 || w.Screens > maxScreens:
		return fmt.Errorf("screens is %d, may be 0 to %d", w.Screens, maxScreens)
	case len(w.Sources) > maxSources:
		return fmt.Errorf("%d sources, may be %d", len(w.Sources), maxSources)
	}
	seen := map[string]bool{}
	for _, s := range w.Sources {
		if kindOf(s.Source) == 0 {
			return fmt.Errorf("source %.20q is not mic, cam or screen", s.Source)
		}
		if seen[s.Source] {
			return fmt.Errorf("source %s is named twice", s.Source)
		}
		seen[s.Source] = true
	}
	return nil
}

// encode makes the bytes of a text message.
func encode(kind string, body any) ([]byte, error) {
	raw, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", kind, err)
	}
	return json.Marshal(Message{Type: kind, Body: raw})
}

// decode reads a text message of a page: the pointer to its body.
func decode(raw []byte) (any, error) {
	var m Message
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, fmt.Errorf("decode message: %w", err)
	}
	var body any
	switch m.Type {
	case "open":
		body = new(Open)
	case "lines":
		body = new(Wanted)
	case "keyframe":
		body = new(Keyframe)
	case "received":
		body = new(Received)
	default:
		return nil, fmt.Errorf("message of unknown type %.20q", m.Type)
	}
	if err := json.Unmarshal(m.Body, body); err != nil {
		return nil, fmt.Errorf("decode %s: %w", m.Type, err)
	}
	return body, nil
}
