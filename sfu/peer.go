package sfu

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"

	"consilium/internal/media"
	"consilium/internal/pionlog"
)

// Timers of an ICE agent: failed when nothing came for 20 s, a keepalive every
// 2 s. Verdicts for people come from our own clocks.
const (
	iceFailed    = 20 * time.Second
	iceKeepalive = 2 * time.Second
	// A full agent is disconnected when nothing came for 5 s: its keepalives
	// are answered. A lite agent sends none, and who only listens may be heard
	// when he renews his consent, every 4 to 6 s (RFC 7675, section 5.1).
	iceDisconnected     = 5 * time.Second
	iceLiteDisconnected = 10 * time.Second
)

// peer is the PeerConnection of a session with its media transport.
type peer struct {
	pc        *webrtc.PeerConnection
	ice       *webrtc.ICETransport
	transport *transport
	log       *slog.Logger
	states    chan func(*Session) // what Pion's callbacks saw, for the loop
	stop      context.CancelFunc
	closing   chan struct{} // closed by close
	wg        sync.WaitGroup
	behind    func(netip.AddrPort) (path, protocol string, ok bool)

	// fingerprint is that of the first offer; set before anybody else has the
	// peer.
	fingerprint string

	// lines are the negotiated m-lines on which the client sends, by mid. They
	// are written in the call's loop with Session.negotiating held, and read
	// with either.
	lines map[string]upLine
	// slots are the m-lines on which it receives, and made is how many seats
	// got a number. They belong to whoever holds Session.negotiating.
	slots map[string]*seatLine
	made  int
}

// stateQueue is how many changes of state may wait for the loop. Connecting
// and closing is a dozen.
const stateQueue = 64

func newCertificateKey() (*ecdsa.PrivateKey, error) {
	return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
}

// newPeer makes the PeerConnection of a session. There is one webrtc.API a
// PeerConnection, so that its BufferFactory is this session's.
func newPeer(x *Session) (*peer, error) {
	s := x.c.s
	log := s.log.With("call", x.c.id, "session", x.id)
	p := &peer{
		lines: map[string]upLine{}, slots: map[string]*seatLine{}, behind: s.cfg.Network.Behind,
		log: log, states: make(chan func(*Session), stateQueue), closing: make(chan struct{}),
	}
	p.transport = newTransport(transportConfig{
		Log: log, Pool: s.pool, Drops: s.drops,
		WriteRTCP: func(pkts []rtcp.Packet) error { return p.pc.WriteRTCP(pkts) },
		Overrun:   func() { p.changed(func(x *Session) { x.close(media.EndLost, "", "") }) },
	})
	m, err := newMediaEngine(s.cfg.Media.Video)
	if err != nil {
		return nil, err
	}
	se, err := s.settings(p.transport)
	if err != nil {
		return nil, err
	}
	follow := newFollower(log)
	follow.install(&se)
	// The interceptor registry is empty: NACK, RTX, reports and TWCC are done
	// by transport, which sees every packet once (docs/adr/0002).
	api := webrtc.NewAPI(webrtc.WithMediaEngine(m), webrtc.WithSettingEngine(se),
		webrtc.WithInterceptorRegistry(&interceptor.Registry{}))
	p.pc, err = api.NewPeerConnection(webrtc.Configuration{Certificates: []webrtc.Certificate{s.cert}})
	if err != nil {
		return nil, fmt.Errorf("make PeerConnection: %w", err)
	}
	p.ice = p.dtls().ICETransport()
	follow.watch(p.ice)
	ctx, cancel := context.WithCancel(context.Background())
	p.stop = cancel
	p.wg.Go(func() { _ = p.transport.run(ctx) })
	p.pc.OnICEConnectionStateChange(func(s webrtc.ICEConnectionState) { p.changed(func(x *Session) { x.iceChanged(s) }) })
	p.dtls().OnStateChange(func(s webrtc.DTLSTransportState) { p.changed(func(x *Session) { x.dtlsChanged(s) }) })
	return p, nil
}

