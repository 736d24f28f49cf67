package sfu

import (
	"context"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"consilium/internal/media"
)

// lossyConn is the server's socket on a bad network: it loses RTP and RTCP,
// never STUN or DTLS, by a seeded generator, and knows what it lost.
type lossyConn struct {
	*net.UDPConn
	mu    sync.Mutex
	rnd   *rand.Rand
	loss  float64
	first map[uint32]uint16    // first sequence number by SSRC, lost or not
	lost  map[uint16]time.Time // media packets lost on the way in, by sequence number
	media uint32               // the SSRC that counts
}

func isRTP(b []byte) (rtp, control bool) {
	if len(b) < 12 || b[0] < 128 || b[0] > 191 {
		return false, false
	}
	return b[1] < 192 || b[1] > 223, true
}

func (c *lossyConn) drops(b []byte, in bool) bool {
	isMedia, is := isRTP(b)
	if !is {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var h rtp.Header
	if isMedia && in {
		if _, err := h.Unmarshal(b); err != nil {
			return false
		}
		if _, seen := c.first[h.SSRC]; !seen {
			c.first[h.SSRC] = h.SequenceNumber
			return false // its loss could not be noticed
		}
	}
	if c.rnd.Float64() >= c.loss {
		return false
	}
	if isMedia && in && h.SSRC == c.media {
		c.lost[h.SequenceNumber] = time.Now()
	}
	return true
}

func (c *lossyConn) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := c.UDPConn.ReadFrom(b)
		if err != nil || !c.drops(b[:n], true) {
			return n, from, err
		}
	}
}

func (c *lossyConn) WriteTo(b []byte, to net.Addr) (int, error) {
	if c.drops(b, false) {
		return len(b), nil
	}
	return c.UDPConn.WriteTo(b, to)
}

func (c *lossyConn) setLoss(p float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.loss = p
}

// collector is a sink that remembers.
type collector struct {
	mu     sync.Mutex
	got    map[uint16]time.Time
	first  *rtp.Header
	key    bool
	twice  int
	report int
	grown  chan struct{}
}

func newCollector() *collector {
	return &collector{got: map[uint16]time.Time{}, grown: make(chan struct{}, 1)}
}

func (c *collector) add(h rtp.Header, key bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.first == nil {
		h := h.Clone()
		c.first, c.key = &h, key
	}
	if _, dup := c.got[h.SequenceNumber]; dup {
		c.twice++
	}
	c.got[h.SequenceNumber] = time.Now()
	select {
	case c.grown <- struct{}{}:
	default:
	}
}

func (c *collector) WritePacket(p *media.Packet) { c.add(p.Header, p.Keyframe) }
func (c *collector) WriteSenderReport(media.SenderReport) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report++
}
func (c *collector) SetMuted(bool, time.Time)       {}
func (c *collector) End(media.EndReason, time.Time) {}

func (c *collector) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.got)
}

func (c *collector) wait(t *testing.T, n int) {
	t.Helper()
	limit := time.After(20 * time.Second)
	for c.count() < n {
		select {
		case <-c.grown:
		case <-limit:
			t.Fatalf("%d packets arrived, want %d", c.count(), n)
		}
	}
}

// endpoint is a server's PeerConnection with our transport.
type endpoint struct {
	pc        *webrtc.PeerConnection
	transport *transport
	mu        sync.Mutex
	asked     map[uint16]int // NACK requests sent, by sequence number
	plis      int
	overrun   chan struct{} // has a token when the client named too many SSRCs
}

func newEndpoint(t *testing.T, conn net.PacketConn) *endpoint {
	t.Helper()
	e := &endpoint{asked: map[uint16]int{}, overrun: make(chan struct{}, 1)}
	e.transport = newTransport(transportConfig{Pool: newPacketPool(), Drops: &dropCounters{}, WriteRTCP: e.writeRTCP, Overrun: func() {
		select {
		case e.overrun <- struct{}{}:
		default:
		}
	}})
	m, err := newMediaEngine([]string{media.VP8})
	if err != nil {
		t.Fatal(err)
	}
	mux := ice.NewUDPMuxDefault(ice.UDPMuxParams{UDPConn: conn})
	se := webrtc.SettingEngine{BufferFactory: e.transport.bufferFactory}
	se.SetICEUDPMux(mux)
	se.SetIncludeLoopbackCandidate(true)
	se.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	if err := se.SetAnsweringDTLSRole(webrtc.DTLSRoleServer); err != nil {
		t.Fatal(err)
	}
	api := webrtc.NewAPI(webrtc.WithMediaEngine(m), webrtc.WithSettingEngine(se), webrtc.WithInterceptorRegistry(&interceptor.Registry{}))
	if e.pc, err = api.NewPeerConnection(webrtc.Configuration{}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.transport.run(ctx) }()
	t.Cleanup(func() {
		_ = e.pc.Close()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
		_ = mux.Close()
	})
	return e
}

func (e *endpoint) writeRTCP(packets []rtcp.Packet) error {
	e.mu.Lock()
	for _, p := range packets {
		switch p := p.(type) {
		case *rtcp.TransportLayerNack:
			for _, pair := range p.Nacks {
				pair.Range(func(s uint16) bool { e.asked[s]++; return true })
			}
		case *rtcp.PictureLossIndication:
			e.plis++
		}
	}
	e.mu.Unlock()
	return e.pc.WriteRTCP(packets)
}

func (e *endpoint) keyframeRequests() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.plis
}

