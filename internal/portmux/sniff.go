package portmux

import "encoding/binary"

// Kind is what the first bytes of a connection say it carries.
type Kind uint8

// Kinds.
const (
	// NeedMore: too few bytes to decide.
	NeedMore Kind = iota
	// Unknown: nothing we serve; the connection is closed.
	Unknown
	HTTP
	TLS
	TURN
	ICE
)

// String returns the kind as a metric label.
func (k Kind) String() string {
	switch k {
	case HTTP:
		return "http"
	case TLS:
		return "tls"
	case TURN:
		return "turn"
	case ICE:
		return "ice"
	case NeedMore:
		return "silent"
	default:
		return "unknown"
	}
}

// sniffLen is how many bytes decide every case.
const sniffLen = 10

const (
	magicCookie    = 0x2112A442 // RFC 8489 section 5
	stunHeader     = 20         // bytes
	maxFirstFrame  = 512        // largest first frame of ICE-TCP that Pion's mux reads
	tlsHandshake   = 0x16       // content type of a ClientHello, RFC 8446 section 5.1
	bindingRequest = 0x0001     // STUN message type, RFC 8489 section 18.2
)

// Sniff tells from the first bytes of a stream what it carries. It decides as
// early as the bytes allow, and never more than sniffLen of them are needed.
//
//   - HTTP starts with a method, 'A' to 'Z'. A STUN message starts with two
//     zero bits and a small method, an RFC 4571 frame of acceptable length with
//     0, 1 or 2, so neither can be taken for it.
//   - TLS starts with 0x16.
//   - TURN over TCP starts with a bare STUN message: the magic cookie is at
//     offset 4. ChannelData can't be first, for a channel is bound by a request.
//   - ICE-TCP starts with a two-byte length and a STUN Binding request: the
//     magic cookie is at offset 6.
func Sniff(b []byte) Kind {
	if len(b) == 0 {
		return NeedMore
	}
	switch first := b[0]; {
	case first >= 'A' && first <= 'Z':
		return HTTP
	case first == tlsHandshake:
		return TLS
	case first > maxFirstFrame>>8: // neither a TURN request nor an ICE-TCP length
		return Unknown
	}
	if len(b) < 8 {
		return NeedMore
	}
	if binary.BigEndian.Uint32(b[4:]) == magicCookie {
		if binary.BigEndian.Uint16(b[2:])%4 != 0 { // STUN attributes are padded
			return Unknown
		}
		return TURN
	}
	if len(b) < sniffLen {
		return NeedMore
	}
	length := binary.BigEndian.Uint16(b)
	if binary.BigEndian.Uint32(b[6:]) == magicCookie &&
		binary.BigEndian.Uint16(b[2:]) == bindingRequest &&
		length >= stunHeader && length <= maxFirstFrame {
		return ICE
	}
	return Unknown
}
