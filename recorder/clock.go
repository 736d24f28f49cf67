package recorder

import (
	"math"
	"time"
)

// Limits of trust between the tracks of a session.
const (
	peerWindow  = float64(5 * time.Minute / time.Millisecond) // between segments that may be compared
	maxDisagree = float64(2 * time.Second / time.Millisecond) // from arrival; beyond it the sender's clock is not believed
)

// place computes T0MS and DriftPPM of every segment.
//
// By arrival alone a camera seems later than the microphone next to it, by its
// encoder's and pacer's delay. Sender reports tie both to one clock of the
// sender; the report of his that travelled fastest ties that clock to ours.
// What is left is the shortest one-way delay, the same for all tracks of a
// participant.
//
// Browsers say in their reports of sound when they sent it, not when they heard
// it, which is later by a packet and by what a busy machine adds. But nothing
// was captured after it arrived: no track is placed later than its own media.
func place(segments []Segment) {
	for i := range segments {
		s := &segments[i]
		if s.Clock == nil {
			continue
		}
		s.T0MS, s.T0Source, s.DriftPPM = s.Clock.ArrivalMS, T0Arrival, s.Clock.ArrivalPPM
		if s.Clock.Reports == 0 {
			continue
		}
		fastest, longest := math.Inf(1), s
		for j := range segments {
			p := &segments[j]
			t0, ok := s.startBy(p)
			if !ok {
				continue
			}
			fastest = min(fastest, t0)
			if p.DurationMS > longest.DurationMS {
				longest = p
			}
		}
		if math.IsInf(fastest, 1) {
			continue
		}
		s.T0MS, s.T0Source = roundTo(min(fastest, s.Clock.ArrivalMS), 1e3), T0SenderReport
		// One speed of the sender's clock for all his tracks: an error of it
		// then moves them together and not apart.
		s.DriftPPM = roundTo(((1+s.Clock.RTPPPM/1e6)*(1+longest.Clock.SenderPPM/1e6)-1)*1e6, 1e3)
	}
}

// startBy returns the session time of s's first moment by the delays that its
// peer p saw, and false if they tell nothing about it.
func (s *Segment) startBy(p *Segment) (float64, bool) {
	if p.Clock == nil || p.Clock.Reports == 0 || p.Session != s.Session {
		return 0, false
	}
	begins, ends := p.Clock.ArrivalMS-peerWindow, p.Clock.ArrivalMS+float64(p.DurationMS)+peerWindow
	if at := s.Clock.ArrivalMS; at < begins || at > ends {
		return 0, false
	}
	// From p's first moment to s's, on the sender's clock. Where only one of
	// the two saw that clock set, the other began on the clock as set.
	apart := float64(s.Clock.NTP-p.Clock.NTP) / 1e6
	switch {
	case p.Clock.Steps > s.Clock.Steps:
		apart -= p.Clock.StepMS
	case s.Clock.Steps > p.Clock.Steps:
		apart += s.Clock.StepMS
	}
	t0 := p.Clock.fastest() + apart*(1+p.Clock.SenderPPM/1e6)
	return t0, math.Abs(t0-s.Clock.ArrivalMS) <= maxDisagree
}

// fastest returns what reports say of the first moment. One of a few may have
// been late; then media count, too.
func (c *Clock) fastest() float64 {
	switch {
	case c.ReportMS == 0: // of a version that did not look at it
		return c.ArrivalMS
	case c.Reports < reportsSettle:
		return min(c.ReportMS, c.ArrivalMS)
	}
	return c.ReportMS
}
