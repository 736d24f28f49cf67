package bot

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/nack"
	"github.com/pion/interceptor/pkg/report"
	"github.com/pion/interceptor/pkg/twcc"
	"github.com/pion/logging"
	"github.com/pion/webrtc/v4"

	"consilium/internal/media"
	"consilium/internal/pionlog"
	"consilium/internal/testmedia"
	"consilium/signaling"
)

// nackTries is how often a missing packet is asked for. Pion's generator sits
// in front of the RTX decoder and never learns that a packet was repaired.
const nackTries = 3

// peer is the PeerConnection of a bot, a WHIP publisher or a WHEP player, with
// what it sends and receives.
type peer struct {
	pc      *webrtc.PeerConnection
	gate    *gate
	mux     *ice.UDPMuxDefault // nil without a socket of our own
	onTrack func(track string, packet received)

	wg   sync.WaitGroup
	stop chan struct{} // closed by close

	mu        sync.Mutex
	closed    bool
	senders   []*sender
	receivers map[string]*receiver // by mid
	seats     []seat
}

// seat is a receive-only pair of m-lines that the bot offers.
type seat struct{ audio, video *webrtc.RTPTransceiver }

// newPeer makes the PeerConnection; it opens no socket but the gate's.
func newPeer(cfg Config, servers []signaling.ICEServer, onState func(webrtc.PeerConnectionState)) (*peer, error) {
	p := &peer{stop: make(chan struct{}), receivers: map[string]*receiver{}}
	if cfg.OnPacket != nil {
		p.onTrack = func(track string, r received) { cfg.OnPacket(track, r.packet, r.at) }
	}
	api, err := p.api(cfg)
	if err != nil {
		return nil, err
	}
	config := webrtc.Configuration{BundlePolicy: webrtc.BundlePolicyMaxBundle}
	if cfg.Relay {
		config.ICETransportPolicy = webrtc.ICETransportPolicyRelay
	}
	for _, s := range servers {
		if urls := pickURLs(s.URLs, cfg); len(urls) > 0 {
			config.ICEServers = append(config.ICEServers, webrtc.ICEServer{URLs: urls, Username: s.Username, Credential: s.Credential})
		}
	}
	pc, err := api.NewPeerConnection(config)
	if err != nil {
		return nil, fmt.Errorf("make PeerConnection: %w", err)
	}
	p.pc = pc
	pc.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		if state == webrtc.PeerConnectionStateConnected {
			p.startSenders()
		}
		if onState != nil {
			onState(state)
		}
	})
	pc.OnTrack(p.receive)
	return p, nil
}

// pickURLs leaves the URLs of the wanted relay protocol; without a relay no
// server is needed at all.
func pickURLs(urls []string, cfg Config) []string {
	if cfg.EveryPath && !cfg.Relay {
		return urls
	}
	if !cfg.Relay {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(urls), func(u string) bool {
		protocol := relayProtocol(u)
		return protocol == "" || cfg.RelayProtocol != "" && protocol != cfg.RelayProtocol
	})
}

// relayProtocol is how a TURN URI (RFC 7065) is reached; "" if it is none.
func relayProtocol(uri string) string {
	switch {
	case strings.HasPrefix(uri, "turns:"):
		return "tls"
	case !strings.HasPrefix(uri, "turn:"):
		return ""
	case strings.HasSuffix(uri, "?transport=tcp"):
		return "tcp"
	}
	return "udp"
}

func (p *peer) api(cfg Config) (*webrtc.API, error) {
	engine := &webrtc.MediaEngine{}
	if err := registerCodecs(engine); err != nil {
		return nil, err
	}
	registry := &interceptor.Registry{}
	// Pion writes to standard error unless told otherwise.
	loggers := pionlog.New(cfg.Log)
	if err := registerInterceptors(engine, registry, loggers); err != nil {
		return nil, err
	}
	settings := webrtc.SettingEngine{LoggerFactory: loggers}
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	types := []webrtc.NetworkType{webrtc.NetworkTypeUDP4, webrtc.NetworkTypeTCP4}
	if cfg.EveryPath {
		types = append(types, webrtc.NetworkTypeUDP6, webrtc.NetworkTypeTCP6)
	}
	if cfg.Socket != nil {
		types = []webrtc.NetworkType{webrtc.NetworkTypeUDP4} // nothing may go around it
	}
	settings.SetNetworkTypes(types)
	// Pion dials out even where only relays are allowed, and around a socket.
	settings.DisableActiveTCP(cfg.Relay || cfg.Socket != nil)
	gate, err := newGate()
	if err != nil {
		return nil, err
	}
	p.gate = gate
	settings.SetNet(gate)
	if cfg.Socket != nil {
		if _, ok := cfg.Socket.LocalAddr().(*net.UDPAddr); !ok {
			return nil, errors.New("media socket is not UDP")
		}
		p.mux = ice.NewUDPMuxDefault(ice.UDPMuxParams{UDPConn: gate.wrap(cfg.Socket), Logger: loggers.NewLogger("udpmux")})
		settings.SetICEUDPMux(p.mux)
	}
	if cfg.Settings != nil {
		cfg.Settings(&settings)
	}
	return webrtc.NewAPI(webrtc.WithMediaEngine(engine), webrtc.WithInterceptorRegistry(registry), webrtc.WithSettingEngine(settings)), nil
}

