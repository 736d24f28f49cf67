package bot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"consilium/internal/media"
	"consilium/internal/testmedia"
)

// sender is one published source.
type sender struct {
	peer        *peer
	source      media.Source
	track       *webrtc.TrackLocalStaticRTP
	transceiver *webrtc.RTPTransceiver
	player      *testmedia.Player
	onSend      func(media.Source, *rtp.Packet) // may be nil

	started bool // guarded by peer.mu

	mu    sync.Mutex
	nacks map[uint16]int // requests by sequence number
	plis  int
}

func newSender(p *peer, source media.Source, clip *testmedia.Clip, cfg Config) (*sender, error) {
	s := &sender{peer: p, source: source, onSend: cfg.OnSend, nacks: map[uint16]int{}}
	capability := webrtc.RTPCodecCapability{MimeType: clip.MimeType, ClockRate: clip.ClockRate, Channels: clip.Channels}
	stream := "camera"
	if source == media.Screen {
		stream = "screen"
	}
	var err error
	if s.track, err = webrtc.NewTrackLocalStaticRTP(capability, string(source), stream); err != nil {
		return nil, fmt.Errorf("make track %s: %w", source, err)
	}
	s.transceiver, err = p.pc.AddTransceiverFromTrack(s.track, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
	if err != nil {
		return nil, fmt.Errorf("add track %s: %w", source, err)
	}
	s.player, err = testmedia.NewPlayer(testmedia.Config{Clip: clip, Start: cfg.Start, Paused: cfg.Silent, KeepStep: cfg.KeepStep})
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (s *sender) mid() string { return s.transceiver.Mid() }

// start runs the player and the reader of RTCP until the peer closes. The
// caller holds peer.mu.
func (s *sender) start() {
	if s.started {
		return
	}
	s.started = true
	s.peer.wg.Go(s.readRTCP)
	s.peer.wg.Go(func() {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		s.peer.wg.Go(func() {
			select {
			case <-s.peer.stop:
			case <-ctx.Done():
			}
			cancel()
		})
		// An error means that the PeerConnection was closed under it.
		_ = s.player.Run(ctx, func(packet *rtp.Packet) error {
			if s.onSend != nil {
				s.onSend(s.source, packet)
			}
			if err := s.track.WriteRTP(packet); err != nil && !errors.Is(err, io.ErrClosedPipe) {
				return err
			}
			return nil
		})
	})
}

func (s *sender) pause(paused bool) {
	if paused {
		s.player.Pause()
		return
	}
	s.player.Resume()
}

// attach puts the track on its m-line or takes it off, as replaceTrack does in
// a browser.
func (s *sender) attach(on bool) error {
	var track webrtc.TrackLocal
	if on {
		track = s.track
	}
	if err := s.transceiver.Sender().ReplaceTrack(track); err != nil {
		return fmt.Errorf("replace track %s: %w", s.source, err)
	}
	s.pause(!on)
	return nil
}

// readRTCP counts what is asked for and answers keyframe requests. Its end is
// the end of the PeerConnection.
func (s *sender) readRTCP() {
	for {
		packets, _, err := s.transceiver.Sender().ReadRTCP()
		if err != nil {
			return
		}
		for _, packet := range packets {
			switch packet := packet.(type) {
			case *rtcp.PictureLossIndication, *rtcp.FullIntraRequest:
				s.mu.Lock()
				s.plis++
				s.mu.Unlock()
				s.player.RequestKeyframe()
			case *rtcp.TransportLayerNack:
				s.mu.Lock()
				for _, pair := range packet.Nacks {
					for _, seq := range pair.PacketList() {
						s.nacks[seq]++
					}
				}
				s.mu.Unlock()
			}
		}
	}
}
