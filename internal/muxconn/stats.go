package muxconn

import "sync/atomic"

// Stats counts what a Conn or a Group dropped and passed on. All values are
// totals since the start.
type Stats struct {
	RelayIn  uint64 // datagrams from virtual peers handed to the SFU
	RelayOut uint64 // datagrams of the SFU handed to virtual peers

	DroppedForged      uint64 // arrived on the socket with a source in the virtual ranges
	DroppedInFull      uint64 // from a peer: the Conn's queue was full
	DroppedOutFull     uint64 // to a peer: the peer's queue was full
	DroppedNotSFU      uint64 // from a peer: the destination is not an advertised address
	DroppedUnknownPeer uint64 // to a virtual address that nobody has, or that never wrote here
	DroppedOversize    uint64 // larger than a relayed datagram may be
}

type counters struct {
	relayIn, relayOut                                   atomic.Uint64
	forged, inFull, outFull, notSFU, unknown, oversized atomic.Uint64
}

func (c *counters) snapshot() Stats {
	return Stats{
		RelayIn:            c.relayIn.Load(),
		RelayOut:           c.relayOut.Load(),
		DroppedForged:      c.forged.Load(),
		DroppedInFull:      c.inFull.Load(),
		DroppedOutFull:     c.outFull.Load(),
		DroppedNotSFU:      c.notSFU.Load(),
		DroppedUnknownPeer: c.unknown.Load(),
		DroppedOversize:    c.oversized.Load(),
	}
}

func (s *Stats) add(o Stats) {
	s.RelayIn += o.RelayIn
	s.RelayOut += o.RelayOut
	s.DroppedForged += o.DroppedForged
	s.DroppedInFull += o.DroppedInFull
	s.DroppedOutFull += o.DroppedOutFull
	s.DroppedNotSFU += o.DroppedNotSFU
	s.DroppedUnknownPeer += o.DroppedUnknownPeer
	s.DroppedOversize += o.DroppedOversize
}
