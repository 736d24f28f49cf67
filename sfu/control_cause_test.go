package sfu

import (
	"net"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/webrtc/v4"

	"consilium/internal/event"
)

// patient has clocks that don't run out in a test.
func patient(t *testing.T) Config {
	return withMedia(t, Config{Media: MediaConfig{Timeout: time.Minute}})
}

func TestTheClientsWordForItsWayIsToldAtOnce(t *testing.T) {
	h := open(t, patient(t))
	v := h.join(asPatient("p"))
	v.prepare(0, sound)
	_, err := v.Offer(t.Context(), v.offer())
	must(t, err)
	v.ClientLog(event.StageDevices, "no camera", event.Failure{Code: event.CamDenied}, nil, time.Now())
	v.ClientLog(event.StageICE, "refused", event.Failure{Code: event.TURNAuth}, nil, time.Now())
	e := h.events.wait(t, "participant.failed", ofType(event.ParticipantFailed))
	if e.Code != event.TURNAuth || e.Stage != event.StageICE || e.Direction != event.Out {
		t.Errorf("%+v", e.Failure)
	}
}

func TestARefusedCameraIsNoReasonToHaveNoConnection(t *testing.T) {
	h := open(t, quick(t))
	v := h.join(asPatient("p"))
	v.prepare(0, sound)
	_, err := v.Offer(t.Context(), v.offer())
	must(t, err)
	v.ClientLog(event.StageDevices, "no camera", event.Failure{Code: event.CamDenied}, nil, time.Now())
	if e := h.events.wait(t, "participant.failed", ofType(event.ParticipantFailed)); e.Code != event.NoCandidates {
		t.Errorf("%+v", e.Failure)
	}
}

func TestAFingerprintThatIsNotTheCertificatesFailsAtOnce(t *testing.T) {
	h := open(t, patient(t))
	v := h.join(asPatient("p"))
	v.prepare(0, sound)
	o := v.offer()
	gathered := webrtc.GatheringCompletePromise(v.pc)
	must(t, v.pc.SetLocalDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: o.SDP}))
	<-gathered
	o.SDP = regexp.MustCompile(`(a=fingerprint:sha-256 )..:..`).ReplaceAllString(v.pc.LocalDescription().SDP, "${1}00:00")
	a, err := v.Offer(t.Context(), o)
	must(t, err)
	must(t, v.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: a.SDP}))
	e := h.events.wait(t, "participant.failed", ofType(event.ParticipantFailed))
	if e.Code != event.DTLSFailed || e.Stage != event.StageDTLS || e.Evidence["dtls"] != "failed" {
		t.Errorf("%+v", e.Failure)
	}
}

// overBoth is a server with media on UDP and on TCP.
func overBoth(t *testing.T) Config {
	cfg := patient(t)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	must(t, err)
	mux := ice.NewTCPMuxDefault(ice.TCPMuxParams{Listener: l, ReadBufferSize: 64})
	t.Cleanup(func() { _ = mux.Close() })
	cfg.Network.TCP = mux
	return cfg
}

// connectOverTCP connects a client that has UDP, and hears of no UDP address of
// the server's: what it would send there is lost.
func connectOverTCP(t *testing.T, v *visitor, types ...webrtc.NetworkType) {
	var se webrtc.SettingEngine
	se.SetIncludeLoopbackCandidate(true)
	se.SetIPFilter(func(ip net.IP) bool { return ip.IsLoopback() })
	se.SetNetworkTypes(types)
	m := &webrtc.MediaEngine{}
	must(t, m.RegisterDefaultCodecs())
	pc, err := webrtc.NewAPI(webrtc.WithMediaEngine(m), webrtc.WithSettingEngine(se)).NewPeerConnection(webrtc.Configuration{})
	must(t, err)
	t.Cleanup(func() { _ = pc.Close() })
	v.pc = pc
	v.add(sound, webrtc.RTPTransceiverDirectionSendonly)
	o := v.offer()
	gathered := webrtc.GatheringCompletePromise(pc)
	must(t, pc.SetLocalDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: o.SDP}))
	<-gathered
	o.SDP = pc.LocalDescription().SDP
	a, err := v.Offer(t.Context(), o)
	must(t, err)
	var heard []string
	for line := range strings.Lines(a.SDP) {
		if !strings.HasPrefix(line, "a=candidate:") || strings.Contains(line, " tcp ") {
			heard = append(heard, line)
		}
	}
	must(t, pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: strings.Join(heard, "")}))
}

func TestMediaOverTCPIsNotedIfTheClientHasUDP(t *testing.T) {
	for name, test := range map[string]struct {
		types []webrtc.NetworkType
		noted bool
	}{
		"it has UDP":    {[]webrtc.NetworkType{webrtc.NetworkTypeUDP4, webrtc.NetworkTypeTCP4}, true},
		"it wants none": {[]webrtc.NetworkType{webrtc.NetworkTypeTCP4}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := open(t, overBoth(t))
			v := h.join(asPatient("p"))
			connectOverTCP(t, v, test.types...)
			connected := h.events.wait(t, "ice.connected", ofType(event.ICEConnected))
			if connected.Data["protocol"] != "tcp" {
				t.Fatalf("connected over %v", connected.Data)
			}
			if !test.noted {
				<-time.After(udpSettled + udpLook)
				if h.events.count(ofType(event.QualityPoor)) != 0 {
					t.Error("it is noted")
				}
				return
			}
			e := h.events.wait(t, "quality.poor", ofType(event.QualityPoor))
			ports, _ := e.Evidence["udp_ports"].([]string)
			if e.Code != event.UDPBlocked || e.Stage != event.StageICE || len(ports) != 1 || netip.MustParseAddrPort(ports[0]).Addr() != netip.MustParseAddr("127.0.0.1") {
				t.Errorf("%+v", e.Failure)
			}
		})
	}
}
