package netlab

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// proxyDial is how long the proxy tries to reach a destination.
const proxyDial = 5 * time.Second

// connectProxy is an HTTP proxy that knows CONNECT (RFC 9110, section 9.3.6)
// to port 443 of a few hosts, as companies have it.
type connectProxy struct {
	namespace Namespace
	listener  net.Listener
	hosts     map[string]string // addresses by name
	wg        sync.WaitGroup

	mu     sync.Mutex
	conns  map[net.Conn]bool
	closed bool
}

func startConnectProxy(n Namespace, address string, hosts map[string]string) (*connectProxy, error) {
	listener, err := n.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	p := &connectProxy{namespace: n, listener: listener, hosts: hosts, conns: map[net.Conn]bool{}}
	p.wg.Go(p.accept)
	return p, nil
}

func (p *connectProxy) accept() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return // closed
		}
		p.wg.Go(func() { p.serve(conn) })
	}
}

func (p *connectProxy) serve(client net.Conn) {
	if !p.keep(client) {
		return
	}
	defer p.drop(client)
	reader := bufio.NewReader(client)
	request, err := http.ReadRequest(reader)
	if err != nil {
		return
	}
	server, err := p.dial(request)
	if err != nil {
		_, _ = io.WriteString(client, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n") // the client hangs up anyway
		return
	}
	if !p.keep(server) {
		return
	}
	defer p.drop(server)
	if _, err := io.WriteString(client, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return
	}
	p.wg.Go(func() {
		_, _ = io.Copy(server, reader) // ends when either side does
		p.drop(server)
		p.drop(client)
	})
	_, _ = io.Copy(client, server) // as above
}

func (p *connectProxy) dial(r *http.Request) (net.Conn, error) {
	if r.Method != http.MethodConnect {
		return nil, errors.New("not CONNECT")
	}
	host, port, err := net.SplitHostPort(r.Host)
	if err != nil || port != "443" {
		return nil, errors.New("not port 443")
	}
	if address, ok := p.hosts[host]; ok {
		host = address
	}
	ctx, cancel := context.WithTimeout(context.Background(), proxyDial)
	defer cancel()
	return p.namespace.Dial(ctx, "tcp", net.JoinHostPort(host, port))
}

// keep notes a connection so that close ends it; false: closed already.
func (p *connectProxy) keep(conn net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		_ = conn.Close()
		return false
	}
	p.conns[conn] = true
	return true
}

func (p *connectProxy) drop(conn net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, conn)
	_ = conn.Close() // perhaps for the second time
}

func (p *connectProxy) close() error {
	err := p.listener.Close()
	p.mu.Lock()
	p.closed = true
	for conn := range p.conns {
		_ = conn.Close() // both sides may have gone
	}
	p.mu.Unlock()
	p.wg.Wait()
	return err
}
