package sfu

import (
	"fmt"
	"strings"

	"github.com/pion/rtp"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"

	"consilium/internal/media"
)

// binding is what was negotiated for a subscriber's slot. It does not change.
type binding struct {
	writer    webrtc.TrackLocalWriter
	ssrc, rtx uint32 // rtx is 0 without retransmission streams
	codecs    []outCodec
	number    []byte // value of the transport-wide number in both headers; nil: not negotiated
}

// outCodec is a codec the subscriber can take.
type outCodec struct {
	name        string
	fmtp        string
	payloadType uint8
	rtxType     uint8 // 0: repeated on the media SSRC
}

// Bind is called by Pion when the m-line has been negotiated. The slot keeps
// every negotiated codec and uses the one of the track it carries.
func (d *downTrack) Bind(ctx webrtc.TrackLocalContext) (webrtc.RTPCodecParameters, error) {
	params := ctx.CodecParameters()
	b := &binding{writer: ctx.WriteStream(), ssrc: uint32(ctx.SSRC()), rtx: uint32(ctx.SSRCRetransmission())}
	first := -1
	for i, p := range params {
		if codecName(p.MimeType) == rtxName {
			continue
		}
		if first < 0 {
			first = i
		}
		b.codecs = append(b.codecs, outCodec{
			name: codecName(p.MimeType), fmtp: p.SDPFmtpLine,
			payloadType: uint8(p.PayloadType), rtxType: rtxTypeOf(params, p.PayloadType),
		})
	}
	if first < 0 {
		return webrtc.RTPCodecParameters{}, fmt.Errorf("bind slot %s: %w", d.cfg.ID, webrtc.ErrUnsupportedCodec)
	}
	d.mu.Lock()
	d.bound = b
	d.makeHeaders(b, ctx.HeaderExtensions())
	d.restartLocked()
	d.codec = b.codecOf(d.up)
	d.mu.Unlock()
	d.cfg.Transport.bind(b.ssrc, d)
	return params[first], nil
}

// Unbind is called by Pion when the m-line is closed.
func (d *downTrack) Unbind(webrtc.TrackLocalContext) error {
	d.mu.Lock()
	b := d.bound
	d.bound, d.codec = nil, nil
	d.mu.Unlock()
	if b != nil {
		d.cfg.Transport.unbind(b.ssrc)
	}
	return nil
}

// rtxTypeOf finds the payload type of the retransmissions of another.
func rtxTypeOf(params []webrtc.RTPCodecParameters, of webrtc.PayloadType) uint8 {
	for _, p := range params {
		if codecName(p.MimeType) == rtxName && p.SDPFmtpLine == fmt.Sprintf("apt=%d", of) {
			return uint8(p.PayloadType)
		}
	}
	return 0
}

// makeHeaders prepares the headers of media and retransmissions. Their
// extensions are laid out once: the mid never changes, and the transport-wide
// number is written over the same two bytes at each send.
func (d *downTrack) makeHeaders(b *binding, extensions []webrtc.RTPHeaderExtensionParameter) {
	var h rtp.Header
	h.Version = 2
	for _, e := range extensions {
		switch e.URI {
		case sdp.SDESMidURI:
			// An id or length that does not fit is left out: browsers then go
			// by the SSRC.
			_ = h.SetExtension(uint8(e.ID), []byte(d.cfg.MID))
		case sdp.TransportCCURI:
			number := make([]byte, 2)
			if h.SetExtension(uint8(e.ID), number) == nil {
				b.number = number
			}
		}
	}
	d.header, d.repair = h, h
	d.header.SSRC, d.repair.SSRC = b.ssrc, b.rtx
}

// codecOf picks the codec of a track: of those with its name the one with its
// parameters, else the first. It is nil when there is none.
func (b *binding) codecOf(up *upTrack) *outCodec {
	if b == nil || up == nil {
		return nil
	}
	var found *outCodec
	for i := range b.codecs {
		c := &b.codecs[i]
		if c.name != up.about.Codec {
			continue
		}
		if found == nil || up.about.Codec == media.H264 && strings.EqualFold(c.fmtp, up.about.FMTP) {
			found = c
		}
	}
	return found
}
