package netlab

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	// interceptPort is where the router leads TCP to port 443.
	interceptPort = "8443"
	// interceptHandshake is how long a client may take for TLS.
	interceptHandshake = 10 * time.Second
)

var errNotHTTP = errors.New("not HTTP")

// interceptor is a proxy that opens TLS, as companies and antivirus programs
// have it: it shows clients certificates of an authority of its own, reads what
// is inside as HTTP/1.1 and sends it on in TLS of its own. WebSockets (RFC 6455)
// pass; whatever else is in the TLS is reset.
type interceptor struct {
	*service
	namespace Namespace
	hosts     map[string]string // addresses by name
	roots     *x509.CertPool    // that servers are verified by
	authority *Authority

	mu    sync.Mutex
	shown map[string]*tls.Certificate // by name
}

func startInterceptor(n Namespace, hosts map[string]string, roots *x509.CertPool) (*interceptor, error) {
	authority, err := NewAuthority("intercepting proxy of the network lab")
	if err != nil {
		return nil, err
	}
	p := &interceptor{namespace: n, hosts: hosts, roots: roots, authority: authority, shown: map[string]*tls.Certificate{}}
	p.service, err = startService(n, ":"+interceptPort, func(conn net.Conn) {
		if p.serve(conn) != nil {
			reset(conn)
		}
	})
	return p, err
}

// reset lets the close that follows tell the client so.
func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // the connection is closed anyway
	}
}

// serve speaks with one client until he or the server ends. An error is a
// reason to reset.
func (p *interceptor) serve(conn net.Conn) error {
	client := tls.Server(conn, &tls.Config{GetCertificate: p.show, NextProtos: []string{"http/1.1"}})
	ctx, cancel := context.WithTimeout(context.Background(), interceptHandshake)
	defer cancel()
	if err := client.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("handshake: %w", err)
	}
	inside := bufio.NewReader(client)
	if err := methodAhead(inside); err != nil {
		return err
	}
	raw, err := p.dial(client.ConnectionState().ServerName)
	if err != nil {
		return err
	}
	if !p.keep(raw) {
		return nil
	}
	defer p.drop(raw)
	server := tls.Client(raw, &tls.Config{
		RootCAs: p.roots, ServerName: client.ConnectionState().ServerName, NextProtos: []string{"http/1.1"},
	})
	return exchange(stream{inside, client}, stream{bufio.NewReader(server), server})
}

// show returns the certificate that a client gets to see.
func (p *interceptor) show(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	name := hello.ServerName
	if _, known := p.hosts[name]; !known {
		return nil, fmt.Errorf("host %q is not known", name)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.shown[name]; c != nil {
		return c, nil
	}
	c, err := p.authority.Issue(name)
	if err == nil {
		p.shown[name] = c
	}
	return c, err
}

func (p *interceptor) dial(name string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), proxyDial)
	defer cancel()
	return p.namespace.Dial(ctx, "tcp", net.JoinHostPort(p.hosts[name], "443"))
}

// methodAhead reports an error unless a request may follow: methods in use are
// three capital letters or more. Reading on for the end of a line would wait
// for ever with most of what is not HTTP.
func methodAhead(r *bufio.Reader) error {
	head, err := r.Peek(3)
	if err != nil {
		return fmt.Errorf("wait for a request: %w", err)
	}
	for _, b := range head {
		if b < 'A' || b > 'Z' {
			return errNotHTTP
		}
	}
	return nil
}

// exchange carries requests and responses, one at a time, until one of them
// ends the connection or changes its protocol.
func exchange(client, server stream) error {
	inside, answers := client.reader.(*bufio.Reader), server.reader.(*bufio.Reader)
	for {
		if err := methodAhead(inside); err != nil {
			return err
		}
		request, err := http.ReadRequest(inside)
		if err != nil {
			return fmt.Errorf("read request: %w", err)
		}
		if err := request.Write(server.conn); err != nil {
			return fmt.Errorf("pass request on: %w", err)
		}
		response, err := http.ReadResponse(answers, request)
		if err != nil {
			return fmt.Errorf("read response: %w", err)
		}
		if response.StatusCode == http.StatusSwitchingProtocols {
			if !strings.EqualFold(response.Header.Get("Upgrade"), "websocket") {
				return errNotHTTP
			}
			if err := response.Write(client.conn); err != nil {
				return fmt.Errorf("pass response on: %w", err)
			}
			splice(client, server)
			return nil
		}
		err = response.Write(client.conn)
		_ = response.Body.Close() // read or not, it is over
		if err != nil {
			return fmt.Errorf("pass response on: %w", err)
		}
		if request.Close || response.Close {
			return nil
		}
	}
}