// newClient is a Pion client with everything Pion does by default.
func newClient(t *testing.T) *webrtc.PeerConnection {
	t.Helper()
	m := &webrtc.MediaEngine{}
	if err := m.RegisterDefaultCodecs(); err != nil {
		t.Fatal(err)
	}
	r := &interceptor.Registry{}
	if err := webrtc.RegisterDefaultInterceptors(m, r); err != nil {
		t.Fatal(err)
	}
	var se webrtc.SettingEngine
	se.SetIncludeLoopbackCandidate(true)
	se.SetInterfaceFilter(func(name string) bool { return name == "lo" })
	se.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	pc, err := webrtc.NewAPI(webrtc.WithMediaEngine(m), webrtc.WithInterceptorRegistry(r), webrtc.WithSettingEngine(se)).
		NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pc.Close() })
	return pc
}

func listenLossy(t *testing.T) *lossyConn {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	return &lossyConn{UDPConn: c, rnd: rand.New(rand.NewPCG(2026, 11)), first: map[uint32]uint16{}, lost: map[uint16]time.Time{}}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// negotiate connects client and server; beforeAnswer runs when the offer is
// set, edit may change its SDP.
func negotiate(t *testing.T, client *webrtc.PeerConnection, e *endpoint, edit func(string) string, beforeAnswer func()) {
	t.Helper()
	offer, err := client.CreateOffer(nil)
	must(t, err)
	gathered := webrtc.GatheringCompletePromise(client)
	must(t, client.SetLocalDescription(offer))
	<-gathered
	text := edit(client.LocalDescription().SDP)
	must(t, e.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: text}))
	beforeAnswer()
	parsed, err := parseOffer(text)
	must(t, err)
	answer, err := e.pc.CreateAnswer(nil)
	must(t, err)
	gathered = webrtc.GatheringCompletePromise(e.pc)
	must(t, e.pc.SetLocalDescription(answer))
	<-gathered
	lines, err := upLines(e.pc.LocalDescription().SDP, parsed.lines)
	must(t, err)
	var all []upLine
	for _, l := range lines {
		all = append(all, l)
	}
	e.transport.setLines(all)
	must(t, client.SetRemoteDescription(*e.pc.LocalDescription()))
}

func asIs(s string) string { return s }

// withoutSSRC removes the declaration of SSRCs, as some clients do.
func withoutSSRC(s string) string {
	var b strings.Builder
	for l := range strings.Lines(s) {
		if !strings.HasPrefix(l, "a=ssrc") {
			b.WriteString(l)
		}
	}
	return b.String()
}

// publisher is a client that sends made-up VP8: every hundredth frame, and
// each one after a keyframe request, is a keyframe.
type publisher struct {
	client *webrtc.PeerConnection
	track  *webrtc.TrackLocalStaticRTP
	ssrc   uint32
	conn   *lossyConn
	up     *upTrack
	end    *endpoint
	next   uint16
}

func newPublisher(t *testing.T, edit func(string) string, sinks ...media.Sink) *publisher {
	t.Helper()
	client, conn := newClient(t), listenLossy(t)
	p := &publisher{client: client, conn: conn, end: newEndpoint(t, conn)}
	var err error
	p.track, err = webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8, ClockRate: 90000}, "v", "s")
	must(t, err)
	sender, err := client.AddTrack(p.track)
	must(t, err)
	p.ssrc = uint32(sender.GetParameters().Encodings[0].SSRC)
	conn.media = p.ssrc
	negotiate(t, client, p.end, edit, func() {
		p.up = p.end.transport.publish("0", media.Track{Kind: media.Video, Codec: media.VP8, ClockRate: 90000})
		for _, s := range sinks {
			p.up.attach(s)
		}
	})
	go readAll(sender)
	return p
}

// readAll reads RTCP until the connection is closed: the client's interceptors
// see only what is read.
func readAll(r interface {
	Read([]byte) (int, interceptor.Attributes, error)
}) {
	b := make([]byte, 1500)
	for {
		if _, _, err := r.Read(b); err != nil {
			return
		}
	}
}

// send sends n frames of one packet, one every 2 ms.
func (p *publisher) send(t *testing.T, n int) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for range n {
		<-tick.C
		h := rtp.Header{Version: 2, SequenceNumber: p.next, Timestamp: uint32(p.next) * 180, Marker: true}
		must(t, p.track.WriteRTP(&rtp.Packet{Header: h, Payload: vp8Payload(p.next%100 == 0, p.next)}))
		p.next++
	}
}

// sendUntil sends until the first packets have arrived.
func (p *publisher) sendUntil(t *testing.T, c *collector) {
	t.Helper()
	for i := 0; c.count() == 0; i++ {
		if i > 5000 {
			t.Fatal("nothing arrives")
		}
		p.send(t, 1)
	}
}

// subscribe connects a client that receives what up sends.
func subscribe(t *testing.T, up *upTrack, conn *lossyConn) (*webrtc.PeerConnection, *downTrack, *collector, <-chan uint32) {
	t.Helper()
	client, e := newClient(t), newEndpoint(t, conn)
	_, err := client.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly})
	must(t, err)
	c, ssrc := newCollector(), make(chan uint32, 1)
	client.OnTrack(func(r *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) {
		go readAll(receiver)
		ssrc <- uint32(r.SSRC())
		for {
			p, _, err := r.ReadRTP()
			if err != nil {
				return
			}
			c.add(p.Header, false)
		}
	})
	d := newDownTrack(downConfig{ID: "v", StreamID: "seat-0", Kind: media.Video, MID: "0", Transport: e.transport})
	negotiate(t, client, e, asIs, func() {
		_, err := e.pc.AddTrack(d)
		must(t, err)
	})
	d.assign(up)
	e.pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		if s == webrtc.PeerConnectionStateConnected {
			e.transport.connected()
		}
	})
	return client, d, c, ssrc
}
