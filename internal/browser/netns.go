package browser

import (
	"context"
	"fmt"
	"net"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// dialIn dials from inside a network namespace; "" is our own.
func dialIn(ctx context.Context, netns, network, address string) (net.Conn, error) {
	var dialer net.Dialer
	if netns == "" {
		return dialer.DialContext(ctx, network, address)
	}
	type result struct {
		conn net.Conn
		err  error
	}
	done := make(chan result, 1)
	go func() {
		// The thread is never unlocked, so that it ends with this goroutine
		// and takes the namespace with it.
		runtime.LockOSThread()
		conn, err := enterAndDial(ctx, &dialer, netns, network, address)
		done <- result{conn, err}
	}()
	r := <-done
	return r.conn, r.err
}

func enterAndDial(ctx context.Context, dialer *net.Dialer, netns, network, address string) (net.Conn, error) {
	file, err := os.Open("/run/netns/" + netns)
	if err != nil {
		return nil, fmt.Errorf("open namespace: %w", err)
	}
	defer file.Close()
	if err := unix.Setns(int(file.Fd()), unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("enter namespace %s: %w", netns, err)
	}
	return dialer.DialContext(ctx, network, address)
}
