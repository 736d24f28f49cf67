package sfu

import (
	"errors"
	"strings"
	"testing"

	"github.com/pion/webrtc/v4"
)

func TestASecondPeerConnectionOnASessionIsRefusedWithWords(t *testing.T) {
	h := open(t, withMedia(t, Config{}))
	v := h.join(asPatient("p"))
	v.prepare(1, sound)
	first, connected := v.pc, make(chan struct{})
	first.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		if s == webrtc.PeerConnectionStateConnected {
			close(connected)
		}
	})
	v.negotiate(v.offer())
	<-connected

	v.prepare(1, sound) // as a page would that has lost its first one
	_, err := v.Offer(t.Context(), v.offer())
	if !errors.Is(err, ErrBadOffer) || !strings.Contains(err.Error(), "another PeerConnection") || !strings.Contains(err.Error(), "join again") {
		t.Fatalf("got %v, want a refusal that says what to do", err)
	}

	v.pc = first
	v.negotiate(v.offer())
	if state := first.ConnectionState(); state != webrtc.PeerConnectionStateConnected {
		t.Errorf("the first one is %s", state)
	}
}
