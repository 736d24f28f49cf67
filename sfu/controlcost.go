package sfu

import "github.com/pion/rtcp"

// controlCost is what it costs to take in a compound RTCP packet, in bytes of
// plain RTCP: its length, something for each packet in it, and something for
// each packet that transport-wide feedback speaks of: two bytes may speak of
// thousands, and each is looked up.
//
// It returns false when it is no RTCP, or claims more than any client can have
// to say.
func controlCost(compound []byte) (float64, bool) {
	cost := len(compound)
	for rest := compound; len(rest) > 0; {
		p, after, ok := cutControl(rest)
		if !ok {
			return 0, false
		}
		rest = after
		cost += controlPacketCost
		if p.kind == rtcp.TypeTransportSpecificFeedback && p.count == rtcp.FormatTCC {
			fb, ok := parseFeedback(p.body)
			if !ok || fb.count > maxStatuses {
				return 0, false
			}
			cost += fb.count
		}
	}
	return float64(cost), true
}