// changed takes a change of state from a callback of Pion. It never waits: Pion
// holds its locks there, and the loop, which may be the one who should make
// room, takes some of them.
func (p *peer) changed(f func(*Session)) {
	select {
	case p.states <- f:
	default:
		p.log.Warn("a change of state is lost: too many wait for the call")
	}
}

// attach passes the changes of state to the session's call, in order, from the
// first one on.
func (p *peer) attach(x *Session) {
	p.wg.Go(func() {
		for {
			select {
			case f := <-p.states:
				x.c.loop.post(func() {
					if !x.closed {
						f(x)
					}
				})
			case <-p.closing:
				return
			}
		}
	})
}

func (p *peer) dtls() *webrtc.DTLSTransport { return p.pc.SCTP().Transport() }

func (p *peer) selectedPair() *webrtc.ICECandidatePair {
	pair, err := p.ice.GetSelectedCandidatePair()
	if err != nil {
		return nil
	}
	return pair
}

// via tells how a client that is behind something of ours comes to it.
func (p *peer) via(c *webrtc.ICECandidate) (path, protocol string, ok bool) {
	a, err := netip.ParseAddr(c.Address)
	if err != nil {
		return "", "", false
	}
	return p.behind(netip.AddrPortFrom(a.Unmap(), c.Port))
}

// line returns a sending m-line.
func (p *peer) line(mid string) (upLine, bool) {
	l, ok := p.lines[mid]
	return l, ok
}

// close ends the connection and waits for its goroutines. It is called once.
func (p *peer) close() {
	close(p.closing)
	_ = p.pc.GracefulClose() // Close would not wait
	p.stop()
	p.wg.Wait()
}

// settings is what every PeerConnection has in common, but for the buffers.
func (s *Server) settings(t *transport) (webrtc.SettingEngine, error) {
	n := s.cfg.Network
	var se webrtc.SettingEngine
	se.LoggerFactory = pionlog.New(s.log)
	se.BufferFactory = t.bufferFactory
	se.DisableMediaEngineCopy(true) // the engine is made for this PeerConnection
	se.SetSRTPProtectionProfiles(dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AEAD_AES_256_GCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80)
	// As DTLS server we choose, and choose GCM; as client browsers choose CM,
	// six times as dear.
	if err := se.SetAnsweringDTLSRole(webrtc.DTLSRoleServer); err != nil {
		return se, fmt.Errorf("set DTLS role: %w", err)
	}
	// The cookie of HelloVerifyRequest protects against spoofed addresses;
	// here the address has passed an authenticated ICE check already.
	se.SetDTLSInsecureSkipHelloVerify(true)
	disconnected := iceDisconnected
	if n.Lite {
		disconnected = iceLiteDisconnected
	}
	se.SetICETimeouts(disconnected, iceFailed-disconnected, iceKeepalive)
	se.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	se.DisableActiveTCP(true) // never dial an address from SDP
	se.SetLite(n.Lite)
	se.SetReceiveMTU(1600)
	types := []webrtc.NetworkType{webrtc.NetworkTypeUDP4, webrtc.NetworkTypeUDP6}
	if n.UDP != nil {
		se.SetICEUDPMux(n.UDP)
	}
	if n.TCP != nil {
		se.SetICETCPMux(n.TCP)
		types = append(types, webrtc.NetworkTypeTCP4, webrtc.NetworkTypeTCP6)
	}
	se.SetNetworkTypes(types)
	if n.Addresses != nil {
		se.SetIPFilter(func(ip net.IP) bool {
			a, ok := netip.AddrFromSlice(ip)
			return ok && slices.Contains(n.Addresses, a.Unmap())
		})
		se.SetIncludeLoopbackCandidate(slices.ContainsFunc(n.Addresses, netip.Addr.IsLoopback))
	}
	return se, nil
}
