package attack

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
)

// sink is a host that nobody may reach through the server: it counts the
// datagrams and connections that come.
type sink struct {
	udp, tcp netip.AddrPort
	reached  atomic.Int64
}

// newSink listens on an address of loopback.
func newSink(t *testing.T, ip string) *sink {
	t.Helper()
	udp, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(ip)})
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := net.Listen("tcp4", ip+":0")
	if err != nil {
		t.Fatal(err)
	}
	s := &sink{udp: udp.LocalAddr().(*net.UDPAddr).AddrPort(), tcp: tcp.Addr().(*net.TCPAddr).AddrPort()}
	var wg sync.WaitGroup
	wg.Go(func() {
		buf := make([]byte, 2048)
		for {
			if _, _, err := udp.ReadFrom(buf); err != nil {
				return
			}
			s.reached.Add(1)
		}
	})
	wg.Go(func() {
		for {
			conn, err := tcp.Accept()
			if err != nil {
				return
			}
			s.reached.Add(1)
			_ = conn.Close()
		}
	})
	t.Cleanup(func() {
		_, _ = udp.Close(), tcp.Close()
		wg.Wait()
	})
	return s
}

// wantNothing checks that nothing has come.
func (s *sink) wantNothing(t *testing.T) {
	t.Helper()
	if n := s.reached.Load(); n != 0 {
		t.Errorf("%d datagrams or connections have reached %v or %v", n, s.udp, s.tcp)
	}
}
