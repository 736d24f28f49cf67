package trial

import (
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"

	"consilium/internal/netlab"
)

// front is a reverse proxy for HTTP, as nginx in front of a server is: pages
// and signalling pass, nothing else does.
type front struct {
	server *http.Server
	done   chan struct{}
}

func startFront(n netlab.Namespace, c *certificate) (*front, error) {
	listener, err := n.Listen("tcp", netlab.SecondIPv4+":443")
	if err != nil {
		return nil, err
	}
	pair, err := tls.LoadX509KeyPair(c.chain, c.key)
	if err != nil {
		return nil, fmt.Errorf("load certificate: %w", err)
	}
	pool, err := c.pool()
	if err != nil {
		return nil, err
	}
	target := &url.URL{Scheme: "https", Host: netlab.ServerIPv4 + ":443"}
	proxy := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = r.In.Host },
		Transport: &http.Transport{DialContext: n.Dial, TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: netlab.Host}},
		ErrorLog:  slog.NewLogLogger(slog.NewTextHandler(io.Discard, nil), slog.LevelError),
	}
	f := &front{done: make(chan struct{})}
	f.server = &http.Server{
		Handler: proxy, ReadHeaderTimeout: 10 * time.Second, ErrorLog: proxy.ErrorLog,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"http/1.1"}},
	}
	go func() {
		defer close(f.done)
		_ = f.server.ServeTLS(listener, "", "") // ends with close
	}()
	return f, nil
}

func (f *front) close() error {
	err := f.server.Close()
	<-f.done
	return err
}
