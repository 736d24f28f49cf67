package sfu

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/pion/interceptor/pkg/twcc"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"consilium/internal/media"
)

// lossyLeg is the way to a subscriber and back in a box: both lose packets and
// take their time. On the far side is a client with Pion's own feedback
// recorder.
type lossyLeg struct {
	t      *testing.T
	s      *stage
	w      *wire
	d      *downTrack
	rnd    *rand.Rand
	loss   float64
	oneWay time.Duration

	there  []flight             // to the client
	back   []flight             // to the server
	lost   map[uint16]time.Time // first transmissions that were lost, and when they were due
	first  uint16               // sequence number that is not lost: nobody could notice
	client leggedClient
}

// flight is a packet under way: one of RTP or some RTCP.
type flight struct {
	at   time.Time
	rtp  *rtp.Packet
	rtcp rtcp.Packet
}

// leggedClient asks every interval for what it has not received, at most tries
// times. One that is blind to retransmissions does not see what they repaired.
type leggedClient struct {
	blind    bool
	interval time.Duration
	tries    int
	feedback *twcc.Recorder // nil: gives none

	highest    uint16
	begun      bool
	got        map[uint16]time.Time
	duplicates int
	missing    map[uint16]int // how often it was asked for
}

func newLossyLeg(t *testing.T, c leggedClient, rtx bool) *lossyLeg {
	l := &lossyLeg{t: t, s: newStage(t, media.Video), w: &wire{}, rnd: rand.New(rand.NewPCG(2026, 11)), oneWay: 25 * time.Millisecond, client: c, lost: map[uint16]time.Time{}}
	l.client.got, l.client.missing = map[uint16]time.Time{}, map[uint16]int{}
	l.d = l.s.subscriber(l.w, rtx)
	l.d.cfg.Transport.rtt.add(2 * l.oneWay)
	l.d.assign(l.s.track)
	l.first = uint16(l.d.rewrite.sequence) + 1
	return l
}

// run lets n packets pass, one every 5 ms, and then a second without any.
func (l *lossyLeg) run(n int) {
	for tick := range n*5 + 1000 {
		l.s.clock.at = l.s.clock.at.Add(time.Millisecond)
		if tick%5 == 0 && tick < n*5 {
			h := rtp.Header{PayloadType: 96, SSRC: l.s.ssrc, SequenceNumber: l.s.next, Timestamp: uint32(tick) * 90, Marker: true}
			l.s.raw(h, vp8Payload(l.s.next == 0, l.s.next))
			l.s.next++
		}
		now := l.s.clock.at
		l.carry(now)
		if tick%int(l.client.interval.Milliseconds()) == 0 {
			l.ask(now)
		}
		if tick%100 == 50 && l.client.feedback != nil {
			for _, p := range l.client.feedback.BuildFeedbackPacket() {
				l.reply(p, now)
			}
		}
	}
}

func (l *lossyLeg) reply(p rtcp.Packet, now time.Time) {
	if l.rnd.Float64() >= l.loss {
		l.back = append(l.back, flight{at: now.Add(l.oneWay), rtcp: p})
	}
}

// carry moves what is under way.
func (l *lossyLeg) carry(now time.Time) {
	for len(l.back) > 0 && !l.back[0].at.After(now) {
		raw, err := l.back[0].rtcp.Marshal()
		if err != nil {
			l.t.Fatal(err)
		}
		l.back = l.back[1:]
		up := l.d.cfg.Transport
		up.queue.put(raw, 7777, true)
		for _, in := range up.queue.take(nil) {
			up.handle(&in)
		}
	}
	for _, p := range l.w.packets {
		due := now.Add(l.oneWay)
		if p.SequenceNumber == l.first || l.rnd.Float64() >= l.loss {
			l.there = append(l.there, flight{at: due, rtp: &p})
		} else if _, again := l.lost[p.SequenceNumber]; p.SSRC == 7777 && !again {
			l.lost[p.SequenceNumber] = due
		}
	}
	l.w.packets = nil
	for len(l.there) > 0 && !l.there[0].at.After(now) {
		l.client.receive(l.there[0].rtp, now)
		l.there = l.there[1:]
	}
}

