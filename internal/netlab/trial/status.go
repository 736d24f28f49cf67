package trial

import (
	"slices"
	"strings"
	"time"

	"consilium/internal/bot"
	"consilium/internal/netlab"
)

// Status is what one end of a call knows about it. Times are of this machine,
// which all ends share.
type Status struct {
	Began    time.Time // when joining began
	Answered time.Time // when the first answer came; zero before
	State    string    // of the connection
	Path     string    // one of netlab's, or "turn/udp"
	Video    Stream    // what comes from the other one
	Audio    Stream
	Told     []Told // failures it was told of
	Error    string
}

// Stream counts what came of one source.
type Stream struct {
	Count uint64    // frames decoded; of sound packets or samples
	First time.Time // zero: nothing yet
}

// Told is a failure that one end was told of.
type Told struct {
	Type        string
	Code        string
	Participant string // "" is itself
	Time        time.Time
}

// add takes what a bot has received to what its predecessors have.
func (s *Stream) add(t bot.TrackStats) {
	s.Count += t.Frames
	if s.First.IsZero() {
		s.First = t.FirstFrame
	}
}

// note keeps a failure once.
func (s *Status) note(t Told) {
	if !slices.ContainsFunc(s.Told, func(o Told) bool { return o.Type == t.Type && o.Code == t.Code && o.Participant == t.Participant }) {
		s.Told = append(s.Told, t)
	}
}

// complete reports whether picture and sound have come.
func (s *Status) complete() bool { return !s.Video.First.IsZero() && !s.Audio.First.IsZero() }

// Codes are the failure codes it was told, each once.
func (s *Status) Codes() []string {
	var codes []string
	for _, t := range s.Told {
		if !slices.Contains(codes, t.Code) {
			codes = append(codes, t.Code)
		}
	}
	return codes
}

// pathOf translates "candidate-type protocol" to the name of a path; what is
// one word is a name already.
func pathOf(text string) string {
	kind, protocol, _ := strings.Cut(text, " ")
	switch {
	case protocol == "": // none yet, or no ICE at all
		return text
	case kind == "relay" && protocol == "tls":
		return netlab.PathTURNS
	case kind == "relay":
		return "turn/" + protocol
	case protocol == "tcp":
		return netlab.PathICETCP
	}
	return protocol
}
