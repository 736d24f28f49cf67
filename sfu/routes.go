package sfu

import (
	"maps"
	"strings"

	"github.com/pion/rtp"

	"consilium/internal/media"
)

// rtxName is the codec name of retransmissions (RFC 4588, 8.1).
const rtxName = "rtx"

// upCodec is what one payload type of a sending m-line carries.
type upCodec struct {
	Name      string // lower case, as in the rtpmap; "rtx" for retransmissions
	ClockRate uint32 // Hz
	Channels  uint16
	FMTP      string
	APT       uint8 // for rtx: the payload type that is retransmitted
}

// upLine is what was negotiated for an m-line on which the client sends.
// Numbers of header extensions that were not negotiated are 0.
type upLine struct {
	MID           string
	Kind          media.Kind
	SSRC, RTXSSRC uint32            // 0 where the offer declares none
	Codecs        map[uint8]upCodec // by payload type
	MIDExt        uint8             // RFC 9143, 15
	TWCCExt       uint8             // transport-wide sequence number
	AudioLevelExt uint8             // RFC 6464
	NACK          bool              // losses may be asked for
}

// routes say where each packet belongs. They are replaced as a whole, so that
// the worker reads them without a lock.
type routes struct {
	lines  map[string]*upLine  // by mid
	tracks map[string]*upTrack // by mid
}

func (r *routes) clone() *routes {
	return &routes{lines: maps.Clone(r.lines), tracks: maps.Clone(r.tracks)}
}

// stream is what the worker knows about an SSRC.
type stream struct {
	line   *upLine
	repair bool // carries retransmissions
}

// router assigns SSRCs to m-lines. It belongs to the worker.
type router struct {
	routes  *routes
	streams map[uint32]stream
	learned map[uint32]learnedSSRC // what packets said, for SSRCs that no SDP declares
}

// learnedSSRC outlives a negotiation: a client says its mid only at first.
type learnedSSRC struct {
	mid    string
	repair bool
}

func newRouter() router {
	return router{routes: &routes{}, streams: map[uint32]stream{}, learned: map[uint32]learnedSSRC{}}
}

// update takes new routes.
func (r *router) update(next *routes) {
	if next == r.routes {
		return
	}
	r.routes = next
	clear(r.streams)
	for _, l := range next.lines {
		if l.SSRC != 0 {
			r.streams[l.SSRC] = stream{line: l}
		}
		if l.RTXSSRC != 0 {
			r.streams[l.RTXSSRC] = stream{line: l, repair: true}
		}
	}
	for ssrc, what := range r.learned {
		if l := next.lines[what.mid]; l != nil {
			r.streams[ssrc] = stream{line: l, repair: what.repair}
		}
	}
}

// find returns the stream of a packet: by its SSRC, else by the mid in its
// header extension, else by a payload type that only one m-line has. The
// second value is dropReasons when it was found.
func (r *router) find(h *rtp.Header) (stream, dropReason) {
	if s, ok := r.streams[h.SSRC]; ok {
		return s, dropReasons
	}
	line := r.lineOf(h)
	if line == nil {
		return stream{}, dropUnknownSSRC
	}
	if len(r.learned) >= maxStreams {
		return stream{}, dropStreams
	}
	codec, ok := line.Codecs[h.PayloadType]
	if !ok {
		return stream{}, dropPayloadType
	}
	what := learnedSSRC{mid: line.MID, repair: codec.Name == rtxName}
	r.learned[h.SSRC] = what
	s := stream{line: line, repair: what.repair}
	r.streams[h.SSRC] = s
	return s, dropReasons
}

// lineOf finds the m-line of an SSRC that nothing is known about.
func (r *router) lineOf(h *rtp.Header) *upLine {
	for _, l := range r.routes.lines {
		if l.MIDExt == 0 {
			continue
		}
		if mid := h.GetExtension(l.MIDExt); mid != nil {
			return r.routes.lines[strings.TrimRight(string(mid), "\x00")]
		}
	}
	var only *upLine
	for _, l := range r.routes.lines {
		if _, ok := l.Codecs[h.PayloadType]; ok {
			if only != nil {
				return nil
			}
			only = l
		}
	}
	return only
}

// codec returns the media codec of the m-line: of several the one with the
// lowest payload type. It is the zero value where there is none.
func (l upLine) codec() upCodec {
	for pt := range uint8(128) {
		if c, ok := l.Codecs[pt]; ok && c.Name != rtxName && c.Name != "" {
			return c
		}
	}
	return upCodec{}
}
