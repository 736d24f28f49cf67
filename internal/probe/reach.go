package probe

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"consilium/internal/event"
)

// reach looks the name up and connects to the port, directly and through the
// proxy if there is one. It reports whether one of the two works.
func (p *prober) reach(ctx context.Context) bool {
	if p.lookUp(ctx) {
		p.direct = p.connect(ctx)
	}
	return p.throughProxy(ctx) || p.direct
}

// lookUp finds the addresses of the server.
func (p *prober) lookUp(ctx context.Context) bool {
	begun := time.Now()
	if a, err := netip.ParseAddr(p.host); err == nil {
		p.addresses = []netip.Addr{a}
		p.skip(CheckDNS, "the URL has an address, no name")
		return true
	}
	ctx, cancel := p.step(ctx)
	defer cancel()
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", p.host)
	if err != nil || len(found) == 0 {
		words := fmt.Sprintf("%s has no address; check its spelling and this machine's DNS", p.host)
		if missing := (*net.DNSError)(nil); errors.As(err, &missing) && !missing.IsNotFound {
			words = fmt.Sprintf("the DNS server of this machine gives no answer for %s", p.host)
		}
		p.fail(CheckDNS, begun, event.NoRoute, words)
		return false
	}
	for _, a := range found {
		if a = a.Unmap(); !slices.Contains(p.addresses, a) {
			p.addresses = append(p.addresses, a)
		}
	}
	p.ok(CheckDNS, begun, p.host+" is "+list(p.addresses))
	return true
}

// connect tries the TCP port on every address at once; one is enough.
func (p *prober) connect(ctx context.Context) bool {
	begun := time.Now()
	ctx, cancel := p.step(ctx)
	defer cancel()
	var all sync.WaitGroup
	var mu sync.Mutex
	var works, fails []string
	for _, a := range p.addresses {
		all.Go(func() {
			conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(a.String(), p.port))
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				fails = append(fails, a.String()+": "+cause(err))
				return
			}
			_ = conn.Close() // nothing was sent
			works = append(works, a.String())
		})
	}
	all.Wait()
	slices.Sort(works)
	slices.Sort(fails)
	if len(works) == 0 {
		p.fail(CheckPort, begun, event.NoRoute, fmt.Sprintf("TCP port %s can't be reached (%s); check that the server runs and that no firewall is between",
			p.port, strings.Join(fails, ", ")))
		return false
	}
	words := fmt.Sprintf("TCP port %s of %s", p.port, strings.Join(works, ", "))
	if len(fails) > 0 {
		words += "; not " + strings.Join(fails, ", ")
	}
	p.ok(CheckPort, begun, words)
	return true
}

// throughProxy asks the proxy for a tunnel to the server.
func (p *prober) throughProxy(ctx context.Context) bool {
	if p.proxy == nil {
		p.skip(CheckProxy, "the environment names none for this server")
		return false
	}
	begun := time.Now()
	ctx, cancel := p.step(ctx)
	defer cancel()
	conn, err := connectThrough(ctx, p.proxy, p.address())
	if err != nil {
		p.fail(CheckProxy, begun, event.NoRoute, fmt.Sprintf("%s: %s", p.proxy.Host, cause(err)))
		return false
	}
	_ = conn.Close() // nothing was sent
	p.ok(CheckProxy, begun, "HTTP CONNECT through "+p.proxy.Host)
	return true
}

// dial connects to a TCP port of the server the way browsers do: through the
// proxy if there is one.
func (p *prober) dial(ctx context.Context, address string) (net.Conn, error) {
	if p.proxy != nil {
		return connectThrough(ctx, p.proxy, address)
	}
	return (&net.Dialer{}).DialContext(ctx, "tcp", address)
}

// connectThrough opens a connection through an HTTP proxy (RFC 9110, section 9.3.6).
func connectThrough(ctx context.Context, proxy *url.URL, address string) (_ net.Conn, err error) {
	at := proxy.Host
	if proxy.Port() == "" {
		at = net.JoinHostPort(proxy.Hostname(), map[string]string{"https": "443"}[proxy.Scheme])
		if proxy.Scheme != "https" {
			at = net.JoinHostPort(proxy.Hostname(), "80")
		}
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", at)
	if err != nil {
		return nil, fmt.Errorf("connect to the proxy: %w", err)
	}
	release := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer func() {
		if !release() && err == nil {
			err = ctx.Err()
		}
		if err != nil {
			_ = conn.Close()
		}
	}()
	if proxy.Scheme == "https" {
		conn = tls.Client(conn, &tls.Config{ServerName: proxy.Hostname(), MinVersion: tls.VersionTLS12})
	}
	request := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: address}, Host: address, Header: http.Header{}}
	if u := proxy.User; u != nil {
		password, _ := u.Password()
		request.Header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(u.Username()+":"+password)))
	}
	if err := request.Write(conn); err != nil {
		return nil, fmt.Errorf("ask the proxy: %w", err)
	}
	// The server behind it says nothing before we do: no byte of it is lost in
	// the buffer.
	response, err := http.ReadResponse(bufio.NewReader(conn), request)
	if err != nil {
		return nil, fmt.Errorf("read the answer of the proxy: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the proxy refuses CONNECT to %s: %s", address, response.Status)
	}
	return conn, nil
}
