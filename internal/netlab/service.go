package netlab

import (
	"net"
	"sync"
)

// service accepts TCP connections in a namespace. It owns the goroutines that
// serve them and the connections that those open.
type service struct {
	listener net.Listener
	wg       sync.WaitGroup

	mu     sync.Mutex
	conns  map[net.Conn]bool
	closed bool
}

// startService calls serve for each connection, in a goroutine of its own.
func startService(n Namespace, address string, serve func(net.Conn)) (*service, error) {
	listener, err := n.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	s := &service{listener: listener, conns: map[net.Conn]bool{}}
	s.wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // closed
			}
			if !s.keep(conn) {
				continue
			}
			s.wg.Go(func() {
				defer s.drop(conn)
				serve(conn)
			})
		}
	})
	return s, nil
}

// keep notes a connection so that close ends it; false: closed already, and so
// is the connection.
func (s *service) keep(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = conn.Close()
		return false
	}
	s.conns[conn] = true
	return true
}

// drop closes a connection, perhaps for the second time.
func (s *service) drop(conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, conn)
	_ = conn.Close()
}

// close ends everything and waits for it.
func (s *service) close() error {
	err := s.listener.Close()
	s.mu.Lock()
	s.closed = true
	for conn := range s.conns {
		_ = conn.Close() // both sides may have gone
	}
	s.mu.Unlock()
	s.wg.Wait()
	return err
}
