package sfu

import (
	"encoding/binary"

	"github.com/pion/rtcp"
)

// controlCost is what it costs to take in a compound RTCP packet, in bytes of
// plain RTCP: its length, something for each packet in it, and something for
// each packet that transport-wide feedback claims to speak of. A few bytes may
// claim thousands, and each would be allocated.
//
// It returns false when it is no RTCP, or claims more than any client can have
// to say.
func controlCost(compound []byte) (float64, bool) {
	cost := len(compound)
	for b := compound; len(b) > 0; {
		var h rtcp.Header
		if err := h.Unmarshal(b); err != nil {
			return 0, false
		}
		size := (int(h.Length) + 1) * 4
		if size > len(b) {
			return 0, false
		}
		cost += controlPacketCost
		if h.Type == rtcp.TypeTransportSpecificFeedback && h.Count == rtcp.FormatTCC {
			if size < statusCountOffset+2 {
				return 0, false
			}
			claimed := int(binary.BigEndian.Uint16(b[statusCountOffset:]))
			if claimed > maxStatuses {
				return 0, false
			}
			cost += claimed
		}
		b = b[size:]
	}
	return float64(cost), true
}

// statusCountOffset is where transport-wide feedback says how many packets it
// speaks of (draft-holmer-rmcat-transport-wide-cc-extensions-01, 3.1).
const statusCountOffset = 14
