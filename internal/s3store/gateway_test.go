package s3store

import (
	"context"
	"encoding/pem"
	"fmt"
	"go/build"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
)

const (
	testBucket = "recordings"
	testAccess = "access"
	testSecret = "secretsecret"
	testPart   = 5 << 20 // the least S3 takes
)

// gateway is a real S3 server, versitygw, whose objects are files, behind a
// proxy that counts, disturbs and cuts.
type gateway struct {
	t       *testing.T
	dir     string // of the objects
	process *exec.Cmd
	proxy   *httptest.Server

	mu       sync.Mutex
	requests []string
	before   func(w http.ResponseWriter, r *http.Request) bool // true: it has answered
}

// program returns where versitygw is.
func program(t *testing.T) string {
	t.Helper()
	if path, err := exec.LookPath("versitygw"); err == nil {
		return path
	}
	for _, dir := range []string{os.Getenv("GOBIN"), filepath.Join(build.Default.GOPATH, "bin")} {
		if path := filepath.Join(dir, "versitygw"); dir != "" {
			if _, err := os.Stat(path); err == nil {
				return path
			}
		}
	}
	t.Fatal("versitygw, the S3 server of these tests, is not installed: run .ci/install")
	return ""
}

// startGateway starts a server with an empty bucket. A size bounds its disk.
func startGateway(t *testing.T, size string, secure bool) *gateway {
	t.Helper()
	g := &gateway{t: t, dir: t.TempDir()}
	socketDir, err := os.MkdirTemp("", "s3") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(socketDir) })
	socket := filepath.Join(socketDir, "s")
	args := []string{
		program(t), "--access", testAccess, "--secret", testSecret, "--quiet", "--port", socket,
		"posix", "--versioning-dir", g.dir + "/versions", g.dir + "/objects",
	}
	if size != "" {
		args = append([]string{
			"unshare", "--mount", "--map-root-user", "sh", "-c",
			`mount -t tmpfs -o size="$0" tmpfs "$1" && mkdir "$1/objects" "$1/versions" && shift && exec "$@"`, size, g.dir,
		}, args...)
	}
	for _, d := range []string{"/objects", "/versions"} {
		if err := os.Mkdir(g.dir+d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	g.process = exec.Command(args[0], args[1:]...)
	log, err := os.Create(filepath.Join(socketDir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	g.process.Stdout, g.process.Stderr = log, log
	if err := g.process.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() { _ = g.process.Wait(); close(exited) }()
	t.Cleanup(func() { _ = g.process.Process.Kill(); <-exited })
	waitFor(t, "the S3 server to listen", func() bool {
		select {
		case <-exited:
			text, _ := os.ReadFile(log.Name())
			t.Fatalf("versitygw ended:\n%s", text)
		default:
		}
		c, err := net.Dial("unix", socket)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	g.serve(socket, secure)
	s := g.store(nil)
	defer s.Close()
	if err := s.core.MakeBucket(t.Context(), testBucket, minio.MakeBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	g.forget()
	return g
}

// serve starts the proxy.
func (g *gateway) serve(socket string, secure bool) {
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}}
	proxy := &httputil.ReverseProxy{
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
			proxy.ServeHTTP(w, r)
		}
	}))
	if secure {
		g.proxy.StartTLS()
	} else {
		g.proxy.Start()
	}
	g.t.Cleanup(func() {
		g.proxy.CloseClientConnections()
		g.proxy.Close()
		transport.CloseIdleConnections()
	})
}

// describe names a request: "PUT part 7", "GET", "POST complete".
func describe(r *http.Request) string {
	q := r.URL.Query()
	switch {
	case q.Has("partNumber"):
		return "PUT part " + q.Get("partNumber")
	case q.Has("uploadId"):
		return r.Method + " upload"
	case q.Has("uploads"):
		return r.Method + " uploads"
	}
	return r.Method
}

// disturb puts a function in front of the server; nil takes it away.
func (g *gateway) disturb(before func(w http.ResponseWriter, r *http.Request) bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.before = before
}

// seen returns the requests there were, without reading and beginning.
func (g *gateway) seen(prefix string) (list []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, r := range g.requests {
		if strings.HasPrefix(r, prefix) {
			list = append(list, r)
		}
	}
	return list
}

func (g *gateway) forget() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.requests = nil
}

// config returns how to reach the server.
func (g *gateway) config() Config {
	c := Config{
		Endpoint: g.proxy.URL, Bucket: testBucket, AccessKey: testAccess, SecretKey: testSecret, PathStyle: true,
		Stall: 20 * time.Second,
	}
	if cert := g.proxy.Certificate(); cert != nil {
		c.CA = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
	}
	return c
}

// store returns a client, changed by change.
func (g *gateway) store(change func(*Config)) *Store {
	g.t.Helper()
	c := g.config()
	if change != nil {
		change(&c)
	}
	s, err := New(c)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(s.Close)
	return s
}

// object returns the file of an object.
func (g *gateway) object(key string) string { return filepath.Join(g.dir, "objects", testBucket, key) }

// hangUp closes the connection of a request, as a server that is down does.
func hangUp(w http.ResponseWriter, _ *http.Request) bool {
	c, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		_ = c.Close()
	}
	return true
}

// hang takes a request and never answers it.
func hang(_ http.ResponseWriter, r *http.Request) bool {
	_, _ = io.Copy(io.Discard, r.Body) // else nobody would see that the client has gone
	<-r.Context().Done()
	return true
}

// waitFor waits until something is so.
func waitFor(t *testing.T, what string, so func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !so() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal(fmt.Errorf("no end of waiting for %s: %w", what, ctx.Err()))
		}
	}
}
