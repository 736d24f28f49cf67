package turn

import (
	"net/netip"
	"testing"

	"github.com/pion/stun/v4"
)

func TestDeniedChannelBindIsAnsweredWithASignature(t *testing.T) {
	b := start(t, nil)
	for network, to := range map[string]netip.AddrPort{"udp": b.udp, "tcp": b.tcp} {
		c := dialRaw(t, network, to, b.mint(t, Session, "s1"))
		c.allocate()
		key := stun.NewLongTermIntegrity(c.cred.Username, c.realm, c.cred.Password)
		code, answer := c.request(stun.MethodChannelBind, channelAttr(0x4000), peerAttr(netip.MustParseAddrPort("10.0.0.1:9")))
		if code != 403 {
			t.Errorf("over %s: %d, want 403", network, code)
		} else if err := key.Check(answer); err != nil {
			t.Errorf("over %s: %v", network, err)
		}
		if code, _ := c.request(stun.MethodChannelBind, channelAttr(0x4000), peerAttr(b.media.Advertised()[0])); code != 0 {
			t.Errorf("over %s, to the SFU: %d", network, code)
		}
		c.cred.Password = "wrong"
		code, answer = c.request(stun.MethodChannelBind, channelAttr(0x4000), peerAttr(netip.MustParseAddrPort("10.0.0.1:9")))
		if code != 401 || !answer.Contains(stun.AttrNonce) {
			t.Errorf("over %s, with a wrong password: %d, want 401 with a nonce", network, code)
		}
	}
	if n := len(b.bindKeys.by); n != 0 {
		t.Errorf("%d keys are remembered", n)
	}
}
