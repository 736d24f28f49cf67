package muxconn

import (
	"log/slog"
	"net"

	"golang.org/x/sys/unix"
)

// setBuffers asks the kernel for socket buffers and logs what it did not
// grant. Linux caps the sizes at net.core.rmem_max and wmem_max without an
// error, and reports twice what it granted (socket(7)).
func setBuffers(udp *net.UDPConn, read, write int, log *slog.Logger) {
	if err := udp.SetReadBuffer(read); err != nil {
		log.Warn("media socket: read buffer not set", "err", err)
	}
	if err := udp.SetWriteBuffer(write); err != nil {
		log.Warn("media socket: write buffer not set", "err", err)
	}
	raw, err := udp.SyscallConn()
	if err != nil {
		log.Warn("media socket: buffer sizes not known", "err", err)
		return
	}
	err = raw.Control(func(fd uintptr) {
		warnIfSmaller(int(fd), unix.SO_RCVBUF, read, "net.core.rmem_max", log)
		warnIfSmaller(int(fd), unix.SO_SNDBUF, write, "net.core.wmem_max", log)
	})
	if err != nil {
		log.Warn("media socket: buffer sizes not known", "err", err)
	}
}

func warnIfSmaller(fd, option, want int, sysctl string, log *slog.Logger) {
	got, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, option)
	if err != nil || got/2 >= want {
		return
	}
	log.Warn("media socket: the kernel granted a smaller buffer; bursts may be lost under load",
		"want_bytes", want, "got_bytes", got/2, "remedy", "raise "+sysctl)
}