func (c *leggedClient) receive(p *rtp.Packet, now time.Time) {
	if number := p.GetExtension(3); c.feedback != nil {
		c.feedback.Record(p.SSRC, uint16(number[0])<<8|uint16(number[1]), now.UnixMicro()-1_800_000_000_000_000)
	}
	sequence, repair := p.SequenceNumber, p.SSRC == 8888
	if repair {
		sequence, _, _ = unwrapRTX(p.Payload)
	}
	if _, twice := c.got[sequence]; twice {
		c.duplicates++
		return
	}
	c.got[sequence] = now
	if repair && c.blind {
		return
	}
	delete(c.missing, sequence)
	if repair {
		return
	}
	if c.begun {
		for s := c.highest + 1; int16(sequence-s) > 0; s++ {
			c.missing[s] = 0
		}
	}
	if !c.begun || int16(sequence-c.highest) > 0 {
		c.highest, c.begun = sequence, true
	}
}

func (l *lossyLeg) ask(now time.Time) {
	var ask []uint16
	for s, times := range l.client.missing {
		if times < l.client.tries {
			l.client.missing[s]++
			ask = append(ask, s)
		}
	}
	if len(ask) > 0 {
		slices.SortFunc(ask, func(a, b uint16) int { return int(int16(a - b)) })
		l.reply(&rtcp.TransportLayerNack{MediaSSRC: 7777, Nacks: rtcp.NackPairsFromSequenceNumbers(ask)}, now)
	}
}

// report gives an egress feedback about packets from base on.
func report(e *egress, base uint16, now time.Time, received ...bool) {
	symbols := make([]uint16, len(received))
	for i, ok := range received {
		if ok {
			symbols[i] = rtcp.TypeTCCPacketReceivedSmallDelta
		}
	}
	e.feedback(feedbackAbout(base, symbols...), now)
}

// resendCase is a packet, sequence number 500, that is asked for at 100 ms and
// again. It goes out at 0 ms under number 10, the next ones up to 14; resent
// it has number 15, and 16 follows.
type resendCase struct {
	before   func(*egress)     // until 100 ms
	then     func(*egress)     // after it was resent
	resender func(r *resender) // what else is known
	first    dropReason        // of the request at 100 ms
	again    dropReason        // of the one askedAt
	askedAt  int               // ms
	settled  []uint16          // by feedback at askedAt + 10 ms
	settle   func(*egress)
}

// testAt is an instant, in milliseconds, of a resendCase.
func testAt(ms int) time.Time { return time.Unix(1000, int64(ms)*int64(time.Millisecond)) }

