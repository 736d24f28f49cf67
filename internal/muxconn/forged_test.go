package muxconn

import (
	"context"
	"net"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// transparent lets a socket be bound to an address the machine does not have.
func transparent(_, _ string, c syscall.RawConn) error {
	var opt error
	err := c.Control(func(fd uintptr) {
		opt = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_TRANSPARENT, 1)
	})
	if err != nil {
		return err
	}
	return opt
}

func TestDatagramWithAForgedVirtualSourceIsDropped(t *testing.T) {
	forger, err := (&net.ListenConfig{Control: transparent}).ListenPacket(context.Background(), "udp4", "198.18.0.7:4000")
	if err != nil {
		t.Fatalf("forging a source address needs CAP_NET_ADMIN: run as root: %v", err)
	}
	defer forger.Close()
	c := listen(t, "127.0.0.1:0", Config{})
	group(t, c)
	in := reads(t, c)
	honest, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer honest.Close()
	write(t, forger, "forged", c.local)
	write(t, honest, "honest", c.local)
	if d := next(t, in); d.data != "honest" {
		t.Errorf("read %q from %v", d.data, d.from)
	}
	if got := c.Stats().DroppedForged; got != 1 {
		t.Errorf("%d counted as forged, want 1", got)
	}
}
