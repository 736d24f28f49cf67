package sfu

import (
	"testing"
	"time"

	"github.com/pion/rtcp"
)

func TestVeryFirstPacketReachesTheSink(t *testing.T) {
	for name, edit := range map[string]func(string) string{"declared ssrc": asIs, "undeclared ssrc": withoutSSRC} {
		t.Run(name, func(t *testing.T) {
			c := newCollector()
			p := newPublisher(t, edit, c)
			p.sendUntil(t, c)
			p.send(t, 100)
			c.wait(t, 100)
			p.conn.mu.Lock()
			first := p.conn.first[p.ssrc]
			p.conn.mu.Unlock()
			c.mu.Lock()
			defer c.mu.Unlock()
			if c.first.SequenceNumber != first {
				t.Fatalf("first packet on the wire is %d, first at the sink %d", first, c.first.SequenceNumber)
			}
			if c.twice != 0 {
				t.Fatalf("%d duplicates", c.twice)
			}
		})
	}
}

func TestLossOnRealTransportIsRepaired(t *testing.T) {
	c := newCollector()
	p := newPublisher(t, asIs, c)
	p.sendUntil(t, c)
	p.conn.setLoss(0.05)
	p.send(t, 1500)
	p.conn.setLoss(0)
	p.send(t, 300) // long enough for the last repair
	p.conn.mu.Lock()
	defer p.conn.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	p.end.mu.Lock()
	defer p.end.mu.Unlock()
	inTime, worst := 0, 0
	for sequence, at := range p.conn.lost {
		if got, ok := c.got[sequence]; ok && got.Sub(at) <= 500*time.Millisecond {
			inTime++
		}
		worst = max(worst, p.end.asked[sequence])
	}
	t.Logf("%d lost, %d repaired in time, at most %d requests", len(p.conn.lost), inTime, worst)
	if c.report == 0 {
		t.Error("no sender report reached the sink")
	}
	if len(p.conn.lost) < 30 || inTime*100 < len(p.conn.lost)*95 || worst > nackMaxRequests || c.twice != 0 {
		t.Fatalf("%d lost, %d repaired in time, %d requests for one, %d duplicates", len(p.conn.lost), inTime, worst, c.twice)
	}
}

func TestSubscriberGetsEveryPacketOnceThroughLossOnBothLegs(t *testing.T) {
	first := newCollector()
	p := newPublisher(t, asIs, first)
	p.sendUntil(t, first)
	leg := listenLossy(t)
	client, d, c, ssrc := subscribe(t, p.up, leg)
	p.sendUntil(t, c)
	media := <-ssrc
	p.conn.setLoss(0.05)
	p.send(t, 1000)
	p.conn.setLoss(0)
	p.send(t, 300)
	c.mu.Lock()
	if c.twice != 0 {
		t.Errorf("%d duplicates reached the subscriber", c.twice)
	}
	span := d.stats().Packets
	if missing := int(span) - len(c.got); missing > int(span)/100 {
		t.Errorf("%d of %d packets are missing", missing, span)
	}
	c.mu.Unlock()
	before := p.end.keyframeRequests()
	for range 20 {
		must(t, client.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: media}}))
	}
	p.send(t, 200)
	if n := p.end.keyframeRequests() - before; n < 1 || n > 2 {
		t.Errorf("20 keyframe requests within 400 ms became %d, want 1 or 2", n)
	}
	leg.setLoss(0.05)
	p.send(t, 500)
	leg.setLoss(0)
	p.send(t, 300)
	if path := d.cfg.Transport.stats(); path.Acknowledged == 0 || path.NotArrived == 0 || path.RTT == 0 {
		t.Errorf("path %+v", path)
	}
	if st := d.stats(); st.Resent == 0 || st.LastReport.IsZero() || st.RTT == 0 {
		t.Errorf("stats %+v", st)
	}
}

func TestClientThatNamesManySSRCsOnRealTransportIsReported(t *testing.T) {
	first := newCollector()
	p := newPublisher(t, asIs, first)
	p.sendUntil(t, first)
	before := p.end.transport.buffers.Load()
	report := &rtcp.ReceiverReport{Reports: make([]rtcp.ReceptionReport, maxReportBlocks)}
	limit := time.After(20 * time.Second)
	for ssrc := uint32(1); ; {
		for i := range report.Reports {
			report.Reports[i].SSRC = ssrc
			ssrc++
		}
		must(t, p.client.WriteRTCP([]rtcp.Packet{report}))
		p.send(t, 1)
		select {
		case <-p.end.overrun:
			if n := p.end.transport.buffers.Load(); before > 16 || n > 2*maxBuffers {
				t.Fatalf("%d buffers before and %d when it was told", before, n)
			}
			return
		case <-limit:
			t.Fatalf("%d SSRCs named, %d buffers made, nobody told", ssrc, p.end.transport.buffers.Load())
		default:
		}
	}
}
