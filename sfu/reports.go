package sfu

import (
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"

	"consilium/internal/media"
)

// ntpEpoch is the Unix time of the NTP epoch, in seconds: 1900-01-01.
const ntpEpoch = -2208988800

// toNTP turns a time into the 32.32 format of NTP.
func toNTP(t time.Time) uint64 {
	seconds := uint64(t.Unix() - ntpEpoch)
	return seconds<<32 | uint64(t.Nanosecond())<<32/uint64(time.Second)
}

// ntpDuration turns a time span into 32.32 seconds.
func ntpDuration(d time.Duration) uint64 {
	return uint64(int64(d/time.Second)<<32 + int64(d%time.Second)<<32/int64(time.Second))
}

// fromShortNTP turns 16.16 seconds into a time span.
func fromShortNTP(v uint32) time.Duration {
	return time.Duration(uint64(v) * uint64(time.Second) >> 16)
}

// receiveStats are what a receiver report says about one stream (RFC 3550,
// 6.4.1 and appendix A). Not safe for concurrent use; the zero value is ready.
type receiveStats struct {
	base, highest int64 // unwrapped sequence numbers
	received      int64
	jitter        float64 // in units of the RTP clock
	transit       float64
	hasTransit    bool
	epoch         time.Time          // arrival of the first packet
	report        media.SenderReport // the last one, zero Arrival when none

	priorExpected, priorReceived int64
}

// packet takes note of an original, not retransmitted packet.
func (s *receiveStats) packet(sequence int64, timestamp, clockRate uint32, arrival time.Time) {
	if s.received == 0 {
		s.base, s.highest, s.epoch = sequence, sequence, arrival
	}
	s.received++
	s.base, s.highest = min(s.base, sequence), max(s.highest, sequence)
	now := uint32(arrival.Sub(s.epoch).Microseconds() * int64(clockRate) / 1_000_000)
	transit := float64(int32(now - timestamp))
	if s.hasTransit {
		d := transit - s.transit
		s.jitter += (max(d, -d) - s.jitter) / 16
	}
	s.transit, s.hasTransit = transit, true
}

// lost is how many packets never came, as far as is known.
func (s *receiveStats) lost() int64 {
	if s.received == 0 {
		return 0
	}
	return max(0, s.highest-s.base+1-s.received)
}

// block builds the report block of the stream and begins a new interval.
func (s *receiveStats) block(ssrc uint32, now time.Time) rtcp.ReceptionReport {
	expected := s.highest - s.base + 1
	inInterval, got := expected-s.priorExpected, s.received-s.priorReceived
	s.priorExpected, s.priorReceived = expected, s.received
	b := rtcp.ReceptionReport{
		SSRC:               ssrc,
		TotalLost:          uint32(min(s.lost(), 0x7FFFFF)),
		LastSequenceNumber: uint32(s.highest - 1<<16),
		Jitter:             uint32(s.jitter),
	}
	if lost := inInterval - got; inInterval > 0 && lost > 0 {
		b.FractionLost = uint8(min(lost<<8/inInterval, 255))
	}
	if !s.report.Arrival.IsZero() {
		b.LastSenderReport = uint32(s.report.NTP >> 16)
		b.Delay = uint32(ntpDuration(now.Sub(s.report.Arrival)) >> 16)
	}
	return b
}

// senderClock maps the wall clock of a publisher onto the server's. All tracks
// of a session share one, so that what subscribers are told keeps lips and
// sound together, and all sessions share the server's clock, so that a slot
// that changes hands does not see time jump. Safe for concurrent use; the zero
// value is ready.
type senderClock struct {
	offset atomic.Uint64 // 32.32 seconds to add, modulo 2^64
	set    atomic.Bool
}

// observe takes a sender report. The first one fixes the mapping; a step of
// the publisher's clock makes it anew.
func (c *senderClock) observe(sr media.SenderReport) {
	offset := toNTP(sr.Arrival) - sr.NTP
	step := int64(offset - c.offset.Load())
	if limit := int64(ntpDuration(clockStep)); !c.set.Load() || step > limit || step < -limit {
		c.offset.Store(offset)
		c.set.Store(true)
	}
}

// server returns the server's wall clock, in NTP format, at the instant the
// publisher's was ntp.
func (c *senderClock) server(ntp uint64) uint64 { return ntp + c.offset.Load() }

// reportClock relates a source's RTP clock to the server's wall clock: at NTP
// time ntp, when the server's monotonic clock said at, the source's RTP clock
// said rtp. It comes from the publisher's sender report or, before the first,
// from the arrival of a packet.
type reportClock struct {
	at        time.Time
	ntp       uint64
	rtp       uint32
	fromSR    bool
	clockRate uint32
}

// arrived uses a packet's arrival until there is something better.
func (c *reportClock) arrived(timestamp uint32, at time.Time) {
	if !c.fromSR {
		c.at, c.ntp, c.rtp = at, toNTP(at), timestamp
	}
}

// reported takes a sender report of the source, on the clock of its session.
func (c *reportClock) reported(sr media.SenderReport, clock *senderClock) {
	c.at, c.ntp, c.rtp, c.fromSR = sr.Arrival, clock.server(sr.NTP), sr.RTP, true
}

// now extrapolates to an instant; false when nothing is known.
func (c *reportClock) now(at time.Time) (ntp uint64, rtp uint32, ok bool) {
	if c.at.IsZero() {
		return 0, 0, false
	}
	passed := at.Sub(c.at)
	return c.ntp + ntpDuration(passed), c.rtp + uint32(int64(passed.Seconds()*float64(c.clockRate))), true
}

// sentReports remembers when sender reports were sent, to measure the round
// trip from the reports that answer them. The zero value is ready.
type sentReports struct {
	entries [reportHistory]struct {
		middle uint32 // the middle 32 bits of its NTP time
		at     time.Time
	}
	next int
}

func (s *sentReports) add(ntp uint64, at time.Time) {
	s.entries[s.next%reportHistory].middle = uint32(ntp >> 16)
	s.entries[s.next%reportHistory].at = at
	s.next++
}

// roundTrip is what a report block says about the round trip (RFC 3550,
// 6.4.1); false when it answers no remembered report.
func (s *sentReports) roundTrip(b rtcp.ReceptionReport, now time.Time) (time.Duration, bool) {
	if b.LastSenderReport == 0 {
		return 0, false
	}
	for _, e := range s.entries {
		if e.middle == b.LastSenderReport && !e.at.IsZero() {
			rtt := now.Sub(e.at) - fromShortNTP(b.Delay)
			return max(rtt, 0), rtt > -50*time.Millisecond
		}
	}
	return 0, false
}

// smoothedRTT is a round trip smoothed as TCP does (RFC 6298, 2). Safe for
// concurrent use; the zero value knows nothing.
type smoothedRTT struct{ nanos atomic.Int64 }

func (s *smoothedRTT) add(sample time.Duration) {
	old := s.nanos.Load()
	if old == 0 {
		s.nanos.Store(max(1, int64(sample)))
		return
	}
	s.nanos.Store(max(1, old+(int64(sample)-old)/8))
}

// value is the round trip, or false when none was measured.
func (s *smoothedRTT) value() (time.Duration, bool) {
	v := s.nanos.Load()
	return time.Duration(v), v != 0
}

// orDefault is the round trip, or what is assumed until one was measured.
func (s *smoothedRTT) orDefault() time.Duration {
	if v, ok := s.value(); ok {
		return v
	}
	return defaultRTT
}
