package sfu

import "sync/atomic"

// dropReason says why a packet went no further.
type dropReason uint8

// Reasons. The first group is counted on the way in, the second on the way out
// to one subscriber.
const (
	dropInboundFull   dropReason = iota // the worker is behind
	dropMalformed                       // not RTP or RTCP, or too long
	dropUnknownSSRC                     // belongs to no m-line
	dropStreams                         // the session sends too many SSRCs
	dropUnpublished                     // the m-line has no announced track
	dropPayloadType                     // not negotiated for the m-line, or not the track's codec
	dropPadding                         // padding only
	dropDuplicate                       // already here: RTX probes, network
	dropTooOld                          // older than the cache
	dropBlocked                         // muted by somebody with the right to
	dropNotBound                        // the subscriber's m-line is not negotiated yet
	dropNoCodec                         // the subscriber has not negotiated the codec
	dropPaused                          // not visible
	dropAwaitKey                        // waiting for a keyframe
	dropLate                            // belongs to a stretch that was left out
	dropSendFailed                      // the way out refused it
	dropResendUnkn                      // asked for, not in the cache
	dropResendRecent                    // asked for again within a round trip
	dropResendArrived                   // asked for although feedback says that it arrived
	dropResendWaiting                   // asked for again; feedback will decide
	dropResendUntold                    // asked for again; its feedback was lost and the subscriber asks for what he has
	dropResendLimit                     // more would be resent than is allowed
	dropKeyframeLimit                   // a keyframe is asked for too often
	dropRTCPLimit                       // the client sends too much RTCP
	dropNACKLimit                       // a NACK asks for more than is allowed
	dropRTCPFailed                      // an RTCP packet could not be sent
	dropReasons                         // how many there are
)

// String is the label of the reason in metrics.
func (r dropReason) String() string {
	if r >= dropReasons {
		return "unknown"
	}
	return [dropReasons]string{
		dropInboundFull:   "inbound_full",
		dropMalformed:     "malformed",
		dropUnknownSSRC:   "unknown_ssrc",
		dropStreams:       "too_many_streams",
		dropUnpublished:   "unpublished",
		dropPayloadType:   "payload_type",
		dropPadding:       "padding",
		dropDuplicate:     "duplicate",
		dropTooOld:        "too_old",
		dropBlocked:       "blocked",
		dropNotBound:      "not_bound",
		dropNoCodec:       "no_codec",
		dropPaused:        "paused",
		dropAwaitKey:      "await_keyframe",
		dropLate:          "late",
		dropSendFailed:    "send_failed",
		dropResendUnkn:    "resend_unknown",
		dropResendRecent:  "resend_recent",
		dropResendArrived: "resend_arrived",
		dropResendWaiting: "resend_waiting",
		dropResendUntold:  "resend_untold",
		dropResendLimit:   "resend_limit",
		dropKeyframeLimit: "keyframe_limit",
		dropRTCPLimit:     "rtcp_limit",
		dropNACKLimit:     "nack_limit",
		dropRTCPFailed:    "rtcp_failed",
	}[r]
}

// dropCounters count dropped packets by reason. The zero value is ready; all
// methods are safe for concurrent use, and a nil one counts nothing.
type dropCounters struct {
	n [dropReasons]atomic.Uint64
}

func (c *dropCounters) add(r dropReason) {
	if c != nil {
		c.n[r].Add(1)
	}
}

// Dropped counts the media packets that went no further, by reason, since the
// start. Every reason is there.
func (s *Server) Dropped() map[string]uint64 {
	out := make(map[string]uint64, dropReasons)
	for r := range dropReasons {
		out[r.String()] = s.drops.n[r].Load()
	}
	return out
}

// snapshot returns the counts so far, by reason; reasons that never occurred
// are left out.
func (c *dropCounters) snapshot() map[string]uint64 {
	out := make(map[string]uint64)
	if c == nil {
		return out
	}
	for r := range dropReasons {
		if n := c.n[r].Load(); n > 0 {
			out[r.String()] = n
		}
	}
	return out
}