func (tc resendCase) run(t *testing.T) {
	const rtt = 50 * time.Millisecond
	e, r, out := &egress{next: 10}, &resender{size: 64}, wayOut{&wire{}, make([]byte, 2)}
	send := func(now time.Time) uint16 {
		n, err := e.send(out, &rtp.Header{}, nil, now, false)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for sequence := range uint16(5) {
		r.sent(500+sequence, send(testAt(0)), false, testAt(0))
	}
	if tc.before != nil {
		tc.before(e)
	}
	ask := func(ms int) dropReason {
		return r.judge(request{sequence: 500, now: testAt(ms), rtt: rtt, feedback: e})
	}
	if got := ask(100); got != tc.first {
		t.Fatalf("first request: %v, want %v", got, tc.first)
	} else if got == dropReasons {
		r.resent(500, send(testAt(100)), testAt(100))
		r.sent(505, send(testAt(101)), false, testAt(101))
	}
	if tc.then != nil {
		tc.then(e)
	}
	if tc.resender != nil {
		tc.resender(r)
	}
	if got := ask(tc.askedAt); got != tc.again {
		t.Fatalf("second request: %v, want %v", got, tc.again)
	}
	if tc.settle != nil {
		tc.settle(e)
	}
	got := r.settle(request{now: testAt(tc.askedAt + 10), rtt: rtt, feedback: e}, nil, func(dropReason) {})
	if !slices.Equal(got, tc.settled) {
		t.Fatalf("feedback settles %v, want %v", got, tc.settled)
	}
}

func TestFeedbackDecidesWhatIsResent(t *testing.T) {
	for name, tc := range map[string]resendCase{
		"original arrived": {before: func(e *egress) { report(e, 10, testAt(90), true) }, first: dropResendArrived, again: dropResendArrived, askedAt: 200},
		"original lost, resent arrived": {before: func(e *egress) { report(e, 10, testAt(90), false, true) },
			then: func(e *egress) { report(e, 15, testAt(180), true) }, first: dropReasons, again: dropResendArrived, askedAt: 200},
		"original was only late": {before: func(e *egress) { report(e, 10, testAt(90), false, true) },
			then: func(e *egress) { report(e, 10, testAt(180), true) }, first: dropReasons, again: dropResendArrived, askedAt: 200},
		"resent one lost": {then: func(e *egress) { report(e, 15, testAt(180), false, true) }, first: dropReasons, again: dropReasons, askedAt: 200},
		"not known yet, then lost": {then: func(e *egress) { report(e, 10, testAt(110), false, true) }, first: dropReasons, again: dropResendWaiting, askedAt: 200,
			settle: func(e *egress) { report(e, 15, testAt(210), false, true) }, settled: []uint16{500}},
		"not known yet, then arrived": {then: func(e *egress) { report(e, 10, testAt(110), false, true) }, first: dropReasons, again: dropResendWaiting, askedAt: 200,
			settle: func(e *egress) { report(e, 15, testAt(210), true) }},
		"not known yet, then still not": {then: func(e *egress) { report(e, 10, testAt(110), false, true) }, first: dropReasons, again: dropResendWaiting, askedAt: 200,
			settle: func(e *egress) { report(e, 14, testAt(210), true) }},
		"passed over by feedback": {then: func(e *egress) { report(e, 16, testAt(180), true) }, first: dropReasons, again: dropResendUntold, askedAt: 200},
		"passed over, but he is trusted": {then: func(e *egress) { report(e, 16, testAt(180), true) }, first: dropReasons, again: dropReasons, askedAt: 200,
			resender: func(r *resender) { r.resends, r.first = resendTrust, testAt(-2000) }},
		"passed over, he asks for what he has": {then: func(e *egress) { report(e, 16, testAt(180), true) }, first: dropReasons, again: dropResendUntold, askedAt: 200,
			resender: func(r *resender) { r.resends, r.first, r.ignorant = resendTrust, testAt(-2000), true }},
		"trusted, but the request crossed": {then: func(e *egress) { report(e, 16, testAt(130), true) }, first: dropReasons, again: dropResendRecent, askedAt: 140,
			resender: func(r *resender) { r.resends, r.first = resendTrust, testAt(-2000) }},
		"feedback has stopped, patience is over": {then: func(e *egress) { report(e, 10, testAt(90), false) }, first: dropReasons, again: dropResendUntold, askedAt: 900},
		"feedback has stopped for good":          {then: func(e *egress) { report(e, 10, testAt(90), false) }, first: dropReasons, again: dropReasons, askedAt: 1200},
		"there never was any":                    {first: dropReasons, again: dropReasons, askedAt: 1200},
	} {
		t.Run(name, tc.run)
	}
}

func TestLossOnTheWayOutIsRepairedWithoutDuplicates(t *testing.T) {
	storming := leggedClient{blind: true, interval: 100 * time.Millisecond, tries: 10}
	honest := leggedClient{interval: 60 * time.Millisecond, tries: 10}
	for name, tc := range map[string]struct {
		client        leggedClient
		rtx, feedback bool
		loss          float64
		share         float64 // repaired within 500 ms
	}{
		"client that asks for what was repaired":        {storming, true, true, 0.05, 0.95},
		"the same with 15 % loss":                       {storming, true, true, 0.15, 0.85},
		"client that asks for what it lacks":            {honest, true, true, 0.05, 0.99},
		"the same with 15 % loss, believed":             {honest, true, true, 0.15, 0.98},
		"client without feedback":                       {honest, true, false, 0.05, 0.99},
		"client without retransmission stream":          {honest, false, true, 0.05, 0.99},
		"client without retransmission stream storming": {leggedClient{interval: 100 * time.Millisecond, tries: 10}, false, true, 0.05, 0.95},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.feedback {
				tc.client.feedback = twcc.NewRecorder(1)
			}
			l := newLossyLeg(t, tc.client, tc.rtx)
			l.loss = tc.loss
			l.run(20_000)
			inTime := 0
			for sequence, due := range l.lost {
				if at, ok := l.client.got[sequence]; ok && at.Sub(due) <= 500*time.Millisecond {
					inTime++
				}
			}
			share := float64(inTime) / float64(len(l.lost))
			st := l.d.stats()
			t.Logf("%d lost, %.2f %% repaired within 500 ms, %d resent, %d duplicates, not resent: %v",
				len(l.lost), share*100, st.Resent, l.client.duplicates, st.dropped())
			if len(l.lost) < 500 || share < tc.share || l.client.duplicates != 0 {
				t.Fatalf("%d lost, %.4f repaired in time, want %.2f; %d duplicates, want none", len(l.lost), share, tc.share, l.client.duplicates)
			}
		})
	}
}
