package sfu

import (
	"slices"
	"time"
)

// nackGenerator decides which missing packets of one stream to ask for, and
// when (RFC 4585, 6.2.1). It sees every packet of the stream, those repaired
// by RTX too, so that nothing is asked for that is already here. It has no
// clock of its own and is not safe for concurrent use. The zero value is
// ready.
type nackGenerator struct {
	highest int64
	missing []missingPacket // by sequence
	sample  time.Duration   // last answer time of a packet asked for once

	requests, repaired, lost uint64
}

type missingPacket struct {
	sequence int64
	noticed  time.Time
	asked    int
	last     time.Time // when asked for last
}

// received takes note of a packet. It returns false when the hole before it is
// too large to be loss; nothing of it is asked for then.
func (g *nackGenerator) received(sequence int64, now time.Time) bool {
	switch {
	case g.highest == 0 || sequence-g.highest > maxGap:
		whole := g.highest == 0
		g.forget()
		g.highest = sequence
		return whole
	case sequence <= g.highest:
		g.found(sequence, now)
		return true
	}
	for s := g.highest + 1; s < sequence; s++ {
		g.missing = append(g.missing, missingPacket{sequence: s, noticed: now})
	}
	if over := len(g.missing) - nackMaxMissing; over > 0 {
		g.lost += uint64(over)
		g.missing = slices.Delete(g.missing, 0, over)
	}
	g.highest = sequence
	return true
}

// found takes a packet off the list of missing ones.
func (g *nackGenerator) found(sequence int64, now time.Time) {
	i, ok := slices.BinarySearchFunc(g.missing, sequence, func(m missingPacket, s int64) int { return int(m.sequence - s) })
	if !ok {
		return
	}
	if m := g.missing[i]; m.asked > 0 {
		g.repaired++
		if m.asked == 1 {
			g.sample = now.Sub(m.last)
		}
	}
	g.missing = slices.Delete(g.missing, i, i+1)
}

// forget gives every missing packet up: the stream begins anew or nobody
// wants it.
func (g *nackGenerator) forget() {
	g.lost += uint64(len(g.missing))
	g.missing = g.missing[:0]
	g.highest = 0
}

// due appends to dst the sequence numbers to ask for now, at most nackBatch of
// them, in order. A packet is asked for when it is out of order for longer
// than the tolerance, and again when an answer is overdue. gaveUp says that a
// packet was given up for good: what depends on it can't be decoded.
func (g *nackGenerator) due(now time.Time, rtt time.Duration, dst []uint16) (ask []uint16, gaveUp bool) {
	keep := g.missing[:0]
	for _, m := range g.missing {
		if g.expired(m, now, rtt) {
			g.lost++
			gaveUp = true
			continue
		}
		if len(dst) < nackBatch && m.asked < nackMaxRequests && !now.Before(g.dueAt(m, rtt)) {
			m.asked++
			m.last = now
			g.requests++
			dst = append(dst, uint16(m.sequence))
		}
		keep = append(keep, m)
	}
	g.missing = keep
	return dst, gaveUp
}

func (g *nackGenerator) expired(m missingPacket, now time.Time, rtt time.Duration) bool {
	if now.Sub(m.noticed) >= nackGiveUp+rtt {
		return true
	}
	return m.asked >= nackMaxRequests && now.Sub(m.last) >= 2*nackInterval(rtt)
}

// dueAt is when m is to be asked for next.
func (g *nackGenerator) dueAt(m missingPacket, rtt time.Duration) time.Time {
	switch {
	case m.asked >= nackMaxRequests:
		return m.last.Add(2 * nackInterval(rtt)) // to be given up
	case m.asked > 0:
		return m.last.Add(nackInterval(rtt))
	case g.highest-m.sequence >= nackReorder:
		return m.noticed
	default:
		return m.noticed.Add(nackTolerance)
	}
}

// next is when due has something to do; false when nothing is missing.
func (g *nackGenerator) next(rtt time.Duration) (time.Time, bool) {
	var at time.Time
	for _, m := range g.missing {
		if d := g.dueAt(m, rtt); at.IsZero() || d.Before(at) {
			at = d
		}
	}
	return at, !at.IsZero()
}

// nackInterval is the least time between two requests for one packet.
func nackInterval(rtt time.Duration) time.Duration {
	return max(nackMinInterval, rtt+rtt/5)
}
