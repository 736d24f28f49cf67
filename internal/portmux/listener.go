package portmux

import (
	"net"
	"sync"
	"time"
)

// backlog is how many decided connections may wait to be accepted. When it is
// full, a connection waits for the rest of its deadline and is then closed.
const backlog = 64

// listener is a net.Listener fed by the Mux.
type listener struct {
	addr net.Addr
	// conns is written by the goroutines that sniff and read by whoever
	// accepts.
	conns     chan net.Conn
	closed    chan struct{}
	closeOnce sync.Once
}

func newListener(addr net.Addr) *listener {
	return &listener{addr: addr, conns: make(chan net.Conn, backlog), closed: make(chan struct{})}
}

// Accept returns the next connection, or net.ErrClosed.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case <-l.closed:
		return nil, net.ErrClosed
	default:
	}
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close ends Accept. Connections of this kind are closed from now on.
func (l *listener) Close() error {
	l.closeOnce.Do(func() { close(l.closed) })
	return nil
}

// Addr returns the address the listener stands for.
func (l *listener) Addr() net.Addr { return l.addr }

// offer hands c over and reports whether it was taken.
func (l *listener) offer(c net.Conn, until time.Time) bool {
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-l.closed:
		return false
	default:
	}
	select {
	case l.conns <- c:
		return true
	case <-l.closed:
		return false
	case <-timer.C:
		return false
	}
}

// discard closes what nobody will accept any more. It is called when no
// goroutine offers any longer.
func (l *listener) discard() {
	for {
		select {
		case c := <-l.conns:
			_ = c.Close()
		default:
			return
		}
	}
}
