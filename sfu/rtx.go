package sfu

import "encoding/binary"

// unwrapRTX takes a retransmission apart (RFC 4588, 4): the first two bytes
// are the original sequence number, the rest is the original payload. It
// returns false for a packet without a payload: such packets carry nothing but
// padding and only probe the path.
func unwrapRTX(payload []byte) (sequence uint16, original []byte, ok bool) {
	if len(payload) <= 2 {
		return 0, nil, false
	}
	return binary.BigEndian.Uint16(payload), payload[2:], true
}

// appendRTX appends the payload of a retransmission to dst.
func appendRTX(dst []byte, sequence uint16, original []byte) []byte {
	return append(binary.BigEndian.AppendUint16(dst, sequence), original...)
}

// trimPadding returns the payload without RTP padding (RFC 3550, 5.1), and
// false when the padding length is impossible.
func trimPadding(payload []byte, padded bool) ([]byte, bool) {
	if !padded {
		return payload, true
	}
	if len(payload) == 0 {
		return nil, false
	}
	n := int(payload[len(payload)-1])
	if n == 0 || n > len(payload) {
		return nil, false
	}
	return payload[:len(payload)-n], true
}
