// Package s3test starts a real S3 server for tests: versitygw, whose objects
// are files, behind a proxy that counts, disturbs and cuts. Only tests import
// it.
package s3test

import (
	"context"
	"fmt"
	"go/build"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// What a Gateway takes.
const (
	Bucket = "recordings"
	Access = "access"
	Secret = "secretsecret"
)

const listenTime = time.Minute

// Options of a Gateway.
type Options struct {
	Size      string // of its disk, "12m"; "": that of the machine
	Secure    bool   // it speaks TLS, with a certificate of its own
	Versioned bool   // the bucket keeps every version
}

// Gateway is an S3 server with one bucket.
type Gateway struct {
	dir    string       // of the objects
	server http.Handler // passes requests on, undisturbed
	proxy  *httptest.Server
	client *minio.Client

	mu       sync.Mutex
	requests []string
	before   Disturbance
}

// program returns where versitygw is.
func program(t *testing.T) string {
	t.Helper()
	if path, err := exec.LookPath("versitygw"); err == nil {
		return path
	}
	for _, dir := range []string{os.Getenv("GOBIN"), filepath.Join(build.Default.GOPATH, "bin")} {
		path := filepath.Join(dir, "versitygw")
		if _, err := os.Stat(path); dir != "" && err == nil {
			return path
		}
	}
	t.Fatal("versitygw, the S3 server of these tests, is not installed: run .ci/install")
	return ""
}

// Start starts a server with an empty bucket; it ends with the test.
func Start(t *testing.T, o Options) *Gateway {
	t.Helper()
	g := &Gateway{dir: t.TempDir()}
	socket := g.startProcess(t, o.Size)
	g.startProxy(t, socket, o.Secure)
	client, err := minio.New(g.proxy.Listener.Addr().String(), &minio.Options{
		Creds:  credentials.NewStaticV4(Access, Secret, ""),
		Secure: o.Secure, Transport: g.proxy.Client().Transport,
	})
	if err == nil {
		err = client.MakeBucket(t.Context(), Bucket, minio.MakeBucketOptions{})
	}
	if err == nil && o.Versioned {
		err = client.EnableVersioning(t.Context(), Bucket)
	}
	if err != nil {
		t.Fatal("make bucket: ", err)
	}
	g.client = client
	g.Forget()
	return g
}

// Versions lists every version of every object, and what hides them.
func (g *Gateway) Versions(t *testing.T) (list []string) {
	t.Helper()
	for o := range g.client.ListObjectsIter(t.Context(), Bucket, minio.ListObjectsOptions{WithVersions: true, Recursive: true}) {
		if o.Err != nil {
			t.Fatal(o.Err)
		}
		list = append(list, fmt.Sprintf("%s %s %d deleted=%v", o.Key, o.VersionID, o.Size, o.IsDeleteMarker))
	}
	return list
}

// startProcess starts the server and returns the socket it listens on.
func (g *Gateway) startProcess(t *testing.T, size string) (socket string) {
	t.Helper()
	socketDir, err := os.MkdirTemp("", "s3") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(socketDir) })
	socket = filepath.Join(socketDir, "s")
	args := []string{
		program(t), "--access", Access, "--secret", Secret, "--quiet", "--port", socket,
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
	log, err := os.Create(filepath.Join(socketDir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	process := exec.Command(args[0], args[1:]...)
	process.Stdout, process.Stderr = log, log
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() { _ = process.Wait(); close(exited) }()
	t.Cleanup(func() { _ = process.Process.Kill(); <-exited })
	if err := listens(t.Context(), socket, exited); err != nil {
		text, _ := os.ReadFile(log.Name())
		t.Fatalf("versitygw: %v\n%s", err, text)
	}
	return socket
}

// listens waits until somebody listens on a socket.
func listens(ctx context.Context, socket string, exited <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, listenTime)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	var d net.Dialer
	for {
		c, err := d.DialContext(ctx, "unix", socket)
		if err == nil {
			return c.Close()
		}
		select {
		case <-exited:
			return fmt.Errorf("it has ended: %w", err)
		case <-ctx.Done():
			return fmt.Errorf("it does not listen: %w", err)
		case <-tick.C:
		}
	}
}

// URL returns where the server is.
func (g *Gateway) URL() string { return g.proxy.URL }

// Certificate returns that of a secure server in DER, else nil.
func (g *Gateway) Certificate() []byte {
	if cert := g.proxy.Certificate(); cert != nil {
		return cert.Raw
	}
	return nil
}

// Object returns the file of an object.
func (g *Gateway) Object(key string) string { return filepath.Join(g.dir, "objects", Bucket, key) }

// Disturbance is asked before each request reaches the server; true: it has
// answered itself.
type Disturbance func(w http.ResponseWriter, r *http.Request) bool

// Disturb puts a Disturbance in front of the server; nil takes it away.
func (g *Gateway) Disturb(d Disturbance) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.before = d
}
