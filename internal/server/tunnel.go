package server

import (
	"context"
	"errors"
	"net"

	"consilium/internal/media"
	"consilium/internal/muxconn"
	"consilium/internal/tunnel"
	"consilium/sfu"
	"consilium/signaling"
)

func (s *Server) newTunnel() (*tunnel.Server, error) {
	c := s.cfg
	return tunnel.New(tunnel.Config{
		Sessions: func(id, secret string) (tunnel.Session, error) {
			session, err := s.signals.MediaSession(id, secret)
			if refused, ok := errors.AsType[*signaling.Refusal](err); ok {
				return nil, &tunnel.Refused{Refusal: tunnelRefusal(refused.ErrorBody)}
			}
			if err != nil {
				return nil, err // not session: a nil pointer is no nil interface
			}
			return tunnelled{session}, nil
		},
		Refuse:   func(err error) tunnel.Refusal { return tunnelRefusal(s.signals.OfferRefusal(err)) },
		OpenConn: s.openTunnelConn,
		Tunnels:  c.Media.Tunnel.MaxSessions, Bitrate: c.Media.Tunnel.Bitrate * 1000,
		Resume: c.Signaling.ResumeWindow,
		Log:    s.log.With("part", "tunnel"),
	})
}

// openTunnelConn opens the way to the media port, in the family that it has.
func (s *Server) openTunnelConn() (net.PacketConn, error) {
	p, err := s.network.media.OpenPeer("udp4", 0)
	if errors.Is(err, muxconn.ErrNoFamily) {
		p, err = s.network.media.OpenPeer("udp6", 0)
	}
	if err != nil {
		return nil, err // not p: a nil pointer is no nil interface
	}
	return p, nil
}

func tunnelRefusal(e signaling.ErrorBody) tunnel.Refusal {
	return tunnel.Refusal{Code: e.Code, Message: e.Message, Retry: e.Retry}
}

// tunnelled makes a tunnel.Session of a session of the SFU. The packages don't
// know each other, so the types meet here.
type tunnelled struct{ session signaling.Session }

func (t tunnelled) Offer(ctx context.Context, o tunnel.Offer) (string, error) {
	offer := sfu.Offer{SDP: o.SDP}
	for _, x := range o.Tracks {
		offer.Tracks = append(offer.Tracks, sfu.SentTrack{MID: x.MID, Source: media.Source(x.Source), Muted: x.Muted})
	}
	for _, x := range o.Seats {
		offer.Seats = append(offer.Seats, sfu.SeatRequest{Audio: x.Audio, Video: x.Video})
	}
	answer, err := t.session.Offer(ctx, offer)
	return answer.SDP, err
}

func (t tunnelled) Done() <-chan struct{} { return t.session.Done() }
