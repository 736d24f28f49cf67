package tunnel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/report"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"consilium/internal/pionlog"
)

const (
	// reportEvery is how often sender reports go out.
	reportEvery = time.Second
	// receiveMTU is the largest packet of the SFU.
	receiveMTU = 1600
)

// peer is the WebRTC client that stands for a page. want and negotiate are
// called by one goroutine at a time.
type peer struct {
	pc   *webrtc.PeerConnection
	conn net.PacketConn
	mux  *ice.UDPMuxDefault
	log  *slog.Logger
	out  *queue
	drop func(reason string, n int)
	// keyframe asks the page for one. It must not block.
	keyframe func(mid string)

	clock   pageClock
	offered bool // an offer was answered; owned by who negotiates
	stop    context.CancelFunc
	wg      sync.WaitGroup

	mu     sync.Mutex
	closed bool
	ups    []*upLine
	seats  []seatLines
	ssrcs  map[uint16]uint32 // of the m-lines that receive video
	asked  map[uint16]time.Time
}

// seatLines are the m-lines of a seat; audio is nil for a screen.
type seatLines struct{ audio, video *webrtc.RTPTransceiver }

// peerConfig is what a peer needs.
type peerConfig struct {
	Conn        net.PacketConn // closed by the peer
	Certificate webrtc.Certificate
	Out         *queue
	Drop        func(reason string, n int)
	Keyframe    func(mid string)
	Log         *slog.Logger
}

func newPeer(cfg peerConfig) (*peer, error) {
	p := &peer{
		conn: cfg.Conn, log: cfg.Log, out: cfg.Out, drop: cfg.Drop, keyframe: cfg.Keyframe,
		ssrcs: map[uint16]uint32{}, asked: map[uint16]time.Time{},
	}
	p.mux = ice.NewUDPMuxDefault(ice.UDPMuxParams{UDPConn: cfg.Conn, Logger: pionlog.New(cfg.Log).NewLogger("udpmux")})
	api, err := p.api()
	if err == nil {
		p.pc, err = api.NewPeerConnection(webrtc.Configuration{
			BundlePolicy: webrtc.BundlePolicyMaxBundle, Certificates: []webrtc.Certificate{cfg.Certificate},
		})
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make the peer of a tunnel: %w", err), p.mux.Close())
	}
	p.pc.OnTrack(p.receive)
	p.pc.OnConnectionStateChange(p.connected)
	ctx, cancel := context.WithCancel(context.Background())
	p.stop = cancel
	p.wg.Go(func() { p.reports(ctx) })
	return p, nil
}

// api makes Pion speak through the given PacketConn and nothing else.
func (p *peer) api() (*webrtc.API, error) {
	engine, err := newMediaEngine()
	if err != nil {
		return nil, err
	}
	receiver, err := report.NewReceiverInterceptor()
	if err != nil {
		return nil, fmt.Errorf("make receiver reports: %w", err)
	}
	registry := &interceptor.Registry{}
	registry.Add(receiver)
	network := webrtc.NetworkTypeUDP4
	if a, ok := p.conn.LocalAddr().(*net.UDPAddr); ok && a.IP.To4() == nil {
		network = webrtc.NetworkTypeUDP6
	}
	var se webrtc.SettingEngine
	se.LoggerFactory = pionlog.New(p.log)
	se.SetICEUDPMux(p.mux)
	se.SetNetworkTypes([]webrtc.NetworkType{network})
	se.DisableActiveTCP(true)
	se.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	se.SetSRTPProtectionProfiles(dtls.SRTP_AEAD_AES_128_GCM)
	se.SetReceiveMTU(receiveMTU)
	return webrtc.NewAPI(webrtc.WithMediaEngine(engine), webrtc.WithInterceptorRegistry(registry), webrtc.WithSettingEngine(se)), nil
}

// connected begins every picture with a keyframe once there is somewhere to
// send it.
func (p *peer) connected(state webrtc.PeerConnectionState) {
	if state != webrtc.PeerConnectionStateConnected {
		return
	}
	for _, l := range p.lines().Sources {
		if kindOf(l.Source) == webrtc.RTPCodecTypeVideo {
			p.keyframe(l.MID)
		}
	}
}

