package sfu

import (
	"encoding/binary"

	"github.com/pion/rtcp"
)

// controlPacket is one packet of a compound RTCP packet (RFC 3550, 6.1). It is
// read where it lies: pion/rtcp would make an object for each block and each
// packet acknowledged.
type controlPacket struct {
	kind  rtcp.PacketType
	count uint8  // of report blocks, or the type of a feedback message
	body  []byte // behind the header, without padding
}

// Lengths in bytes, RFC 3550, 6.4 and RFC 4585, 6.
const (
	controlHeaderSize  = 4
	senderInfoSize     = 24 // of a sender report's body: SSRC, NTP and RTP time, counters
	receiverInfoSize   = 4  // of a receiver report's body: SSRC
	reportBlockSize    = 24
	feedbackHeaderSize = 8 // of a feedback message's body: SSRC of sender and of media
	nackPairSize       = 4
	firEntrySize       = 8 // RFC 5104, 4.3.1
)

// cutControl splits the first packet off a compound one; false when there is
// no whole packet.
func cutControl(b []byte) (p controlPacket, rest []byte, ok bool) {
	var h rtcp.Header
	if err := h.Unmarshal(b); err != nil {
		return controlPacket{}, nil, false
	}
	size := (int(h.Length) + 1) * 4
	if size > len(b) {
		return controlPacket{}, nil, false
	}
	body, ok := trimPadding(b[controlHeaderSize:size], h.Padding)
	return controlPacket{kind: h.Type, count: h.Count, body: body}, b[size:], ok
}

// blocks returns the report blocks of a report, behind so many bytes; false
// when it is cut short.
func (p controlPacket) blocks(behind int) ([]byte, bool) {
	end := behind + int(p.count)*reportBlockSize
	if len(p.body) < end {
		return nil, false
	}
	return p.body[behind:end], true
}

// media splits a feedback message into the SSRC of the media it is about and
// what it says; false when it is cut short.
func (p controlPacket) media() (ssrc uint32, says []byte, ok bool) {
	if len(p.body) < feedbackHeaderSize {
		return 0, nil, false
	}
	return binary.BigEndian.Uint32(p.body[4:]), p.body[feedbackHeaderSize:], true
}

// appendNACKs appends the packets a generic NACK asks for (RFC 4585, 6.2.1).
func appendNACKs(dst []rtcp.NackPair, says []byte) []rtcp.NackPair {
	for ; len(says) >= nackPairSize; says = says[nackPairSize:] {
		dst = append(dst, rtcp.NackPair{
			PacketID:    binary.BigEndian.Uint16(says),
			LostPackets: rtcp.PacketBitmap(binary.BigEndian.Uint16(says[2:])),
		})
	}
	return dst
}
