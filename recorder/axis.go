package recorder

import (
	"cmp"
	"math"
	"slices"
)

// clip is the part of a segment that plays in an exported file. Its moments
// are session time in ms.
type clip struct {
	Segment
	from, to float64
}

// end is the session time at which the segment's media end.
func (s *Segment) end() float64 { return s.SessionMS(float64(s.DurationMS)) }

// pace is how much session time passes in a unit of file time: the sender's
// clock is not ours.
func (s *Segment) pace() float64 { return 1 + s.DriftPPM/1e6 }

// clipsOf puts segments one after the other between two moments. Where two
// overlap the later one is right: who comes back begins a new segment while the
// old one still waits for packets.
func clipsOf(segments []Segment, from, to float64) []clip {
	sorted := slices.SortedStableFunc(slices.Values(segments), func(a, b Segment) int {
		return cmp.Or(cmp.Compare(a.T0MS, b.T0MS), cmp.Compare(a.File, b.File))
	})
	var clips []clip
	for i, s := range sorted {
		c := clip{Segment: s, from: max(s.T0MS, from), to: min(s.end(), to)}
		if i+1 < len(sorted) {
			c.to = min(c.to, sorted[i+1].T0MS)
		}
		if c.to > c.from {
			clips = append(clips, c)
		}
	}
	return clips
}

// axis turns session time into the time of an exported file, in ms.
type axis struct {
	origin float64 // session time of file time 0
	pieces []piece // in order of time
}

// piece is a stretch in which file time runs at the pace of a microphone.
type piece struct {
	from, to float64 // session time
	file     float64 // file time at from
	pace     float64 // session time in a unit of file time
}

// newAxis makes the axis of a file with the given sound. Sound is not decoded
// and players count its samples, so it can't be stretched: inside a clip of
// sound file time is the microphone's own clock, between clips it is session
// time. What else the file holds is put on this axis.
func newAxis(origin float64, sound []clip) axis {
	a := axis{origin: origin}
	for _, c := range sound {
		a.pieces = append(a.pieces, piece{from: c.from, to: c.to, file: a.at(c.from), pace: c.pace()})
	}
	return a
}

// at returns the file time of a session time.
func (a axis) at(session float64) float64 {
	for _, p := range slices.Backward(a.pieces) {
		if session >= p.from {
			return p.file + (min(session, p.to)-p.from)/p.pace + max(session-p.to, 0)
		}
	}
	return session - a.origin
}

// ms is at in whole milliseconds, not below zero.
func (a axis) ms(session float64) int64 { return max(int64(math.Round(a.at(session))), 0) }

// samples is at in samples at 48 kHz, not below zero.
func (a axis) samples(session float64) int64 {
	return max(int64(math.Round(a.at(session)*opusRate/1000)), 0)
}
