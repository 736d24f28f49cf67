package muxconn

import (
	"errors"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// readWaiting reads a datagram that waits at the socket already. If there is
// none it returns os.ErrDeadlineExceeded, without waiting.
func readWaiting(udp *net.UDPConn, b []byte) (int, netip.AddrPort, error) {
	raw, err := udp.SyscallConn()
	if err != nil {
		return 0, netip.AddrPort{}, err
	}
	var n int
	var from unix.Sockaddr
	var recvErr error
	err = raw.Read(func(fd uintptr) bool {
		n, from, recvErr = unix.Recvfrom(int(fd), b, unix.MSG_DONTWAIT)
		return true
	})
	switch {
	case err != nil: // closed, or a late wake-up
		return 0, netip.AddrPort{}, err
	case errors.Is(recvErr, unix.EAGAIN), errors.Is(recvErr, unix.EINTR):
		return 0, netip.AddrPort{}, os.ErrDeadlineExceeded
	case recvErr != nil:
		return 0, netip.AddrPort{}, os.NewSyscallError("recvfrom", recvErr)
	}
	switch a := from.(type) {
	case *unix.SockaddrInet4:
		return n, netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)), nil
	case *unix.SockaddrInet6:
		return n, netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port)), nil
	default:
		return 0, netip.AddrPort{}, os.ErrDeadlineExceeded
	}
}
