package sfu

import (
	"encoding/binary"
	"math"
	"slices"
	"time"

	"github.com/pion/rtcp"

	"consilium/internal/seq"
)

// feedbackBuilder tells a publisher when his packets came, by transport-wide
// sequence number (draft-holmer-rmcat-transport-wide-cc-extensions-01), so
// that his bandwidth estimation works. Not safe for concurrent use.
type feedbackBuilder struct {
	sender uint32 // SSRC of ours
	media  uint32 // SSRC of the packet recorded last
	epoch  time.Time
	count  uint8 // messages so far

	numbers  seq.Unwrapper16
	arrivals []int64 // by number: µs since epoch and 1, 0 when it has not come
	next     int64   // the first number to tell of
	end      int64   // behind the highest that came
	held     int     // packets to tell of

	// What build reuses.
	symbols  []uint16
	deltas   []byte
	wire     []byte
	messages []rtcp.RawPacket
}

func newFeedbackBuilder(senderSSRC uint32, epoch time.Time) *feedbackBuilder {
	return &feedbackBuilder{sender: senderSSRC, epoch: epoch}
}

// record notes a packet; extension is the value of its header extension.
func (f *feedbackBuilder) record(ssrc uint32, extension []byte, arrival time.Time) {
	if len(extension) < 2 {
		return
	}
	n := f.numbers.Unwrap(binary.BigEndian.Uint16(extension))
	if f.arrivals == nil {
		f.arrivals = make([]int64, feedbackWindow)
		f.next, f.end = n, n
	}
	if n < f.end-feedbackWindow {
		return // too late to matter
	}
	f.advance(n + 1)
	at := f.at(n)
	if *at != 0 {
		return // a duplicate
	}
	*at = max(arrival.Sub(f.epoch).Microseconds(), 0) + 1
	f.media = ssrc
	f.held++
	// A late packet was told of as lost: what follows it is told of again,
	// since a message has no holes.
	f.next = min(f.next, n)
}

// advance makes room for the numbers below end.
func (f *feedbackBuilder) advance(end int64) {
	if end-f.end >= feedbackWindow {
		clear(f.arrivals)
		f.end = end
	}
	for ; f.end < end; f.end++ {
		*f.at(f.end) = 0
	}
	f.next = max(f.next, f.end-feedbackWindow)
}

func (f *feedbackBuilder) at(n int64) *int64 { return &f.arrivals[n%feedbackWindow] }

// pending reports whether there is anything to tell.
func (f *feedbackBuilder) pending() bool { return f.held > 0 }

// build appends to dst what is to be told. It is valid until build is called
// again.
func (f *feedbackBuilder) build(dst []rtcp.Packet) []rtcp.Packet {
	if f.held == 0 {
		return dst
	}
	f.wire, f.messages = f.wire[:0], f.messages[:0]
	for f.next < f.end {
		begin := len(f.wire)
		f.appendMessage()
		f.messages = append(f.messages, rtcp.RawPacket(f.wire[begin:]))
	}
	for i := range f.messages {
		dst = append(dst, &f.messages[i])
	}
	f.held = 0
	return dst
}

// appendMessage appends one message to wire and moves next behind what it
// tells of. The packet before end has come, so there is one to tell of.
func (f *feedbackBuilder) appendMessage() {
	first := f.next
	for *f.at(first) == 0 {
		first++
	}
	f.next = max(f.next, first-feedbackMost/2) // of a large hole the end only
	base, reference := f.next, (*f.at(first)-1)/referenceUnit
	f.collect(reference * referenceUnit)

	begin := len(f.wire)
	b := append(f.wire, 2<<6|rtcp.FormatTCC, byte(rtcp.TypeTransportSpecificFeedback), 0, 0)
	b = binary.BigEndian.AppendUint32(b, f.sender)
	b = binary.BigEndian.AppendUint32(b, f.media)
	b = binary.BigEndian.AppendUint16(b, uint16(base))
	b = binary.BigEndian.AppendUint16(b, uint16(len(f.symbols)))
	b = binary.BigEndian.AppendUint32(b, uint32(reference)<<8|uint32(f.count))
	b = appendChunks(b, f.symbols)
	b = append(b, f.deltas...)
	if padding := byte(-(len(b) - begin) & 3); padding > 0 {
		b[begin] |= 1 << 5
		b = append(b, 0, 0, 0)[:len(b)+int(padding)]
		b[len(b)-1] = padding
	}
	binary.BigEndian.PutUint16(b[begin+2:], uint16((len(b)-begin)/4-1))
	f.wire = b
	f.count++
}

// Units of time in a message, in µs (3.1 and 3.1.5).
const (
	referenceUnit = 64_000
	deltaUnit     = 250
)

// collect fills symbols and deltas, from next on and from an instant in µs,
// until the message is full or a delta does not fit, and moves next.
func (f *feedbackBuilder) collect(last int64) {
	f.symbols, f.deltas = f.symbols[:0], f.deltas[:0]
	for ; f.next < f.end && len(f.symbols) < feedbackMost; f.next++ {
		at := *f.at(f.next)
		if at == 0 {
			f.symbols = append(f.symbols, rtcp.TypeTCCPacketNotReceived)
			continue
		}
		delta := (at - 1 - last) / deltaUnit
		switch {
		case delta < math.MinInt16 || delta > math.MaxInt16:
			return
		case delta < 0 || delta > math.MaxUint8:
			f.symbols = append(f.symbols, rtcp.TypeTCCPacketReceivedLargeDelta)
			f.deltas = binary.BigEndian.AppendUint16(f.deltas, uint16(delta))
		default:
			f.symbols = append(f.symbols, rtcp.TypeTCCPacketReceivedSmallDelta)
			f.deltas = append(f.deltas, byte(delta))
		}
		last += delta * deltaUnit // what is rounded off counts for the next one
	}
}

// appendChunks appends the status chunks of symbols: runs where they are at
// least as short as vectors.
func appendChunks(b []byte, symbols []uint16) []byte {
	for len(symbols) > 0 {
		run := 1
		for run < len(symbols) && symbols[run] == symbols[0] {
			run++
		}
		many := min(14, len(symbols))
		large := slices.Contains(symbols[:many], rtcp.TypeTCCPacketReceivedLargeDelta)
		var c statusChunk
		switch {
		case run >= many || run >= 7 && large:
			c, many = statusChunk(symbols[0])<<13|statusChunk(run), run
		case large:
			c, many = chunkIsVector|chunkHasTwoBits, min(7, len(symbols))
			for i, s := range symbols[:many] {
				c |= statusChunk(s) << (12 - 2*i)
			}
		default:
			c = chunkIsVector
			for i, s := range symbols[:many] {
				c |= statusChunk(s) << (13 - i)
			}
		}
		b = binary.BigEndian.AppendUint16(b, uint16(c))
		symbols = symbols[many:]
	}
	return b
}
