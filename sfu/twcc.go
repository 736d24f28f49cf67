package sfu

import (
	"encoding/binary"
	"time"

	"github.com/pion/interceptor/pkg/twcc"
	"github.com/pion/rtcp"
)

// feedbackBuilder tells a publisher when his packets came, by transport-wide
// sequence number (draft-holmer-rmcat-transport-wide-cc-extensions-01), so
// that his bandwidth estimation works. Not safe for concurrent use.
type feedbackBuilder struct {
	recorder *twcc.Recorder
	epoch    time.Time
}

func newFeedbackBuilder(senderSSRC uint32, epoch time.Time) *feedbackBuilder {
	return &feedbackBuilder{recorder: twcc.NewRecorder(senderSSRC), epoch: epoch}
}

// record notes a packet; extension is the value of its header extension.
func (f *feedbackBuilder) record(ssrc uint32, extension []byte, arrival time.Time) {
	if len(extension) < 2 {
		return
	}
	f.recorder.Record(ssrc, binary.BigEndian.Uint16(extension), arrival.Sub(f.epoch).Microseconds())
}

// pending reports whether there is anything to tell.
func (f *feedbackBuilder) pending() bool { return f.recorder.PacketsHeld() > 0 }

// build returns what is to be told.
func (f *feedbackBuilder) build() []rtcp.Packet {
	if !f.pending() {
		return nil
	}
	return f.recorder.BuildFeedbackPacket()
}

// forEachStatus calls do for every packet a feedback message speaks of, in
// order, until do returns false. A message of the network may claim more than
// it holds: what is not described was not received.
func forEachStatus(fb *rtcp.TransportLayerCC, do func(sequence uint16, received bool) bool) {
	sequence, left := fb.BaseSequenceNumber, fb.PacketStatusCount
	each := func(symbol uint16) bool {
		if left == 0 || !do(sequence, symbol != rtcp.TypeTCCPacketNotReceived) {
			return false
		}
		sequence++
		left--
		return true
	}
	for _, chunk := range fb.PacketChunks {
		switch c := chunk.(type) {
		case *rtcp.RunLengthChunk:
			for range c.RunLength {
				if !each(c.PacketStatusSymbol) {
					return
				}
			}
		case *rtcp.StatusVectorChunk:
			for _, symbol := range c.SymbolList {
				if !each(symbol) {
					return
				}
			}
		}
	}
}
