//go:build !linux

package tunnel

import "net"

// limitUnsent does nothing where there is no way to.
func limitUnsent(*net.TCPConn) {}
