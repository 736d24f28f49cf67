package s3test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
)

// startProxy starts what stands before the server.
func (g *Gateway) startProxy(t *testing.T, socket string, secure bool) {
	t.Helper()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}}
	g.server = &httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: "s3"})
			r.Out.Host = r.In.Host // it is signed
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	g.proxy = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		g.requests = append(g.requests, describe(r))
		before := g.before
		g.mu.Unlock()
		if before == nil || !before(w, r) {
			g.server.ServeHTTP(w, r)
		}
	}))
	if secure {
		g.proxy.StartTLS()
	} else {
		g.proxy.Start()
	}
	t.Cleanup(func() {
		g.proxy.CloseClientConnections()
		g.proxy.Close()
		transport.CloseIdleConnections()
	})
}

// describe names a request: "PUT part 7", "POST upload key", "GET key".
func describe(r *http.Request) string {
	q, key := r.URL.Query(), strings.TrimPrefix(r.URL.Path, "/"+Bucket+"/")
	switch {
	case q.Has("partNumber"):
		return "PUT part " + q.Get("partNumber")
	case q.Has("uploadId"):
		return r.Method + " upload " + key
	case q.Has("uploads"):
		return r.Method + " uploads"
	}
	return r.Method + " " + key
}

// Seen returns the requests there were that begin with prefix: "PUT part 7",
// "POST uploads" (an upload begins), "POST upload key" (it is complete), "GET key".
func (g *Gateway) Seen(prefix string) (list []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, r := range g.requests {
		if strings.HasPrefix(r, prefix) {
			list = append(list, r)
		}
	}
	return list
}

// Forget forgets the requests there were.
func (g *Gateway) Forget() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.requests = nil
}

// HangUp closes the connection of a request, as a server that is down does.
func HangUp(w http.ResponseWriter, _ *http.Request) bool {
	c, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		_ = c.Close()
	}
	return true
}

// Late lets a request reach the server when its client has given up, and sends
// the status of the answer that nobody gets.
func (g *Gateway) Late(status chan<- int) Disturbance {
	return func(_ http.ResponseWriter, r *http.Request) bool {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return true // it had not even come whole
		}
		<-r.Context().Done()
		again := r.Clone(context.WithoutCancel(r.Context()))
		again.Body = io.NopCloser(bytes.NewReader(body))
		answer := httptest.NewRecorder()
		g.server.ServeHTTP(answer, again)
		status <- answer.Code
		return true
	}
}

// Hang takes a request and never answers it.
func Hang(_ http.ResponseWriter, r *http.Request) bool {
	_, _ = io.Copy(io.Discard, r.Body) // else nobody would see that the client has gone
	<-r.Context().Done()
	return true
}
