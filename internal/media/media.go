// Package media holds what the forwarder and its sinks share: the packet, the
// description of a track and the four-method interface of a sink. It knows
// neither Pion's PeerConnection nor files.
//
// The package is a leaf: it imports nothing of ours.
package media

import (
	"sync/atomic"
	"time"

	"github.com/pion/rtp"
)

// Kind of a track.
type Kind string

// Kinds.
const (
	Audio Kind = "audio"
	Video Kind = "video"
)

// Source says what a track shows. A session publishes at most one of each.
type Source string

// Sources.
const (
	Microphone Source = "mic"
	Camera     Source = "cam"
	Screen     Source = "screen"
)

// Kind of the tracks that come from a source.
func (s Source) Kind() Kind {
	if s == Microphone {
		return Audio
	}
	return Video
}

// Valid reports whether s is one of the known sources.
func (s Source) Valid() bool {
	return s == Microphone || s == Camera || s == Screen
}

// Codec names, lower case, as in the configuration.
const (
	Opus = "opus"
	VP8  = "vp8"
	VP9  = "vp9"
	AV1  = "av1"
	H264 = "h264"
)

// Call describes a call to those who keep something for it.
type Call struct {
	ID         string // opaque; also the recording's id
	Room       string
	ExternalID string
	Metadata   map[string]string
	Started    time.Time // wall clock with monotonic reading: session time 0
}

// Track describes one published track. It is a value and does not change; a
// new resolution is not a new track, a new codec is.
type Track struct {
	ID          string // opaque, unique in the server
	Call        string
	Participant string // identity
	Role        string
	Session     string
	Kind        Kind
	Source      Source
	Codec       string // one of the codec names
	ClockRate   uint32 // Hz
	Channels    uint16 // as in the SDP; 0 for video
	FMTP        string // the format parameters of the answer
}

// Packet is one received RTP packet, shared by everybody who takes it: the
// retransmission cache, every subscriber, the recorder. Its bytes must not be
// changed.
//
// A packet belongs to a pool. Whoever gets one as an argument may use it until
// the call returns; to keep it longer call Retain, and Release when done.
type Packet struct {
	Header  rtp.Header // parsed; Extensions alias the buffer
	Payload []byte     // codec payload, padding removed; empty when the packet was padding only
	// Arrival is when the server got the packet, on its monotonic clock.
	Arrival time.Time
	// Sequence is Header.SequenceNumber without the 16-bit wrap. The first
	// packet of a stream has a value >= 65536, so that earlier ones fit below.
	Sequence int64
	// Keyframe is true on every packet that begins a keyframe.
	Keyframe bool
	// Repaired is true when the packet came as a retransmission.
	Repaired bool
	// Level is how loud the publisher says that this packet is (RFC 6464), in
	// -dBov: 0 is the loudest, 127 silence. HasLevel says that he did.
	Level    uint8
	HasLevel bool

	refs atomic.Int32
	free func(*Packet)
}

// NewPacket returns a packet with one reference. free, which may be nil, is
// called when the last reference is released.
func NewPacket(free func(*Packet)) *Packet {
	p := &Packet{free: free}
	p.refs.Store(1)
	return p
}

// Retain adds a reference.
func (p *Packet) Retain() { p.refs.Add(1) }

// Release drops a reference; with the last one the packet returns to its pool
// and is given one reference for its next use.
func (p *Packet) Release() {
	if p.refs.Add(-1) == 0 {
		p.refs.Store(1)
		if p.free != nil {
			p.free(p)
		}
	}
}

// SenderReport is the timing part of an RTCP sender report (RFC 3550, 6.4.1).
type SenderReport struct {
	SSRC    uint32    // of the stream whose RTP clock it is about; 0: not said
	Arrival time.Time // server's monotonic clock
	NTP     uint64    // sender's wall clock, 32.32 seconds since 1900
	RTP     uint32    // the same instant in the track's RTP clock
}

// EndReason says why a track ended.
type EndReason string

// Reasons.
const (
	EndUnpublished EndReason = "unpublished" // the participant stopped it
	EndLeft        EndReason = "left"        // the participant left
	EndLost        EndReason = "lost"        // the session was lost
	EndReplaced    EndReason = "replaced"    // the same person came again
	EndRemoved     EndReason = "removed"     // somebody who may do so removed him
	EndCall        EndReason = "call_ended"
	EndShutdown    EndReason = "shutdown"
)

// Sink consumes a track: a subscriber's slot, the recorder, a level meter.
// The methods are called one at a time and in order, though not always from one
// goroutine, and none may block: what a sink can't take it drops and counts.
// A sink must not call attach, detach or stats of its track from within them.
// The SSRC of the packets may change; Sequence then jumps by at least 65536.
type Sink interface {
	// WritePacket takes a packet. Packets come de-duplicated, in order of
	// arrival: late ones come late. One with an empty Payload was padding only:
	// it says that its Sequence is not missing, and nothing else.
	WritePacket(*Packet)
	WriteSenderReport(SenderReport)
	// SetMuted tells that the publisher muted or paused the track (or the
	// opposite): silence is now expected.
	SetMuted(muted bool, at time.Time)
	// End is the last call.
	End(reason EndReason, at time.Time)
}
