package sfu

import (
	"testing"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/webrtc/v4"

	"consilium/internal/event"
)

// TestWhoVanishesIsMissedInTheSameTimeByALiteAgent takes the network away from
// a WHIP publisher, whose session ends when ICE has failed. A lite agent sends
// no checks whose answers could be missing; it has to miss the client's own.
func TestWhoVanishesIsMissedInTheSameTimeByALiteAgent(t *testing.T) {
	for name, lite := range map[string]bool{"full": false, "lite": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := withMedia(t, Config{})
			cfg.Network.Lite = lite
			h := open(t, cfg)
			req := asPatient("camera")
			req.Mode = Publisher
			v := h.join(req)
			conn := newMovingConn(t)
			v.pc = clientOn(t, conn)
			v.add(sound, webrtc.RTPTransceiverDirectionSendonly)
			v.negotiate(v.offer())
			h.events.wait(t, "dtls", func(e event.Event) bool { return e.Data["dtls"] == "connected" })
			must(t, conn.Close()) // without a word
			gone := time.Now()
			h.events.waitFor(t, 2*iceFailed, "the end of the session", ofType(event.ParticipantLeft))
			if after := time.Since(gone); after < iceFailed-iceKeepalive || after > iceFailed+2*iceKeepalive {
				t.Errorf("missed after %v, want %v", after, iceFailed)
			}
		})
	}
}

// clientOn is a Pion client on a socket of the test's.
func clientOn(t *testing.T, conn *movingConn) *webrtc.PeerConnection {
	t.Helper()
	mux := ice.NewUDPMuxDefault(ice.UDPMuxParams{UDPConn: conn})
	t.Cleanup(func() { _ = mux.Close() }) // its socket is closed
	var se webrtc.SettingEngine
	se.SetICEUDPMux(mux)
	se.SetIncludeLoopbackCandidate(true)
	se.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	var m webrtc.MediaEngine
	must(t, m.RegisterDefaultCodecs())
	pc, err := webrtc.NewAPI(webrtc.WithMediaEngine(&m), webrtc.WithSettingEngine(se)).NewPeerConnection(webrtc.Configuration{})
	must(t, err)
	t.Cleanup(func() { _ = pc.Close() })
	return pc
}
