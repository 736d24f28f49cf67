package sfu

import (
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/webrtc/v4"
)

// heardAt is a remote candidate that was last heard at a time.
type heardAt struct {
	at      time.Time
	network ice.NetworkType
	kind    ice.CandidateType
}

func (h heardAt) LastReceived() time.Time      { return h.at }
func (h heardAt) NetworkType() ice.NetworkType { return h.network }
func (h heardAt) Type() ice.CandidateType      { return h.kind }

func TestOnlyASilentPathIsLeftForTheClientsNewAddress(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	prflx := func(age time.Duration, network ice.NetworkType) heardAt {
		return heardAt{now.Add(-age), network, ice.CandidateTypePeerReflexive}
	}
	old, fresh := transportAddress{"udp", "192.0.2.1", 1000}, transportAddress{"udp", "192.0.2.1", 2000}
	for name, c := range map[string]struct {
		current, next heardAt
		from          transportAddress
		nominates     bool
		want          bool
	}{
		"silent for 2 s":                    {prflx(2*time.Second, ice.NetworkTypeUDP4), prflx(0, ice.NetworkTypeUDP4), fresh, false, true},
		"heard a second ago":                {prflx(time.Second, ice.NetworkTypeUDP4), prflx(0, ice.NetworkTypeUDP4), fresh, false, false},
		"the same address":                  {prflx(2*time.Second, ice.NetworkTypeUDP4), prflx(0, ice.NetworkTypeUDP4), old, false, false},
		"another network type, nominated":   {prflx(2*time.Second, ice.NetworkTypeUDP4), prflx(0, ice.NetworkTypeTCP4), fresh, true, true},
		"nominated, but heard a second ago": {prflx(time.Second, ice.NetworkTypeUDP4), prflx(0, ice.NetworkTypeTCP4), fresh, true, false},
		"another network type":              {prflx(2*time.Second, ice.NetworkTypeUDP4), prflx(0, ice.NetworkTypeTCP4), fresh, false, false},
		"not peer-reflexive":                {prflx(2*time.Second, ice.NetworkTypeUDP4), heardAt{now, ice.NetworkTypeUDP4, ice.CandidateTypeHost}, fresh, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFollower(slog.New(slog.DiscardHandler))
			f.now = func() time.Time { return now }
			f.check(old, c.current, false)
			f.selectedChanged(old)
			if got := f.check(c.from, c.next, c.nominates); got != c.want {
				t.Errorf("followed: %v, want %v", got, c.want)
			}
		})
	}
}

func TestAnICERestartIsNoMove(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	f := newFollower(slog.New(slog.DiscardHandler))
	f.now = func() time.Time { return now }
	old, fresh := transportAddress{"udp", "192.0.2.1", 1000}, transportAddress{"udp", "192.0.2.1", 2000}
	heard := func(age time.Duration) heardAt {
		return heardAt{now.Add(-age), ice.NetworkTypeUDP4, ice.CandidateTypePeerReflexive}
	}
	f.generation("server1:client1")
	f.check(old, heard(5*time.Second), true)
	f.selectedChanged(old)
	f.generation("server2:client2")
	if f.check(fresh, heard(0), false) {
		t.Error("the first check after a restart was followed")
	}
	f.selectedChanged(old)
	f.check(old, heard(5*time.Second), true)
	f.generation("server2:client2")
	if !f.check(fresh, heard(0), false) {
		t.Error("a move after the restart was not followed")
	}
}

func TestFollowerRemembersABoundedNumberOfAddresses(t *testing.T) {
	f := newFollower(slog.New(slog.DiscardHandler))
	selected := transportAddress{"udp", "192.0.2.1", 1}
	f.selectedChanged(selected)
	for port := range 10 * followRemotes {
		at := time.Unix(int64(port), 0)
		f.check(transportAddress{"udp", "192.0.2.1", port + 1}, heardAt{at, ice.NetworkTypeUDP4, ice.CandidateTypePeerReflexive}, false)
	}
	if n := len(f.remotes); n > followRemotes {
		t.Errorf("%d addresses are remembered, want at most %d", n, followRemotes)
	}
	if f.remotes[f.selected] == nil {
		t.Error("the selected address was forgotten")
	}
}

// movingConn is a client's socket behind a NAT: move gives it another address.
type movingConn struct {
	mu   sync.Mutex
	conn *net.UDPConn
}

func newMovingConn(t *testing.T) *movingConn {
	t.Helper()
	c := &movingConn{}
	c.move(t)
	return c
}

func (c *movingConn) move(t *testing.T) {
	t.Helper()
	next, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	old := c.conn
	c.conn = next
	c.mu.Unlock()
	if old != nil {
		_ = old.Close()
	}
}

