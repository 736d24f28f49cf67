package netlab

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"time"
)

// proxyDial is how long a proxy tries to reach a destination.
const proxyDial = 5 * time.Second

// connectProxy is an HTTP proxy that knows CONNECT (RFC 9110, section 9.3.6)
// to port 443 of a few hosts, as companies have it.
type connectProxy struct {
	*service
	namespace Namespace
	hosts     map[string]string // addresses by name
}

func startConnectProxy(n Namespace, address string, hosts map[string]string) (*connectProxy, error) {
	p := &connectProxy{namespace: n, hosts: hosts}
	var err error
	p.service, err = startService(n, address, func(conn net.Conn) { p.serve(conn) })
	return p, err
}

func (p *connectProxy) serve(client net.Conn) {
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
	splice(stream{reader, client}, stream{server, server})
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

// stream is a connection and what was read of it and not yet used.
type stream struct {
	reader io.Reader
	conn   net.Conn
}

// splice carries bytes both ways until either side ends; it closes both.
func splice(a, b stream) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		carryBytes(b, a)
	}()
	carryBytes(a, b)
	<-done
}

func carryBytes(from, to stream) {
	_, _ = io.Copy(to.conn, from.reader) // ends when either side does
	_ = from.conn.Close()
	_ = to.conn.Close()
}
