package sfu

import (
	"encoding/binary"
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
	for rest := in.pooled.buf; len(rest) > 0; {
		var p controlPacket
		if p, rest, ok = cutControl(rest); !ok || !t.takeControl(p, in) {
			t.cfg.Drops.add(dropMalformed) // with what comes behind it
			return
		}
	}
}

// takeControl takes one packet of a compound one; false when it is malformed.
func (t *transport) takeControl(p controlPacket, in *inbound) bool {
	switch p.kind {
	case rtcp.TypeSenderReport:
		return t.senderReport(p, in)
	case rtcp.TypeReceiverReport:
		return t.receptionReports(p, receiverInfoSize, in)
	case rtcp.TypeSourceDescription:
		if u := t.upTrackOf(in.ssrc); u != nil {
			u.rtcpSeen(in.at)
		}
	case rtcp.TypeTransportSpecificFeedback:
		switch p.count {
		case rtcp.FormatTCC:
			return t.transportFeedback(p, in)
		case rtcp.FormatTLN:
			return t.nack(p, in)
		}
	case rtcp.TypePayloadSpecificFeedback:
		switch p.count {
		case rtcp.FormatPLI, rtcp.FormatFIR:
			return t.keyframeRequest(p, in)
		}
	}
	return true
}

func (t *transport) senderReport(p controlPacket, in *inbound) bool {
	if len(p.body) < senderInfoSize {
		return false
	}
	if ssrc := binary.BigEndian.Uint32(p.body); ssrc == in.ssrc {
		if u := t.upTrackOf(ssrc); u != nil {
			sr := media.SenderReport{
				SSRC: ssrc, Arrival: in.at, NTP: binary.BigEndian.Uint64(p.body[4:]), RTP: binary.BigEndian.Uint32(p.body[12:]),
			}
			t.clock.observe(sr)
			u.senderReport(sr)
		}
	}
	return t.receptionReports(p, senderInfoSize, in)
}

// receptionReports takes the report blocks behind so many bytes of a report.
func (t *transport) receptionReports(p controlPacket, behind int, in *inbound) bool {
	blocks, ok := p.blocks(behind)
	if !ok {
		return false
	}
	for ; len(blocks) > 0; blocks = blocks[reportBlockSize:] {
		var b rtcp.ReceptionReport
		if err := b.Unmarshal(blocks[:reportBlockSize]); err != nil {
			return false
		}
		if b.SSRC != in.ssrc {
			continue
		}
		if d := t.down(b.SSRC); d != nil {
			d.reported(b, in.at)
		}
	}
	return true
}

// transportFeedback takes what the client says about everything he was sent.
func (t *transport) transportFeedback(p controlPacket, in *inbound) bool {
	fb, ok := parseFeedback(p.body)
	if !ok {
		return false
	}
	t.out.feedback(fb, in.at)
	for _, d := range t.allDowns() {
		d.settle(in.at)
	}
	return true
}

func (t *transport) nack(p controlPacket, in *inbound) bool {
	ssrc, says, ok := p.media()
	if !ok {
		return false
	}
	if d := t.down(in.ssrc); d != nil && ssrc == in.ssrc {
		t.nacks = appendNACKs(t.nacks[:0], says)
		d.resend(t.nacks, in.at)
	}
	return true
}

// keyframeRequest takes a PLI (RFC 4585, 6.3.1), which is about one stream, or
// a FIR (RFC 5104, 4.3.1), which names as many as it likes.
func (t *transport) keyframeRequest(p controlPacket, in *inbound) bool {
	ssrc, says, ok := p.media()
	if !ok {
		return false
	}
	d := t.down(in.ssrc)
	if d == nil {
		return true
	}
	if p.count == rtcp.FormatPLI {
		if ssrc == in.ssrc {
			d.requestKeyframe(in.at)
		}
		return true
	}
	for ; len(says) >= firEntrySize; says = says[firEntrySize:] {
		if binary.BigEndian.Uint32(says) == in.ssrc {
			d.requestKeyframe(in.at)
		}
	}
	return true
}

// upTrackOf finds the track that an SSRC carries.
func (t *transport) upTrackOf(ssrc uint32) *upTrack {
	s, ok := t.router.streams[ssrc]
	if !ok || s.repair {
		return nil
	}
	return t.router.routes.tracks[s.line.MID]
}

// poll does what is due and returns when it wants to be called again. Reports
// that are due soon go along: what counts is the number of datagrams, each
// sealed and sent by a call of its own.
func (t *transport) poll(now time.Time) time.Time {
	next := now.Add(idlePoll)
	out := t.outbox[:0]
	report := !now.Add(reportSlack).Before(t.nextReport)
	if report {
		t.nextReport = now.Add(receiverReportInterval)
	}
	var blocks []rtcp.ReceptionReport
	for _, u := range t.router.routes.tracks {
		var at time.Time
		out, at = u.poll(now, t.sender, out)
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
	if t.feedback.pending() && !now.Before(t.nextTWCC) {
		out = t.feedback.build(out)
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
	clear(out)
	t.outbox = out
	if len(t.router.routes.tracks) > 0 {
		next = earlier(next, t.nextReport)
	}
	if t.feedback.pending() {
		next = earlier(next, t.nextTWCC)
	}
	return next
}

// recordTWCC notes a packet with a transport-wide number. The first one after
// feedback was sent sets the time of the next feedback, so that the worker
// does not wake up for feedback while nothing comes.
func (t *transport) recordTWCC(ssrc uint32, number []byte, at time.Time) {
	t.feedback.record(ssrc, number, at)
	if t.feedback.pending() && t.nextTWCC.Before(t.nextPoll) {
		t.nextPoll = t.nextTWCC
	}
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
