package tunnel

import (
	"net"

	"golang.org/x/sys/unix"
)

// unsentBytes is how much the kernel may hold that it has not sent yet.
const unsentBytes = 16 << 10

// limitUnsent sets TCP_NOTSENT_LOWAT. A kernel without it only makes a slow
// network worse, so a failure is no error.
func limitUnsent(c *net.TCPConn) {
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsentBytes)
	})
}
