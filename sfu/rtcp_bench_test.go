package sfu

import (
	"testing"
	"time"

	"github.com/pion/rtcp"

	"consilium/internal/media"
)

// listener is a subscriber that takes a track, and a function that gives the
// transport one compound RTCP packet of his, 80 ms after the last.
type listener struct {
	*stage
	down *downTrack
	wire *wire
}

func newListener(t testing.TB) *listener {
	s, w := newStage(t, media.Video), &wire{discard: true}
	l := &listener{s, s.subscriber(w, true), w}
	l.down.assign(s.track)
	s.frame(true, false)
	for range 100 {
		s.frame(false, false)
	}
	return l
}

// says returns a function that hands over a compound packet as Pion does.
func (l *listener) says(packets ...rtcp.Packet) func() {
	raw, err := rtcp.Marshal(packets)
	if err != nil {
		l.t.Fatal(err)
	}
	to := l.down.cfg.Transport
	var batch []inbound
	return func() {
		l.clock.at = l.clock.at.Add(80 * time.Millisecond)
		to.queue.put(raw, 7777, true)
		batch = to.queue.take(batch)
		for i := range batch {
			to.handle(&batch[i])
		}
	}
}

// feedbackMessage is transport-wide feedback as Chromium's: runs, vectors and
// a delta for each packet.
func feedbackMessage() *rtcp.TransportLayerCC {
	fb := &rtcp.TransportLayerCC{
		Header:    rtcp.Header{Count: rtcp.FormatTCC, Type: rtcp.TypeTransportSpecificFeedback},
		MediaSSRC: 7777, PacketStatusCount: 34,
		PacketChunks: []rtcp.PacketStatusChunk{
			&rtcp.RunLengthChunk{PacketStatusSymbol: rtcp.TypeTCCPacketReceivedSmallDelta, RunLength: 20},
			&rtcp.StatusVectorChunk{SymbolSize: rtcp.TypeTCCSymbolSizeOneBit, SymbolList: []uint16{1, 1, 0, 1, 1, 1, 1, 1, 1, 0, 0, 1, 1, 1}},
		},
	}
	for range 31 {
		fb.RecvDeltas = append(fb.RecvDeltas, &rtcp.RecvDelta{Type: rtcp.TypeTCCPacketReceivedSmallDelta, Delta: 1000})
	}
	size := 20 + 2*len(fb.PacketChunks) + len(fb.RecvDeltas)
	fb.Header.Padding, fb.Header.Length = size%4 != 0, uint16((size+3)/4-1)
	return fb
}

// controlMessages are what a subscriber sends.
func (l *listener) controlMessages() map[string][]rtcp.Packet {
	last := l.down.header.SequenceNumber
	return map[string][]rtcp.Packet{
		"feedback":        {feedbackMessage()},
		"receiver report": {&rtcp.ReceiverReport{Reports: []rtcp.ReceptionReport{{SSRC: 1}, {SSRC: 7777, LastSequenceNumber: uint32(last)}}}},
		"sender report":   {&rtcp.SenderReport{SSRC: 7777, Reports: []rtcp.ReceptionReport{{SSRC: 7777}}}},
		"nack":            {&rtcp.TransportLayerNack{MediaSSRC: 7777, Nacks: []rtcp.NackPair{{PacketID: last - 9, LostPackets: 0x21}}}},
		"pli":             {&rtcp.PictureLossIndication{MediaSSRC: 7777}},
		"fir":             {&rtcp.FullIntraRequest{FIR: []rtcp.FIREntry{{SSRC: 7777}}}},
	}
}

// BenchmarkControl is the cost of one RTCP packet of a subscriber.
func BenchmarkControl(b *testing.B) {
	for name := range newListener(b).controlMessages() {
		b.Run(name, func(b *testing.B) {
			l := newListener(b)
			one := l.says(l.controlMessages()[name]...)
			b.ReportAllocs()
			for b.Loop() {
				one()
			}
		})
	}
}

// BenchmarkPoll is what the worker of a client in a call of two does each
// feedback interval, encryption and the socket not included: feedback about
// 14 packets, or nothing at all.
func BenchmarkPoll(b *testing.B) {
	for name, packets := range map[string]int{"idle": 0, "feedback": 14} {
		b.Run(name, func(b *testing.B) {
			s := newStage(b, media.Video)
			s.line.TWCCExt = 3
			s.up.setLines([]upLine{*s.line})
			s.up.router.update(s.up.routes.Load())
			s.up.cfg.WriteRTCP = func(packets []rtcp.Packet) error {
				_, err := rtcp.Marshal(packets)
				return err
			}
			s.subscriber(&wire{discard: true}, true)
			number := uint16(0)
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				for range packets {
					s.clock.at = s.clock.at.Add(5 * time.Millisecond)
					s.up.feedback.record(s.ssrc, []byte{byte(number >> 8), byte(number)}, s.clock.at)
					number++
				}
				b.StartTimer()
				s.clock.at = s.clock.at.Add(10 * time.Millisecond)
				s.up.poll(s.clock.at)
			}
		})
	}
}
