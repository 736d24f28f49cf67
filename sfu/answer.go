package sfu

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pion/webrtc/v4"

	"consilium/internal/media"
)

// gatherTimeout bounds the gathering of local candidates. There are only host
// candidates of sockets that are open already, so it takes no time.
const gatherTimeout = 3 * time.Second

// answer applies an offer to the PeerConnection and makes the answer; video
// are the codecs that the server takes, in order of preference. After an error
// the PeerConnection may need settle.
func (p *peer) answer(video []string, o parsedOffer, pl plan) (string, map[string]upLine, error) {
	offer := webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: o.sdp}
	if err := p.pc.SetRemoteDescription(offer); err != nil {
		return "", nil, fmt.Errorf("%w: %w", ErrBadOffer, err)
	}
	if err := p.addSlots(o, pl); err != nil {
		return "", nil, err
	}
	if err := p.chooseCodecs(video, o); err != nil {
		return "", nil, err
	}
	gathered := webrtc.GatheringCompletePromise(p.pc)
	if err := p.settle(); err != nil {
		return "", nil, fmt.Errorf("%w: %w", ErrBadOffer, err)
	}
	timeout := time.NewTimer(gatherTimeout)
	defer timeout.Stop()
	select {
	case <-gathered:
	case <-timeout.C:
		return "", nil, fmt.Errorf("local candidates were not gathered within %v", gatherTimeout)
	}
	text := p.pc.LocalDescription().SDP
	up, err := upLines(text, o.lines)
	if err != nil {
		return "", nil, err
	}
	for _, t := range pl.tracks {
		if _, ok := up[t.MID]; !ok {
			return "", nil, fmt.Errorf("%w: mid %q offers no codec that this server takes", ErrBadOffer, t.MID)
		}
	}
	return text, up, nil
}

// settle brings the PeerConnection back to the stable state by answering the
// offer it has, if it has one. Pion has no other way back.
func (p *peer) settle() error {
	if p.pc.SignalingState() == webrtc.SignalingStateStable {
		return nil
	}
	a, err := p.pc.CreateAnswer(nil)
	if err != nil {
		return fmt.Errorf("create answer: %w", err)
	}
	if err := p.pc.SetLocalDescription(a); err != nil {
		return fmt.Errorf("set answer: %w", err)
	}
	return nil
}

// addSlots gives every new receiving m-line a local track for life. AddTrack
// takes the first transceiver of the kind that may send and has no track, so
// the order of the offer is kept. An m-line may have its track already, of an
// offer that was refused later on.
func (p *peer) addSlots(o parsedOffer, pl plan) error {
	fresh := map[string]string{} // mid to seat id
	for _, s := range pl.seats {
		id := fmt.Sprintf("seat-%d", p.made)
		if s.Audio == "" {
			id = fmt.Sprintf("screen-%d", p.made)
		}
		p.made++
		for _, mid := range []string{s.Audio, s.Video} {
			if mid != "" && p.slots[mid] == nil {
				fresh[mid] = id
			}
		}
	}
	for _, l := range o.lines {
		id, ok := fresh[l.mid]
		if !ok {
			continue
		}
		dt := newDownTrack(downConfig{
			ID: fmt.Sprintf("%s-%s", id, l.kind), StreamID: id, Kind: l.kind, MID: l.mid, Transport: p.transport,
		})
		sender, err := p.pc.AddTrack(dt)
		if err != nil {
			return fmt.Errorf("%w: mid %q: %w", ErrBadOffer, l.mid, err)
		}
		if mid := p.midOf(sender); mid != l.mid {
			return fmt.Errorf("%w: mid %q: its track went to mid %q", ErrBadOffer, l.mid, mid)
		}
		p.slots[l.mid] = &seatLine{mid: l.mid, kind: l.kind, down: dt}
	}
	return nil
}

func (p *peer) midOf(sender *webrtc.RTPSender) string {
	for _, t := range p.pc.GetTransceivers() {
		if t.Sender() == sender {
			return t.Mid()
		}
	}
	return ""
}

// chooseCodecs leaves one codec, with its retransmissions, on every m-line on
// which the client sends: the first of our preference that it offers. The
// codec of a track is thus known before its first packet.
func (p *peer) chooseCodecs(video []string, o parsedOffer) error {
	for _, t := range p.pc.GetTransceivers() {
		i := slices.IndexFunc(o.lines, func(l offerLine) bool { return l.mid == t.Mid() })
		if i < 0 || !o.lines[i].sends || o.lines[i].kind != media.Video || t.Receiver() == nil {
			continue
		}
		all := t.Receiver().GetParameters().Codecs
		for _, name := range video {
			chosen := onlyCodec(all, videoCodecs[name].MimeType)
			if len(chosen) == 0 || !slices.Contains(o.lines[i].codecs, name) {
				continue
			}
			if err := t.SetCodecPreferences(chosen); err != nil {
				return fmt.Errorf("%w: mid %q: %w", ErrBadOffer, t.Mid(), err)
			}
			break
		}
	}
	return nil
}

// onlyCodec returns the first codec of a MIME type and its RTX.
func onlyCodec(all []webrtc.RTPCodecParameters, mime string) []webrtc.RTPCodecParameters {
	i := slices.IndexFunc(all, func(c webrtc.RTPCodecParameters) bool { return strings.EqualFold(c.MimeType, mime) })
	if i < 0 {
		return nil
	}
	chosen := []webrtc.RTPCodecParameters{all[i]}
	for _, c := range all {
		if strings.EqualFold(c.MimeType, webrtc.MimeTypeRTX) && c.SDPFmtpLine == fmt.Sprintf("apt=%d", all[i].PayloadType) {
			chosen = append(chosen, c)
		}
	}
	return chosen
}
