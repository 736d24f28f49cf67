package attack

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/pion/webrtc/v4"
)

// publisher is a WHIP client whose offer may be spoilt before it is sent.
type publisher struct {
	pc        *webrtc.PeerConnection
	connected chan struct{}
	status    int
	body      string // the answer
	location  string
	etag      string
}

// publish offers a microphone and a camera, in a room of its own. Settings and
// spoil may be nil.
func (c *child) publish(identity string, settings func(*webrtc.SettingEngine), spoil func(string) string) *publisher {
	c.t.Helper()
	p, text := c.offer(settings)
	if spoil != nil {
		text = spoil(text)
	}
	a := c.ask("POST", "/whip/"+identity, "Bearer "+token(c.t, identity, identity, "device"), text, "Content-Type: application/sdp")
	p.status, p.body, p.location, p.etag = a.status, a.body, a.header.Get("Location"), a.header.Get("ETag")
	return p
}

// publishOverSocket is publish with the WebSocket, whose messages may be longer.
func (c *child) publishOverSocket(identity string, spoil func(string) string) *publisher {
	c.t.Helper()
	p, text := c.offer(nil)
	dialer := websocket.Dialer{Subprotocols: []string{"consilium.v1"}, HandshakeTimeout: 10 * time.Second}
	conn, _, err := dialer.DialContext(c.t.Context(), strings.Replace(c.URL, "http", "ws", 1)+"/ws", nil)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = conn.Close() })
	type object = map[string]any
	for _, m := range []object{
		{"type": "hello", "body": object{"token": token(c.t, identity, identity, "patient")}},
		{"type": "offer", "seq": 1, "id": "o", "body": object{"sdp": spoil(text), "tracks": []any{}, "seats": []any{}}},
	} {
		if err := conn.WriteJSON(m); err != nil {
			c.t.Fatal(err)
		}
	}
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	for {
		var m struct {
			Type, Re string
			Body     json.RawMessage
		}
		if err := conn.ReadJSON(&m); err != nil {
			c.t.Fatal(err)
		}
		if m.Re != "o" {
			continue
		}
		var answer struct{ SDP string }
		if m.Type != "answer" || json.Unmarshal(m.Body, &answer) != nil {
			p.body = string(m.Body)
			return p
		}
		p.status, p.body = 201, answer.SDP
		return p
	}
}

// offer makes a client with a microphone and a camera, and its offer.
func (c *child) offer(settings func(*webrtc.SettingEngine)) (*publisher, string) {
	c.t.Helper()
	var engine webrtc.SettingEngine
	engine.SetIncludeLoopbackCandidate(true)
	engine.SetInterfaceFilter(func(name string) bool { return name == "lo" })
	engine.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	if settings != nil {
		settings(&engine)
	}
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(engine)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = pc.Close() })
	p := &publisher{pc: pc, connected: make(chan struct{})}
	pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		if s == webrtc.PeerConnectionStateConnected {
			close(p.connected)
		}
	})
	for _, kind := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeAudio, webrtc.RTPCodecTypeVideo} {
		init := webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly}
		if _, err := pc.AddTransceiverFromKind(kind, init); err != nil {
			c.t.Fatal(err)
		}
	}
	offer, err := pc.CreateOffer(nil)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := pc.SetLocalDescription(offer); err != nil {
		c.t.Fatal(err)
	}
	return p, offer.SDP
}

// wantConnected takes the answer and checks that media gets through.
func (p *publisher) wantConnected(t *testing.T, what string) {
	t.Helper()
	if p.status != 201 {
		t.Errorf("%s: the offer was answered by %d %s", what, p.status, p.body)
		return
	}
	answer := webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: p.body}
	if err := p.pc.SetRemoteDescription(answer); err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	select {
	case <-p.connected:
	case <-time.After(15 * time.Second):
		t.Errorf("%s: not connected within 15 s", what)
	}
}

// hostile candidates lead to the sinks, by address, by name and in disguise.
func hostile(udp, tcp netip.AddrPort) []string {
	ip, port, stream := udp.Addr(), udp.Port(), tcp.Port()
	return []string{
		fmt.Sprintf("1 1 udp 2130706431 %s %d typ host", ip, port),
		fmt.Sprintf("2 1 udp 1694498815 %s %d typ srflx raddr 0.0.0.0 rport 0", ip, port),
		fmt.Sprintf("3 1 udp 16777215 %s %d typ relay raddr 0.0.0.0 rport 0", ip, port),
		fmt.Sprintf("4 1 tcp 1518280447 %s %d typ host tcptype passive", ip, stream),
		fmt.Sprintf("5 1 tcp 1518280447 %s %d typ host tcptype so", ip, stream),
		fmt.Sprintf("6 1 tcp 1518280447 %s 9 typ host tcptype active", ip),
		fmt.Sprintf("7 1 udp 2130706431 ::ffff:%s %d typ host", ip, port),
		fmt.Sprintf("8 1 udp 2130706431 localhost %d typ host", port),
		fmt.Sprintf("9 1 tcp 1518280447 localhost %d typ host tcptype passive", stream),
		"10 1 udp 2130706431 sink.hospital.example 9 typ host",
		"11 1 udp 2130706431 0b1c2d3e-4f50-4a6b-8c7d-9e0f1a2b3c4d.local 9 typ host",
		fmt.Sprintf("12 1 udp 2130706431 %s 0 typ host", ip),
		fmt.Sprintf("13 1 udp 2130706431 %s 70000 typ host", ip),
		"14 1 udp 2130706431 fe80::1%lo 9 typ host",
		"15 1 udp 2130706431 10.0.0.1 53 typ host",
		"16 1 udp 2130706431 169.254.169.254 80 typ host",
		"17 1 udp 2130706431 255.255.255.255 9 typ host",
		"18 1 udp 2130706431 224.0.0.251 5353 typ host",
		"no candidate at all",
	}
}

