package portmux

import (
	"crypto/tls"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// peeked is a connection whose first bytes were looked at and are read again.
type peeked struct {
	net.Conn
	head []byte
}

// peek reads until Sniff decides or the read fails, and returns the connection
// with those bytes put back.
func peek(c net.Conn) (*peeked, Kind, error) {
	p := &peeked{Conn: c}
	buf := make([]byte, 0, sniffLen)
	for {
		n, err := c.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		p.head = buf
		if kind := Sniff(buf); kind != NeedMore {
			return p, kind, nil
		}
		if err != nil {
			return p, NeedMore, err
		}
	}
}

// Read returns the bytes that were looked at, then those of the connection.
func (p *peeked) Read(b []byte) (int, error) {
	if len(p.head) > 0 {
		n := copy(b, p.head)
		p.head = p.head[n:]
		return n, nil
	}
	return p.Conn.Read(b)
}

// NetConn is the connection below, for who wants to set options of its socket.
func (p *peeked) NetConn() net.Conn { return p.Conn }

// ReadFrom lets net/http send files without copying them through user space.
func (p *peeked) ReadFrom(r io.Reader) (int64, error) {
	if rf, ok := p.Conn.(io.ReaderFrom); ok {
		return rf.ReadFrom(r)
	}
	return io.Copy(struct{ io.Writer }{p.Conn}, r)
}

// secure is HTTP inside TLS. net/http asks a connection of another type than
// *tls.Conn for its state.
type secure struct {
	*peeked
	tls *tls.Conn
}

// ConnectionState returns what the handshake agreed on.
func (s *secure) ConnectionState() tls.ConnectionState { return s.tls.ConnectionState() }

// timedConn closes the connection when the other side does not take what is
// written within a limit: a client that has stopped reading must not hold the
// goroutine that serves others. A write that was cut short would break the
// framing, so the connection can't go on.
type timedConn struct {
	net.Conn
	limit time.Duration

	leave     func() // gives its place to another, called once
	leaveOnce sync.Once
}

// NetConn is the connection below, as of peeked.
func (t *timedConn) NetConn() net.Conn { return t.Conn }

// Close closes the connection and gives its place to another.
func (t *timedConn) Close() error {
	t.left()
	return t.Conn.Close()
}

func (t *timedConn) left() { t.leaveOnce.Do(t.leave) }

func (t *timedConn) Write(b []byte) (int, error) {
	if err := t.Conn.SetWriteDeadline(time.Now().Add(t.limit)); err != nil {
		return 0, err
	}
	n, err := t.Conn.Write(b)
	if err != nil {
		_ = t.Close()
		if os.IsTimeout(err) {
			return n, net.ErrClosed
		}
	}
	return n, err
}

// SetWriteDeadline does nothing: every write has the connection's own limit.
func (t *timedConn) SetWriteDeadline(time.Time) error { return nil }

// SetDeadline sets the read deadline.
func (t *timedConn) SetDeadline(d time.Time) error { return t.SetReadDeadline(d) }

// prepareMedia sets the options of an accepted connection that carries media:
// small writes go out at once, and little is buffered, so that congestion is
// felt as loss and not as seconds of delay. Failures only cost performance.
func prepareMedia(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetNoDelay(true)
		_ = tcp.SetWriteBuffer(mediaWriteBuffer)
	}
}

// reset closes c with a TCP reset, so that nothing of it stays in the kernel.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}
