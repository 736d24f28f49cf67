package turn

import (
	"net"
	"sync"
	"time"
)

// fiveTuple identifies a client's connection, as Pion's callbacks do.
type fiveTuple struct{ src, dst string }

// clients holds the TCP connections. Pion neither limits them in time nor
// closes them at the end.
type clients struct {
	mu      sync.Mutex
	conns   map[fiveTuple]*clientConn
	stopped bool
}

func newClients() *clients { return &clients{conns: make(map[fiveTuple]*clientConn)} }

func (c *clients) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.conns)
}

// add enters conn unless there are already most or the server has stopped.
func (c *clients) add(conn *clientConn, most int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped || len(c.conns) >= most {
		return false
	}
	c.conns[conn.tuple] = conn
	return true
}

func (c *clients) remove(conn *clientConn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conns[conn.tuple] == conn {
		delete(c.conns, conn.tuple)
	}
}

// allocated notes that a connection got or lost its allocation. UDP clients are
// not here.
func (c *clients) allocated(src, dst net.Addr, yes bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	conn := c.conns[fiveTuple{src.String(), dst.String()}]
	if conn == nil {
		return
	}
	if yes {
		conn.idle.Stop()
	} else {
		conn.idle.Reset(conn.srv.cfg.Idle)
	}
}

// stop closes every connection, and those to come.
func (c *clients) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	for _, conn := range c.conns {
		conn.abort()
	}
}

// tcpListener hands Pion connections that the Server knows about.
type tcpListener struct {
	net.Listener
	srv *Server
}

// Accept returns the next connection within the limit.
func (l *tcpListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			l.srv.stoppedReading(l.Addr(), err)
			return nil, err
		}
		c := newClientConn(l.srv, conn)
		if l.srv.clients.add(c, l.srv.cfg.MaxConnections) {
			return c, nil
		}
		l.srv.stats.denied[deniedConnections].Add(1)
		_ = c.Close()
	}
}

// clientConn is a client's TCP connection. Pion has one goroutine in its Read,
// which ends with Close.
type clientConn struct {
	net.Conn
	srv   *Server
	tuple fiveTuple
	in    *frameReader
	idle  *time.Timer // closes the connection when it has no allocation

	closeOnce sync.Once
}

func newClientConn(s *Server, conn net.Conn) *clientConn {
	c := &clientConn{
		Conn:  conn,
		srv:   s,
		tuple: fiveTuple{conn.RemoteAddr().String(), conn.LocalAddr().String()},
		in:    newFrameReader(conn),
	}
	s.wg.Add(1)
	c.idle = time.AfterFunc(s.cfg.Idle, c.abort)
	return c
}

// Read returns one whole frame, or an error that ends the connection.
func (c *clientConn) Read(b []byte) (int, error) {
	for {
		n, err := c.in.read(b)
		if err != nil {
			return n, err
		}
		if !intact(b[:n]) {
			c.srv.stats.dropped[dropMalformed].Add(1)
			continue
		}
		c.srv.secrets.look(b[:n], c.RemoteAddr())
		return n, nil
	}
}

// Write sends one whole frame.
func (c *clientConn) Write(b []byte) (int, error) {
	if _, err := c.Conn.Write(c.srv.bindKeys.answer(b, c.RemoteAddr())); err != nil {
		return 0, err
	}
	return len(b), nil
}

// abort closes the connection under Pion, which then ends its goroutine.
func (c *clientConn) abort() { _ = c.Conn.Close() }

// Close is called by Pion when it is done with the connection.
func (c *clientConn) Close() error {
	err := c.Conn.Close()
	c.closeOnce.Do(func() {
		c.idle.Stop()
		c.srv.clients.remove(c)
		c.srv.wg.Done()
	})
	return err
}
