package sfu

import "time"

// resender decides which of the packets a subscriber asks for are sent again.
// It has no clock of its own and is not safe for concurrent use. The zero
// value with a size is ready.
//
// Some clients never learn that a retransmission stream repaired a packet, and
// ask for it again and again; others ask again while the answer is on its way.
// What the subscriber's transport-wide feedback says of a packet therefore
// weighs more than what he asks for: a packet that arrived is never sent again,
// and one whose last transmission the feedback has not spoken of yet waits for
// it. Without feedback, and where packets are repeated on the media SSRC, a
// packet is sent at most once in a round trip.
type resender struct {
	size    int           // how many packets are remembered
	entries []resendEntry // by sequence number; made at the first packet
	waiting []uint16      // asked for again, to be decided by feedback
	budget  bucket        // packets resent
	asked   bucket        // packets asked for

	// ignorant is set when the subscriber asked for a packet after he had
	// confirmed its retransmission: what he asks for again proves nothing.
	ignorant bool
	resends  int
	first    time.Time // first retransmission
}

// resendEntry is what is remembered of one packet.
type resendEntry struct {
	sequence uint16
	original uint16 // transport-wide number of the first transmission
	latest   uint16 // and of the last one
	state    resendState
	wait     resendWait
	at       int64 // when it was last sent out of order or again, Unix nanoseconds; 0: never
}

type resendState uint8

const (
	resendUnused resendState = iota
	resendSent               // sent once
	resendDone               // sent again
)

// resendWait says whether a packet is on the list of the waiting ones.
type resendWait uint8

const (
	waitNot     resendWait = iota
	waitCrossed            // asked for perhaps before the last transmission arrived
	waitMissed             // asked for after it should have arrived
)

// request is a subscriber's wish for one packet and what is known about it.
type request struct {
	sequence uint16
	now      time.Time
	rtt      time.Duration
	// feedback tells what became of numbered packets; nil when the
	// subscriber has not negotiated transport-wide numbers.
	feedback *egress
	// plain says that packets are repeated on the media SSRC, under the number
	// they had: their feedback comes only once.
	plain bool
}

// sent notes the first transmission of a packet under a transport-wide number.
// late says that it came after its successors, so that the subscriber may have
// asked for it already.
func (r *resender) sent(sequence, number uint16, late bool, now time.Time) {
	e := r.slot(sequence)
	*e = resendEntry{sequence: sequence, original: number, latest: number, state: resendSent}
	if late {
		e.at = now.UnixNano()
	}
}

// resent notes that a packet was sent again.
func (r *resender) resent(sequence, number uint16, now time.Time) {
	e := r.slot(sequence)
	if e.state == resendUnused || e.sequence != sequence {
		*e = resendEntry{sequence: sequence, original: number}
	}
	e.state, e.latest, e.at, e.wait = resendDone, number, now.UnixNano(), waitNot
	if r.resends == 0 {
		r.first = now
	}
	r.resends++
}

// number is the transport-wide number under which a packet was sent first.
func (r *resender) number(sequence uint16) (uint16, bool) {
	e := r.find(sequence)
	if e == nil {
		return 0, false
	}
	return e.original, true
}

// judge says whether a packet that is asked for may be resent now, dropReasons
// if so, and takes it that it then is.
func (r *resender) judge(q request) dropReason {
	e := r.find(q.sequence)
	if e != nil {
		if why := r.known(e, q); why != dropReasons {
			return why
		}
	}
	return r.spend(q.now)
}

func (r *resender) spend(now time.Time) dropReason {
	if !r.budget.take(1, resendBurst, resendRate, now) {
		return dropResendLimit
	}
	return dropReasons
}

// known judges a request for a packet that was sent before.
func (r *resender) known(e *resendEntry, q request) dropReason {
	if q.feedback != nil && q.feedback.fate(e.original) == fateArrived {
		return dropResendArrived
	}
	if e.at == 0 {
		return dropReasons
	}
	age := q.now.Sub(time.Unix(0, e.at))
	recent := age < max(q.rtt*3/4, resendMinInterval)
	if q.plain || q.feedback == nil || q.feedback.silent(e.at, q.now) {
		if recent {
			return dropResendRecent
		}
		return dropReasons
	}
	switch q.feedback.fate(e.latest) {
	case fateArrived:
		r.ignorant = r.ignorant || e.state == resendDone
		return dropResendArrived
	case fateLost:
		return dropReasons
	case fatePending:
		if age < max(q.rtt*3/2, resendPatience) {
			r.await(e, age > q.rtt)
			return dropResendWaiting
		}
	case fateUntold:
		if age <= q.rtt {
			return dropResendRecent
		}
	}
	return r.untold(q.now)
}

// untold judges a repeated request when the feedback itself was lost: he who
// knows what he has is believed.
func (r *resender) untold(now time.Time) dropReason {
	if !r.ignorant && r.resends >= resendTrust && now.Sub(r.first) >= resendTrustAfter {
		return dropReasons
	}
	return dropResendUntold
}

// await puts a packet on the list of those that feedback decides. missed says
// that the last transmission should have arrived before it was asked for.
func (r *resender) await(e *resendEntry, missed bool) {
	if e.wait == waitNot {
		if len(r.waiting) >= resendMaxWaiting {
			return
		}
		e.wait = waitCrossed
		r.waiting = append(r.waiting, e.sequence)
	}
	if missed {
		e.wait = waitMissed
	}
}

// settle goes through the waiting packets after feedback has come. It appends
// to dst those that are to be resent now; the reasons why others are not go to
// drop.
func (r *resender) settle(q request, dst []uint16, drop func(dropReason)) []uint16 {
	keep := r.waiting[:0]
	for _, sequence := range r.waiting {
		e := r.find(sequence)
		if e == nil || e.wait == waitNot {
			continue
		}
		why := dropReasons
		switch fate := q.feedback.fate(e.latest); {
		case fate == fateArrived || q.feedback.fate(e.original) == fateArrived:
			why = dropResendArrived
		case fate == fatePending:
			keep = append(keep, sequence)
			continue
		case fate == fateUntold && e.wait == waitCrossed:
			why = dropResendRecent
		case fate == fateUntold:
			why = r.untold(q.now)
		}
		e.wait = waitNot
		if why == dropReasons {
			why = r.spend(q.now)
		}
		if why == dropReasons {
			dst = append(dst, sequence)
		} else {
			drop(why)
		}
	}
	r.waiting = keep
	return dst
}

// within reports whether a packet was sent out of order or again less than d
// ago.
func (r *resender) within(sequence uint16, now time.Time, d time.Duration) bool {
	e := r.find(sequence)
	return e != nil && e.at != 0 && now.Sub(time.Unix(0, e.at)) < d
}

// forget drops what is known of the packets sent so far, not the budgets nor
// what is known of the subscriber.
func (r *resender) forget() {
	clear(r.entries)
	r.waiting = r.waiting[:0]
}

func (r *resender) slot(sequence uint16) *resendEntry {
	if r.entries == nil {
		r.entries = make([]resendEntry, r.size)
	}
	return &r.entries[int(sequence)%r.size]
}

// find returns what is remembered of a packet, or nil.
func (r *resender) find(sequence uint16) *resendEntry {
	if r.entries == nil {
		return nil
	}
	if e := r.slot(sequence); e.state != resendUnused && e.sequence == sequence {
		return e
	}
	return nil
}
