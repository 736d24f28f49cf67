package sfu

import (
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"consilium/internal/media"
)

// pollLog is a worker without a goroutine: it polls when it has asked to, and
// keeps when it did and what it sent.
type pollLog struct {
	*stage
	polls int
	sent  []time.Time // datagrams
	twcc  []time.Time
	rr    []time.Time
}

func newPollLog(t testing.TB) *pollLog {
	l := &pollLog{stage: newStage(t, media.Video)}
	l.line.TWCCExt = 3
	l.up.setLines([]upLine{*l.line})
	l.up.router.update(l.up.routes.Load())
	l.up.cfg.WriteRTCP = func(packets []rtcp.Packet) error {
		l.sent = append(l.sent, l.clock.at)
		for _, p := range packets {
			switch p.(type) {
			case *rtcp.RawPacket:
				l.twcc = append(l.twcc, l.clock.at)
			case *rtcp.ReceiverReport:
				l.rr = append(l.rr, l.clock.at)
			}
		}
		return nil
	}
	return l
}

// run lets time pass in steps of a millisecond; packet says when a packet
// comes.
func (l *pollLog) run(d time.Duration, packet func(ms int) bool) {
	for ms := range int(d.Milliseconds()) {
		l.clock.at = l.clock.at.Add(time.Millisecond)
		if packet(ms) {
			h := rtp.Header{PayloadType: 96, SSRC: l.ssrc, SequenceNumber: l.next, Timestamp: uint32(ms) * 90}
			if err := h.SetExtension(3, []byte{byte(l.next >> 8), byte(l.next)}); err != nil {
				l.t.Fatal(err)
			}
			l.next++
			l.raw(h, vp8Payload(true, l.next))
		}
		if now := l.clock.at; l.up.dirty.Swap(false) || !now.Before(l.up.nextPoll) {
			l.polls++
			l.up.nextPoll = l.up.poll(now)
		}
	}
}

// longest is the longest time between two instants, the ends included.
func longest(from, to time.Time, at []time.Time) time.Duration {
	var most time.Duration
	for _, next := range append(at, to) {
		most, from = max(most, next.Sub(from)), next
	}
	return most
}

func TestFeedbackAndReportsKeepTheirDeadlines(t *testing.T) {
	l := newPollLog(t)
	begin := l.clock.at
	l.run(10*time.Second, func(ms int) bool { return ms%20 == 7 })
	if d := longest(begin, l.clock.at, l.twcc); d > 100*time.Millisecond {
		t.Errorf("no feedback for %v", d)
	}
	if n := len(l.twcc); n > 126 {
		t.Errorf("feedback %d times in 10 s, want every 80 ms", n)
	}
	if d := longest(begin.Add(time.Millisecond), l.clock.at, l.rr); d > time.Second {
		t.Errorf("no receiver report for %v", d)
	}
	if len(l.rr) < 10 || len(l.rr) > 12 {
		t.Errorf("%d receiver reports in 10 s", len(l.rr))
	}
	if alone := len(l.sent) - len(l.twcc); alone > 1 {
		t.Errorf("%d datagrams without feedback: reports don't go along", alone)
	}
	if l.polls > len(l.sent)+2 {
		t.Errorf("polled %d times to send %d datagrams", l.polls, len(l.sent))
	}
}

func TestWorkerSleepsWhileNothingComes(t *testing.T) {
	l := newPollLog(t)
	l.run(time.Second, func(ms int) bool { return ms == 5 })
	l.polls = 0
	l.run(10*time.Second, func(int) bool { return false })
	if l.polls > 11 {
		t.Errorf("polled %d times in 10 s of silence", l.polls)
	}
	// DTX: one packet each 400 ms is told of at once or with the next one.
	l.polls, l.twcc = 0, nil
	begin := l.clock.at
	l.run(10*time.Second, func(ms int) bool { return ms%400 == 399 })
	if len(l.twcc) != 25 || longest(begin, l.clock.at, l.twcc) > 500*time.Millisecond {
		t.Errorf("feedback %d times about 25 packets, longest wait %v", len(l.twcc), longest(begin, l.clock.at, l.twcc))
	}
	if l.polls > 40 {
		t.Errorf("polled %d times", l.polls)
	}
}
