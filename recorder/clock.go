package recorder

import (
	"math"
	"slices"
	"time"

	"consilium/internal/media"
)

// Limits of trust in sender reports.
const (
	reportsKept = 20              // a median of them is taken
	peerWindow  = 5 * time.Minute // clocks drift: only segments that begin together are compared
	maxDisagree = 2 * time.Second // from arrival; beyond it the sender's clock is not believed
	ntpSecond   = int64(1_000_000_000)
)

// ntpNanoseconds turns an NTP timestamp (RFC 5905, 6) into ns since 1900.
func ntpNanoseconds(ntp uint64) int64 {
	return int64(ntp>>32)*ntpSecond + int64((ntp&0xFFFFFFFF)*uint64(ntpSecond)>>32)
}

// senderClock derives, from sender reports, when the first moment of a segment
// was on the sender's own clock. The median keeps one odd report from mattering.
type senderClock struct {
	starts []int64 // ns since 1900, one for each report
}

// add takes a report; position is the file time of its RTP timestamp.
func (c *senderClock) add(r media.SenderReport, position time.Duration) {
	if r.NTP == 0 || len(c.starts) >= reportsKept {
		return
	}
	c.starts = append(c.starts, ntpNanoseconds(r.NTP)-int64(position))
}

func (c *senderClock) start() (ntp int64, reports int) {
	if len(c.starts) == 0 {
		return 0, 0
	}
	sorted := slices.Sorted(slices.Values(c.starts))
	return sorted[len(sorted)/2], len(sorted)
}

// place computes T0MS of every segment. By arrival alone a camera seems later
// than the microphone next to it, by its encoder's and pacer's delay. Sender
// reports tie both to one clock of the sender; the one that travelled fastest
// ties that clock to ours.
func place(segments []Segment) {
	for i := range segments {
		s := &segments[i]
		if s.Clock == nil {
			continue
		}
		s.T0MS, s.T0Source = s.Clock.ArrivalMS, T0Arrival
		if s.Clock.Reports == 0 {
			continue
		}
		fastest := math.Inf(1)
		for j := range segments {
			p := &segments[j]
			if p.Clock == nil || p.Clock.Reports == 0 || p.Session != s.Session ||
				math.Abs(p.Clock.ArrivalMS-s.Clock.ArrivalMS) > float64(peerWindow.Milliseconds()) {
				continue
			}
			// The sender's clock is of no use but for differences; taking it
			// relative to s keeps them exact in a float.
			delay := p.Clock.ArrivalMS - float64(p.Clock.NTP-s.Clock.NTP)/1e6
			fastest = min(fastest, delay)
		}
		if math.Abs(fastest-s.Clock.ArrivalMS) <= float64(maxDisagree.Milliseconds()) {
			s.T0MS, s.T0Source = math.Round(fastest*1000)/1000, T0SenderReport
		}
	}
}
