package signaling

import (
	"testing"
	"time"

	"github.com/pion/webrtc/v4"
)

// whipClient is a Pion publisher of one audio track.
type whipClient struct {
	*webrtc.PeerConnection
	t      *testing.T
	states chan webrtc.ICEConnectionState
}

func newWHIPClient(t *testing.T) *whipClient {
	t.Helper()
	pc, err := webrtc.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	c := &whipClient{pc, t, make(chan webrtc.ICEConnectionState, 64)}
	pc.OnICEConnectionStateChange(func(s webrtc.ICEConnectionState) { c.states <- s })
	t.Cleanup(func() {
		if err := pc.GracefulClose(); err != nil {
			t.Error(err)
		}
	})
	track, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus}, "a", "s")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pc.AddTransceiverFromTrack(track, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly}); err != nil {
		t.Fatal(err)
	}
	return c
}

// gather makes an offer and waits for its candidates.
func (c *whipClient) gather(options *webrtc.OfferOptions) string {
	c.t.Helper()
	offer, err := c.CreateOffer(options)
	if err != nil {
		c.t.Fatal(err)
	}
	gathered := webrtc.GatheringCompletePromise(c.PeerConnection)
	if err := c.SetLocalDescription(offer); err != nil {
		c.t.Fatal(err)
	}
	<-gathered
	return c.LocalDescription().SDP
}

func (c *whipClient) answer(sdp string) {
	c.t.Helper()
	if err := c.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: sdp}); err != nil {
		c.t.Fatal(err)
	}
}

func (c *whipClient) expectConnected() {
	c.t.Helper()
	timeout := time.NewTimer(2 * patience)
	defer timeout.Stop()
	for {
		select {
		case s := <-c.states:
			if s == webrtc.ICEConnectionStateConnected {
				return
			}
		case <-timeout.C:
			c.t.Fatal("ICE does not connect")
		}
	}
}

func TestAPionPublisherConnectsRestartsICEAndLeaves(t *testing.T) {
	f := newRealFixture(t)
	c := newWHIPClient(t)
	r, answer := f.do(t, request{method: "POST", path: "/whip/r", token: "cam:device@r", contentType: "application/sdp", body: c.gather(nil)})
	if r.StatusCode != 201 {
		t.Fatalf("POST: %d %s", r.StatusCode, answer)
	}
	c.answer(answer)
	c.expectConnected()
	location := r.Header.Get("Location")

	offer := c.gather(&webrtc.OfferOptions{ICERestart: true})
	ufrag, pwd := iceCredentials(offer)
	r, body := f.do(t, request{
		method: "PATCH", path: location, token: "cam:device@r", contentType: fragType, ifMatch: "*",
		body: "a=ice-ufrag:" + ufrag + "\r\na=ice-pwd:" + pwd + "\r\n",
	})
	if r.StatusCode != 200 {
		t.Fatalf("PATCH: %d %s", r.StatusCode, body)
	}
	frag, err := parseSDPFrag(body)
	if err != nil || len(frag.candidates) == 0 {
		t.Fatalf("fragment %q: %v", body, err)
	}
	old, _ := iceCredentials(answer)
	if frag.ufrag == old {
		t.Error("the server has not restarted ICE")
	}
	answer = withICECredentials(answer, frag.ufrag, frag.pwd)
	for _, candidate := range frag.candidates {
		answer += "a=" + candidate.candidate + "\r\n"
	}
	c.answer(answer)
	c.expectConnected()

	if r, body = f.do(t, request{method: "DELETE", path: location, token: "cam:device@r"}); r.StatusCode != 200 {
		t.Errorf("DELETE: %d %s", r.StatusCode, body)
	}
}