// send gives a frame of the page to the SFU.
func (p *peer) send(f Frame, now time.Time) error {
	p.mu.Lock()
	var line *upLine
	for _, u := range p.ups {
		if mid, ok := u.mid(); ok && mid == f.Line && u.codec == f.Codec {
			line = u
		}
	}
	p.mu.Unlock()
	if line == nil {
		p.drop(dropUnknownLine, 1)
		return nil
	}
	if p.pc.ConnectionState() != webrtc.PeerConnectionStateConnected {
		p.drop(dropNotSent, 1)
		return nil
	}
	p.clock.observe(f.Time, now)
	return line.send(f)
}

// feedback passes the keyframe requests of the SFU on to the page.
func (p *peer) feedback(u *upLine, sender *webrtc.RTPSender) {
	for {
		packets, _, err := sender.ReadRTCP()
		if err != nil {
			return // the peer is closed
		}
		for _, packet := range packets {
			switch packet.(type) {
			case *rtcp.PictureLossIndication, *rtcp.FullIntraRequest:
				p.keyframe(u.line.Mid())
			}
		}
	}
}

// reports sends sender reports: the first soon, for lips and sound.
func (p *peer) reports(ctx context.Context) {
	tick := time.NewTicker(reportEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			p.mu.Lock()
			ups := append([]*upLine(nil), p.ups...)
			p.mu.Unlock()
			for _, u := range ups {
				if sr, ok := u.report(&p.clock, now); ok {
					_ = p.pc.WriteRTCP([]rtcp.Packet{sr}) // fails only when the peer is closed
				}
			}
		}
	}
}

// receive reads a track of the SFU until the peer is closed.
func (p *peer) receive(remote *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return
	}
	p.wg.Add(1)
	p.mu.Unlock()
	defer p.wg.Done()
	number, err := strconv.ParseUint(receiver.RTPTransceiver().Mid(), 10, 16)
	if err != nil {
		p.log.Error("m-line of a tunnel has no number", "mid", receiver.RTPTransceiver().Mid())
		return
	}
	mid := uint16(number)
	audio := remote.Kind() == webrtc.RTPCodecTypeAudio
	if !audio {
		p.mu.Lock()
		p.ssrcs[mid] = uint32(remote.SSRC())
		p.mu.Unlock()
	}
	line := newDownLine(mid, audio, p.out, p.drop, func() { p.askKeyframe(mid) })
	done := make(chan struct{})
	go func() {
		defer close(done)
		readReports(receiver, remote.SSRC(), &line.wall)
	}()
	defer func() { <-done }()
	buf := make([]byte, receiveMTU)
	for {
		n, _, err := remote.Read(buf)
		if err != nil {
			return // the peer is closed
		}
		packet := &rtp.Packet{}
		if err := packet.Unmarshal(append([]byte(nil), buf[:n]...)); err != nil {
			continue // Pion has parsed it already: not reached
		}
		line.receive(packet, codecOf(remote), time.Now())
	}
}

// readReports takes the SFU's sender reports until the peer is closed.
func readReports(receiver *webrtc.RTPReceiver, ssrc webrtc.SSRC, wall *wallClock) {
	for {
		packets, _, err := receiver.ReadRTCP()
		if err != nil {
			return
		}
		for _, packet := range packets {
			if sr, ok := packet.(*rtcp.SenderReport); ok && sr.SSRC == uint32(ssrc) {
				wall.report(sr)
			}
		}
	}
}

// askKeyframe asks the publisher on an m-line for a keyframe.
func (p *peer) askKeyframe(mid uint16) {
	now := time.Now()
	p.mu.Lock()
	ssrc, known := p.ssrcs[mid]
	known = known && now.Sub(p.asked[mid]) >= keyframeEvery
	if known {
		p.asked[mid] = now
	}
	p.mu.Unlock()
	if known {
		_ = p.pc.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: ssrc}}) // as in reports
	}
}

// videoLines are the m-lines that receive video.
func (p *peer) videoLines() []uint16 {
	p.mu.Lock()
	defer p.mu.Unlock()
	lines := make([]uint16, 0, len(p.ssrcs))
	for mid := range p.ssrcs {
		lines = append(lines, mid)
	}
	return lines
}

// address is the virtual address of the peer.
func (p *peer) address() netip.AddrPort {
	a, ok := p.conn.LocalAddr().(*net.UDPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := a.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// close ends the peer and waits for its goroutines. It is called once.
func (p *peer) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.stop()
	_ = p.pc.GracefulClose() // nothing can be done about a failure
	_ = p.mux.Close()        // closes the PacketConn too
	p.wg.Wait()
}
