package sfu

import (
	"time"

	"github.com/pion/rtcp"

	"consilium/internal/media"
)

// handleRTCP takes one RTCP packet. Pion delivers it once for every SSRC it
// concerns, each time to that SSRC's buffer: only what concerns that SSRC is
// used.
func (t *transport) handleRTCP(in *inbound) {
	cost, ok := controlCost(in.pooled.buf)
	if ok && !t.control.take(cost, controlBurst, controlRate, in.at) {
		t.cfg.Drops.add(dropRTCPLimit)
		return
	}
	if !ok {
		t.cfg.Drops.add(dropMalformed)
		return
	}
	packets, err := rtcp.Unmarshal(in.pooled.buf)
	if err != nil {
		t.cfg.Drops.add(dropMalformed)
		return
	}
	for _, p := range packets {
		switch p := p.(type) {
		case *rtcp.SenderReport:
			if p.SSRC == in.ssrc {
				t.senderReport(p, in.at)
			}
			t.receptionReports(p.Reports, in)
		case *rtcp.ReceiverReport:
			t.receptionReports(p.Reports, in)
		case *rtcp.SourceDescription:
			if u := t.upTrackOf(in.ssrc); u != nil {
				u.rtcpSeen(in.at)
			}
		case *rtcp.TransportLayerCC:
			t.out.feedback(p, in.at)
			for _, d := range t.allDowns() {
				d.settle(in.at)
			}
		default:
			t.mediaFeedback(p, in)
		}
	}
}

// mediaFeedback takes what a subscriber says about one track.
func (t *transport) mediaFeedback(p rtcp.Packet, in *inbound) {
	d := t.down(in.ssrc)
	if d == nil {
		return
	}
	switch p := p.(type) {
	case *rtcp.TransportLayerNack:
		if p.MediaSSRC == in.ssrc {
			d.resend(p.Nacks, in.at)
		}
	case *rtcp.PictureLossIndication:
		if p.MediaSSRC == in.ssrc {
			d.requestKeyframe(in.at)
		}
	case *rtcp.FullIntraRequest:
		for _, f := range p.FIR {
			if f.SSRC == in.ssrc {
				d.requestKeyframe(in.at)
			}
		}
	}
}

func (t *transport) senderReport(p *rtcp.SenderReport, at time.Time) {
	u := t.upTrackOf(p.SSRC)
	if u == nil {
		return
	}
	sr := media.SenderReport{Arrival: at, NTP: p.NTPTime, RTP: p.RTPTime}
	t.clock.observe(sr)
	u.senderReport(sr)
}

func (t *transport) receptionReports(blocks []rtcp.ReceptionReport, in *inbound) {
	for _, b := range blocks {
		if b.SSRC != in.ssrc {
			continue
		}
		if d := t.down(b.SSRC); d != nil {
			d.reported(b, in.at)
		}
	}
}

// upTrackOf finds the track that an SSRC carries.
func (t *transport) upTrackOf(ssrc uint32) *upTrack {
	s, ok := t.router.streams[ssrc]
	if !ok || s.repair {
		return nil
	}
	return t.router.routes.tracks[s.line.MID]
}

// poll does what is due and returns when it wants to be called again.
func (t *transport) poll(now time.Time) time.Time {
	next := now.Add(idlePoll)
	var out []rtcp.Packet
	report := !now.Before(t.nextReport)
	if report {
		t.nextReport = now.Add(receiverReportInterval)
	}
	var blocks []rtcp.ReceptionReport
	for _, u := range t.router.routes.tracks {
		packets, at := u.poll(now, t.sender)
		out = append(out, packets...)
		next = earlier(next, at)
		if report {
			blocks = u.appendBlock(blocks, now)
		}
	}
	for len(blocks) > 0 {
		n := min(len(blocks), maxReportBlocks)
		out = append(out, &rtcp.ReceiverReport{SSRC: t.sender, Reports: blocks[:n]})
		blocks = blocks[n:]
	}
	if !now.Before(t.nextTWCC) {
		out = append(out, t.feedback.build()...)
		t.nextTWCC = now.Add(feedbackInterval)
	}
	for _, d := range t.allDowns() {
		sr, at := d.pollReport(now)
		if sr != nil {
			out = append(out, sr)
		}
		next = earlier(next, at)
	}
	t.writeRTCP(out)
	if len(t.router.routes.tracks) > 0 {
		next = earlier(next, t.nextReport)
		if t.receiving(now) {
			next = earlier(next, t.nextTWCC)
		}
	}
	return next
}

// receiving reports whether packets with transport-wide numbers came of late,
// so that feedback is worth waking up for.
func (t *transport) receiving(now time.Time) bool {
	return now.Sub(t.lastTWCC) < idlePoll
}

// writeRTCP sends control packets, as many in a datagram as fit. A failure is
// counted only: what they ask for is asked again.
func (t *transport) writeRTCP(packets []rtcp.Packet) {
	for len(packets) > 0 {
		n, size := 1, packets[0].MarshalSize()
		for n < len(packets) && size+packets[n].MarshalSize() <= maxControlSize {
			size += packets[n].MarshalSize()
			n++
		}
		if err := t.cfg.WriteRTCP(packets[:n]); err != nil {
			t.cfg.Drops.add(dropRTCPFailed)
			t.cfg.Log.Debug("write rtcp", "error", err)
		}
		packets = packets[n:]
	}
}

// earlier returns the earlier of two times; a zero b means never.
func earlier(a, b time.Time) time.Time {
	if !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