func withCandidates(list []string) func(string) string {
	return func(sdp string) string {
		return strings.TrimSuffix(sdp, "\r\n") + "\r\na=candidate:" + strings.Join(list, "\r\na=candidate:") + "\r\n"
	}
}

func TestCandidatesOfAnOfferAreNeverUsed(t *testing.T) {
	c := serve(t, nil)
	target := newSink(t, "127.0.0.1")
	before := c.sockets()
	list := hostile(target.udp, target.tcp)
	for i, candidate := range list {
		c.publish(fmt.Sprint("each-", i), nil, withCandidates([]string{candidate})).wantConnected(t, candidate)
	}
	all := c.publish("all", nil, withCandidates(list))
	all.wantConnected(t, "all at once")
	many := slices.Repeat([]string{fmt.Sprintf("1 1 udp 1 127.0.0.1 %d typ host", target.udp.Port())}, 5000)
	if p := c.publish("many", nil, withCandidates(many)); p.status != 413 {
		t.Errorf("5000 candidates, more than a message may have: %d, want 413", p.status)
	}
	c.publish("fewer", nil, withCandidates(many[:1200])).wantConnected(t, "1200 candidates")
	c.publishOverSocket("socket", withCandidates(many)).wantConnected(t, "5000 candidates over the socket")
	lines := c.publish("lines", nil, func(sdp string) string {
		return strings.ReplaceAll(sdp, "c=IN IP4 0.0.0.0", "c=IN IP4 127.0.0.1")
	})
	lines.wantConnected(t, "an address in c=")
	trickled := c.publish("trickled", nil, nil)
	trickled.trickle(t, c, list)
	trickled.wantConnected(t, "trickled")
	pause(time.Second) // an agent would have sent its checks by now
	target.wantNothing(t)
	if now := c.sockets(); now != before {
		t.Errorf("the server had %+v and has %+v", before, now)
	}
}

// trickle sends candidates after the offer (RFC 8840).
func (p *publisher) trickle(t *testing.T, c *child, list []string) {
	t.Helper()
	local := p.pc.LocalDescription().SDP
	for _, candidate := range list {
		fragment := fmt.Sprintf("a=ice-ufrag:%s\r\na=ice-pwd:%s\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\na=candidate:%s\r\n",
			attribute(local, "ice-ufrag"), attribute(local, "ice-pwd"), candidate)
		a := c.ask("PATCH", p.location, "Bearer "+token(t, "trickled", "trickled", "device"), fragment,
			"Content-Type: application/trickle-ice-sdpfrag", "If-Match: "+p.etag)
		if a.status != 204 && a.status/100 != 4 {
			t.Errorf("trickling %q: %d %s", candidate, a.status, a.body)
		}
	}
}

// attribute returns the value of the first attribute of a name in an SDP.
func attribute(sdp, name string) string {
	for line := range strings.Lines(sdp) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), "a="+name+":"); ok {
			return value
		}
	}
	return ""
}

func TestUserFragmentsOfOthersAreNoUse(t *testing.T) {
	t.Parallel() // it waits, mostly
	c := serve(t, nil)
	call := c.call(nil)
	same := func(e *webrtc.SettingEngine) {
		e.SetICECredentials("samesamesamesame", "a password that both have chosen")
	}
	ours := map[string]bool{}
	call.measure("offers with one user fragment", func() {
		var all []*publisher
		for i := range 5 { // clients choose what they like: the server's are what counts
			p := c.publish(fmt.Sprint("twin-", i), same, nil)
			all = append(all, p)
			p.wantConnected(t, fmt.Sprint("twin ", i))
			ours[attribute(p.body, "ice-ufrag")] = true
		}
		first := attribute(all[0].body, "ice-ufrag") // the server's own, offered to it
		mirror := func(e *webrtc.SettingEngine) { e.SetICECredentials(first, attribute(all[0].body, "ice-pwd")) }
		c.publish("mirror", mirror, nil).wantConnected(t, "the fragment of a live session of the server")
	})
	if len(ours) != 5 || ours[""] {
		t.Errorf("the server has chosen %d user fragments for 5 sessions", len(ours))
	}
	for name, ufrag := range map[string]string{"empty": "", "short": "abc", "long": strings.Repeat("u", 300), "with a colon": "ab:cd", "with a NUL": "ab\x00d"} {
		p := c.publish("odd", nil, func(sdp string) string {
			return strings.ReplaceAll(sdp, "a=ice-ufrag:"+attribute(sdp, "ice-ufrag"), "a=ice-ufrag:"+ufrag)
		})
		if p.status/100 == 5 {
			t.Errorf("a user fragment that is %s: %d %s", name, p.status, p.body)
		}
	}
	call.wantMedia()
}