func (c *movingConn) now() *net.UDPConn {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.conn
}

func (c *movingConn) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		conn := c.now()
		n, from, err := conn.ReadFrom(b)
		if err == nil || conn == c.now() {
			return n, from, err
		}
	}
}

func (c *movingConn) WriteTo(b []byte, to net.Addr) (int, error) { return c.now().WriteTo(b, to) }
func (c *movingConn) Close() error                               { return c.now().Close() }
func (c *movingConn) LocalAddr() net.Addr                        { return c.now().LocalAddr() }
func (c *movingConn) SetDeadline(at time.Time) error             { return c.now().SetDeadline(at) }
func (c *movingConn) SetReadDeadline(at time.Time) error         { return c.now().SetReadDeadline(at) }
func (c *movingConn) SetWriteDeadline(at time.Time) error        { return c.now().SetWriteDeadline(at) }

// followedPair is a client behind moving and a server that follows it and
// echoes what comes over data channels.
func followedPair(t *testing.T, moving net.PacketConn, lite bool) (client, server *webrtc.PeerConnection) {
	t.Helper()
	open := func(se *webrtc.SettingEngine) *webrtc.PeerConnection {
		se.SetIncludeLoopbackCandidate(true)
		se.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
		pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(*se)).NewPeerConnection(webrtc.Configuration{})
		must(t, err)
		t.Cleanup(func() { _ = pc.Close() })
		return pc
	}
	var clientSide, serverSide webrtc.SettingEngine
	mux := ice.NewUDPMuxDefault(ice.UDPMuxParams{UDPConn: moving})
	t.Cleanup(func() { _ = mux.Close() })
	clientSide.SetICEUDPMux(mux)
	serverSide.SetInterfaceFilter(func(name string) bool { return name == "lo" })
	must(t, serverSide.SetAnsweringDTLSRole(webrtc.DTLSRoleServer))
	serverSide.SetLite(lite)
	follow := newFollower(slog.New(slog.DiscardHandler))
	follow.install(&serverSide)
	client, server = open(&clientSide), open(&serverSide)
	follow.watch(server.SCTP().Transport().ICETransport())
	server.OnDataChannel(func(d *webrtc.DataChannel) {
		d.OnMessage(func(m webrtc.DataChannelMessage) { _ = d.Send(m.Data) }) // closed at the end
	})
	return client, server
}

func exchange(t *testing.T, client, server *webrtc.PeerConnection) {
	t.Helper()
	describe := func(from, to *webrtc.PeerConnection, d webrtc.SessionDescription, err error) {
		must(t, err)
		gathered := webrtc.GatheringCompletePromise(from)
		must(t, from.SetLocalDescription(d))
		<-gathered
		must(t, to.SetRemoteDescription(*from.LocalDescription()))
	}
	offer, err := client.CreateOffer(nil)
	// As in life, the server gets no candidates: what it learns is peer-reflexive.
	must(t, err)
	must(t, client.SetLocalDescription(offer))
	must(t, server.SetRemoteDescription(offer))
	answer, err := server.CreateAnswer(nil)
	describe(server, client, answer, err)
}

// TestAClientWhoseAddressChangesIsFollowed lets Pion's own client, which like
// Firefox never nominates again, come from another port in mid-call.
func TestAClientWhoseAddressChangesIsFollowed(t *testing.T) {
	for name, lite := range map[string]bool{"by a full agent": false, "by a lite agent": true} {
		t.Run(name, func(t *testing.T) { followsAMove(t, lite) })
	}
}

func followsAMove(t *testing.T, lite bool) {
	moving := newMovingConn(t)
	client, server := followedPair(t, moving, lite)
	channel, err := client.CreateDataChannel("echo", nil)
	must(t, err)
	heard := make(chan struct{}, 1)
	channel.OnMessage(func(webrtc.DataChannelMessage) {
		select {
		case heard <- struct{}{}:
		default:
		}
	})
	exchange(t, client, server)
	echoes := func(limit time.Duration) bool {
		timeout, tick := time.After(limit), time.NewTicker(50*time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				_ = channel.SendText("x") // not open yet: tried again
			case <-heard:
				return true
			case <-timeout:
				return false
			}
		}
	}
	if !echoes(10 * time.Second) {
		t.Fatal("no echo before the move")
	}
	moving.move(t)
	moved := time.Now()
	for len(heard) > 0 {
		<-heard
	}
	if !echoes(10 * time.Second) {
		t.Fatal("no echo after the move: the server still sends to the old address")
	}
	t.Logf("the server followed after %v", time.Since(moved).Round(time.Millisecond))
}