func registerCodecs(engine *webrtc.MediaEngine) error {
	feedback := []webrtc.RTCPFeedback{{Type: "goog-remb"}, {Type: "ccm", Parameter: "fir"}, {Type: "nack"}, {Type: "nack", Parameter: "pli"}}
	for _, c := range []struct {
		kind  webrtc.RTPCodecType
		codec webrtc.RTPCodecParameters
	}{
		{webrtc.RTPCodecTypeAudio, webrtc.RTPCodecParameters{PayloadType: 111, RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2, SDPFmtpLine: "minptime=10;useinbandfec=1"}}},
		{webrtc.RTPCodecTypeVideo, webrtc.RTPCodecParameters{PayloadType: 96, RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: webrtc.MimeTypeVP8, ClockRate: 90000, RTCPFeedback: feedback}}},
		{webrtc.RTPCodecTypeVideo, webrtc.RTPCodecParameters{PayloadType: 97, RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: webrtc.MimeTypeRTX, ClockRate: 90000, SDPFmtpLine: "apt=96"}}},
	} {
		if err := engine.RegisterCodec(c.codec, c.kind); err != nil {
			return fmt.Errorf("register %s: %w", c.codec.MimeType, err)
		}
	}
	return nil
}

func registerInterceptors(engine *webrtc.MediaEngine, registry *interceptor.Registry, loggers logging.LoggerFactory) error {
	generator, err := nack.NewGeneratorInterceptor(nack.GeneratorMaxNacksPerPacket(nackTries), nack.WithGeneratorLoggerFactory(loggers))
	if err != nil {
		return fmt.Errorf("make NACK generator: %w", err)
	}
	responder, err := nack.NewResponderInterceptor(nack.WithResponderLoggerFactory(loggers))
	if err != nil {
		return fmt.Errorf("make NACK responder: %w", err)
	}
	receiver, err := report.NewReceiverInterceptor(report.WithReceiverLoggerFactory(loggers))
	if err != nil {
		return fmt.Errorf("make receiver reports: %w", err)
	}
	sender, err := report.NewSenderInterceptor(report.WithSenderLoggerFactory(loggers))
	if err != nil {
		return fmt.Errorf("make sender reports: %w", err)
	}
	for _, f := range []interceptor.Factory{responder, generator, receiver, sender} {
		registry.Add(f)
	}
	if err := webrtc.ConfigureTWCCHeaderExtensionSender(engine, registry); err != nil {
		return fmt.Errorf("configure TWCC numbers: %w", err)
	}
	if err := webrtc.ConfigureTWCCSenderWithOptions(engine, registry, twcc.WithLoggerFactory(loggers)); err != nil {
		return fmt.Errorf("configure TWCC feedback: %w", err)
	}
	return nil
}

// addSeats adds receive-only m-lines to the next offer.
func (p *peer) addSeats(persons, screens int) error {
	recvonly := webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}
	for i := range max(persons, 0) + max(screens, 0) {
		var s seat
		var err error
		if i < persons {
			if s.audio, err = p.pc.AddTransceiverFromKind(webrtc.RTPCodecTypeAudio, recvonly); err != nil {
				return fmt.Errorf("add seat: %w", err)
			}
		}
		if s.video, err = p.pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, recvonly); err != nil {
			return fmt.Errorf("add seat: %w", err)
		}
		p.mu.Lock()
		p.seats = append(p.seats, s)
		p.mu.Unlock()
	}
	return nil
}

// addSender adds a send-only m-line to the next offer.
func (p *peer) addSender(source media.Source, clip *testmedia.Clip, cfg Config) error {
	s, err := newSender(p, source, clip, cfg)
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.senders = append(p.senders, s)
	p.mu.Unlock()
	if p.pc.ConnectionState() == webrtc.PeerConnectionStateConnected {
		p.startSenders()
	}
	return nil
}

// offer makes an offer and sets it. Candidates are not waited for: the server
// learns ours from our checks.
func (p *peer) offer(restartICE bool) (signaling.OfferBody, error) {
	sdp, err := p.pc.CreateOffer(&webrtc.OfferOptions{ICERestart: restartICE})
	if err != nil {
		return signaling.OfferBody{}, fmt.Errorf("create offer: %w", err)
	}
	if err := p.pc.SetLocalDescription(sdp); err != nil {
		return signaling.OfferBody{}, fmt.Errorf("set offer: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	body := signaling.OfferBody{SDP: p.pc.LocalDescription().SDP, Tracks: []signaling.SentTrack{}, Seats: []signaling.SeatRequest{}}
	for _, s := range p.senders {
		body.Tracks = append(body.Tracks, signaling.SentTrack{MID: s.mid(), Source: string(s.source)})
	}
	for _, s := range p.seats {
		request := signaling.SeatRequest{Video: s.video.Mid()}
		if s.audio != nil {
			request.Audio = s.audio.Mid()
		}
		body.Seats = append(body.Seats, request)
	}
	return body, nil
}

// answer sets the server's answer. That of a session which the server has just
// ended comes after DTLS closed the connection: the messages behind it say why.
func (p *peer) answer(sdp string) error {
	err := p.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: sdp})
	if err != nil && !errors.Is(err, webrtc.ErrConnectionClosed) {
		return fmt.Errorf("set answer: %w", err)
	}
	return nil
}

func (p *peer) sender(source media.Source) *sender {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.senders {
		if s.source == source {
			return s
		}
	}
	return nil
}

// startSenders starts the players that do not run yet.
func (p *peer) startSenders() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	for _, s := range p.senders {
		s.start()
	}
}

// close ends everything and waits for it.
func (p *peer) close() {
	p.mu.Lock()
	already := p.closed
	p.closed = true
	p.mu.Unlock()
	if already {
		return
	}
	close(p.stop)
	_ = p.pc.GracefulClose() // nothing can be done about a failure, and nothing is lost by it
	if p.mux != nil {
		_ = p.mux.Close() // as above
	}
	p.wg.Wait()
}
