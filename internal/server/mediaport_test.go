package server

import (
	"log/slog"
	"net"
	"net/netip"
	"testing"
)

func TestAMediaPortOfTheKernelsChoiceIsTheSameAtEveryAddress(t *testing.T) {
	n := &network{addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.3")}}
	// Somebody else has taken much of what the kernel may choose at the last address, so that some choices fail there.
	for range 300 {
		taken, err := net.ListenPacket("udp4", "127.0.0.3:0")
		if err != nil {
			t.Fatal(err)
		}
		defer taken.Close()
	}
	for range 100 {
		conns, err := n.listenEverywhere(0, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		port := conns[0].LocalAddr().(*net.UDPAddr).Port
		for i, c := range conns {
			at := c.LocalAddr().(*net.UDPAddr)
			if at.Port != port || at.AddrPort().Addr().Unmap() != n.addresses[i] {
				t.Errorf("socket %d is at %v, want %v and port %d", i, at, n.addresses[i], port)
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}
