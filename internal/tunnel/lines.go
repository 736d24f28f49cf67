package tunnel

import (
	"context"
	"errors"
	"fmt"

	"github.com/pion/webrtc/v4"
)

// Session is what a tunnel needs of a session of the SFU. Safe for concurrent
// use.
type Session interface {
	// Offer gives the SFU an offer in the page's place and returns the answer's
	// SDP.
	Offer(ctx context.Context, o Offer) (sdp string, err error)
	// Done is closed when the session is over.
	Done() <-chan struct{}
}

// Offer is an SDP offer with the meaning of its m-lines.
type Offer struct {
	SDP    string
	Tracks []SentTrack
	Seats  []Seat
}

// SentTrack says what a sending m-line carries.
type SentTrack struct {
	MID, Source string
	Muted       bool
}

// newMediaEngine registers what a page can encode and decode. There is no NACK:
// between the peer and the SFU nothing gets lost.
func newMediaEngine() (*webrtc.MediaEngine, error) {
	m := &webrtc.MediaEngine{}
	feedback := []webrtc.RTCPFeedback{{Type: "nack", Parameter: "pli"}, {Type: "ccm", Parameter: "fir"}}
	video := func(mime, fmtp string, pt webrtc.PayloadType) webrtc.RTPCodecParameters {
		return webrtc.RTPCodecParameters{PayloadType: pt, RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: mime, ClockRate: 90000, SDPFmtpLine: fmtp, RTCPFeedback: feedback}}
	}
	opus := webrtc.RTPCodecParameters{PayloadType: 111, RTPCodecCapability: webrtc.RTPCodecCapability{
		MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2, SDPFmtpLine: "minptime=10;useinbandfec=1"}}
	if err := m.RegisterCodec(opus, webrtc.RTPCodecTypeAudio); err != nil {
		return nil, fmt.Errorf("register opus: %w", err)
	}
	for _, c := range []webrtc.RTPCodecParameters{
		video(webrtc.MimeTypeVP8, "", 96),
		video(webrtc.MimeTypeVP9, "profile-id=0", 98),
		video(webrtc.MimeTypeH264, "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f", 102),
	} {
		if err := m.RegisterCodec(c, webrtc.RTPCodecTypeVideo); err != nil {
			return nil, fmt.Errorf("register %s: %w", c.MimeType, err)
		}
	}
	return m, nil
}

// want adds the m-lines that are wanted and not there. It reports whether
// there is something to negotiate.
func (p *peer) want(w *Wanted) (added bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range w.Sources {
		if p.up(s.Source) != nil {
			continue
		}
		if err := p.addSource(s.Source); err != nil {
			return added, err
		}
		added = true
	}
	persons, screens := 0, 0
	for _, s := range p.seats {
		if s.audio != nil {
			persons++
		} else {
			screens++
		}
	}
	for ; persons < w.Persons; persons++ {
		if err := p.addSeat(true); err != nil {
			return added, err
		}
		added = true
	}
	for ; screens < w.Screens; screens++ {
		if err := p.addSeat(false); err != nil {
			return added, err
		}
		added = true
	}
	return added, nil
}

func (p *peer) up(source string) *upLine {
	for _, u := range p.ups {
		if u.source == source {
			return u
		}
	}
	return nil
}

func (p *peer) addSource(source string) error {
	u, err := newUpLine(source)
	if err != nil {
		return err
	}
	sendonly := webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly}
	if u.line, err = p.pc.AddTransceiverFromTrack(u.track, sendonly); err != nil {
		return fmt.Errorf("add m-line of %s: %w", source, err)
	}
	p.ups = append(p.ups, u)
	sender := u.line.Sender()
	p.wg.Go(func() { p.feedback(u, sender) })
	return nil
}

func (p *peer) addSeat(person bool) (err error) {
	recvonly := webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}
	var s seatLines
	if person {
		if s.audio, err = p.pc.AddTransceiverFromKind(webrtc.RTPCodecTypeAudio, recvonly); err != nil {
			return fmt.Errorf("add seat: %w", err)
		}
	}
	if s.video, err = p.pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, recvonly); err != nil {
		return fmt.Errorf("add seat: %w", err)
	}
	p.seats = append(p.seats, s)
	return nil
}

// negotiate offers what there is and takes the answer.
func (p *peer) negotiate(ctx context.Context, session Session, w *Wanted) error {
	sdp, err := p.pc.CreateOffer(nil)
	if err != nil {
		return fmt.Errorf("create offer: %w", err)
	}
	if err := p.pc.SetLocalDescription(sdp); err != nil {
		return fmt.Errorf("set offer: %w", err)
	}
	// The server learns our address from our checks: candidates are not waited for.
	offer := Offer{SDP: p.pc.LocalDescription().SDP}
	lines := p.lines()
	for _, s := range w.Sources {
		for _, l := range lines.Sources {
			if s.Active && l.Source == s.Source {
				offer.Tracks = append(offer.Tracks, SentTrack{MID: l.MID, Source: s.Source, Muted: s.Muted})
			}
		}
	}
	offer.Seats = lines.Seats
	answer, err := session.Offer(ctx, offer)
	if err != nil {
		rollback := webrtc.SessionDescription{Type: webrtc.SDPTypeRollback}
		return errors.Join(err, p.pc.SetLocalDescription(rollback))
	}
	if err := p.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}); err != nil {
		return fmt.Errorf("set answer: %w", err)
	}
	p.offered = true
	return nil
}

// lines are the m-lines that were offered.
func (p *peer) lines() Lines {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := Lines{Sources: []SourceLine{}, Seats: []Seat{}}
	for _, u := range p.ups {
		l.Sources = append(l.Sources, SourceLine{Source: u.source, MID: u.line.Mid()})
	}
	for _, s := range p.seats {
		seat := Seat{Video: s.video.Mid()}
		if s.audio != nil {
			seat.Audio = s.audio.Mid()
		}
		l.Seats = append(l.Seats, seat)
	}
	return l
}
