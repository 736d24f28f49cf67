package turn

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/webrtc/v4"

	"consilium/internal/portmux"
)

// mediaAPI makes PeerConnections as the SFU does: everything on the ICE mux,
// loopback allowed, and remote candidates never used.
func (b *bench) mediaAPI() *webrtc.API {
	var s webrtc.SettingEngine
	s.SetICEUDPMux(b.mux)
	s.DisableActiveTCP(true)
	s.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	s.SetIncludeLoopbackCandidate(true)
	s.SetLite(true)
	return webrtc.NewAPI(webrtc.WithSettingEngine(s))
}

// relayOnly makes a client that uses nothing but our TURN server.
func relayOnly(t *testing.T, uri string, cred Credential) *webrtc.PeerConnection {
	t.Helper()
	var s webrtc.SettingEngine
	s.DisableActiveTCP(true)
	s.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	s.SetRelayAcceptanceMinWait(0)
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(s)).NewPeerConnection(webrtc.Configuration{
		ICETransportPolicy: webrtc.ICETransportPolicyRelay,
		ICEServers:         []webrtc.ICEServer{{URLs: []string{uri}, Username: cred.Username, Credential: cred.Password}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pc.GracefulClose() })
	return pc
}

// gathered sets the local description and returns it with all candidates.
func gathered(t *testing.T, pc *webrtc.PeerConnection, d webrtc.SessionDescription) webrtc.SessionDescription {
	t.Helper()
	done := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(d); err != nil {
		t.Fatal(err)
	}
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("gathering takes for ever")
	}
	return *pc.LocalDescription()
}

func TestRelayOnlyClientTalksToTheICEMux(t *testing.T) {
	for _, network := range []string{"udp", "tcp"} {
		t.Run(network, func(t *testing.T) {
			b := start(t, func(c *Config) {
				if network == "tcp" { // as in production: through the shared port
					c.TCP = []net.Listener{sharedPort(t, c.TCP[0])}
				}
			})
			b.readMedia(t)
			uris := URIs("127.0.0.1", int(b.udp.Port()), 0, 0)
			if network == "tcp" {
				uris = URIs("127.0.0.1", 0, int(b.tcp.Port()), 0)
			}
			roundTrip(t, b, uris[0])
			s := b.Stats()
			if s.Allocations[Allocations{network, "ipv4"}] == 0 || s.BytesFromClient == 0 || s.BytesToClient == 0 {
				t.Errorf("nothing went through the relay: %+v", s)
			}
			if g := b.group.Stats(); g.RelayIn == 0 || g.RelayOut == 0 {
				t.Errorf("nothing went through the virtual peer: %+v", g)
			}
		})
	}
}

// sharedPort puts a port mux in front of l and returns its TURN listener.
func sharedPort(t *testing.T, l net.Listener) net.Listener {
	t.Helper()
	m, err := portmux.New(portmux.Config{Listeners: []net.Listener{l}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = m.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return m.TURN()
}

// roundTrip connects a client through uri and sends a message there and back.
func roundTrip(t *testing.T, b *bench, uri string) {
	t.Helper()
	client := relayOnly(t, uri, b.mint(t, Session, "s1"))
	server, err := b.mediaAPI().NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.GracefulClose() })
	server.OnDataChannel(func(dc *webrtc.DataChannel) {
		dc.OnMessage(func(m webrtc.DataChannelMessage) { _ = dc.Send(append([]byte("echo of "), m.Data...)) })
	})
	answered := make(chan string, 1)
	dc, err := client.CreateDataChannel("test", nil)
	if err != nil {
		t.Fatal(err)
	}
	dc.OnOpen(func() { _ = dc.SendText("hello") })
	dc.OnMessage(func(m webrtc.DataChannelMessage) { answered <- string(m.Data) })

	offer, err := client.CreateOffer(nil)
	if err != nil {
		t.Fatal(err)
	}
	offer = gathered(t, client, offer)
	offer.SDP = withoutCandidates(offer.SDP)
	if err := server.SetRemoteDescription(offer); err != nil {
		t.Fatal(err)
	}
	answer, err := server.CreateAnswer(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := client.SetRemoteDescription(gathered(t, server, answer)); err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-answered:
		if got != "echo of hello" {
			t.Errorf("got %q", got)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("no answer: client %v, server %v, %+v, %+v",
			client.ICEConnectionState(), server.ICEConnectionState(), b.Stats(), b.group.Stats())
	}
}

// withoutCandidates strips an offer's candidates, as the SFU does: it learns
// its peers by what arrives.
func withoutCandidates(sdp string) string {
	var kept []string
	for line := range strings.Lines(sdp) {
		if !strings.HasPrefix(line, "a=candidate:") {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}
