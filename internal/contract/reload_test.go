package contract

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const newSecret = "another-secret-of-the-contract-tests-long-enough"

// reloading is a server by HTTPS whose configuration a test rewrites.
type reloading struct {
	*child
	file    string
	address string
}

// serveFile starts a server from a file with these lines.
func serveFile(t *testing.T, prefix string, lines ...string) *reloading {
	t.Helper()
	r := &reloading{file: filepath.Join(t.TempDir(), "config.yaml")}
	r.write(t, prefix, lines...)
	r.child = serve(t, options{"config": r.file, "log.format": "json", "http.public_url": "https://video.hospital.example"})
	r.address = r.TCP.String()
	return r
}

func (r *reloading) write(t *testing.T, prefix string, lines ...string) {
	t.Helper()
	text := fmt.Sprintf("tls: {mode: files, cert_file: %q, key_file: %q}\n", prefix+".crt", prefix+".key") + strings.Join(lines, "\n") + "\n"
	if err := os.WriteFile(r.file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// hangUp sends SIGHUP and returns what the server logs because of it.
func (r *reloading) hangUp(t *testing.T) string {
	t.Helper()
	before := len(r.logged())
	_ = r.cmd.Process.Signal(syscall.SIGHUP)
	said := func() string { return r.logged()[before:] }
	eventually(t, 10*time.Second, "the answer to SIGHUP", func() bool {
		text := said()
		// With log.level warn the last word is that of a part.
		return strings.Contains(text, "configuration reloaded") || strings.Contains(text, "not reloaded; ")
	})
	return said()
}

// leaf is the certificate that new connections get.
func (r *reloading) leaf(t *testing.T) *x509.Certificate {
	t.Helper()
	conn, err := tls.Dial("tcp", r.address, &tls.Config{InsecureSkipVerify: true}) // it is compared with others
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0]
}

// takes reports whether the API takes a key.
func (r *reloading) takes(t *testing.T, key, secret string) bool {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+r.address+"/v1/calls", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	request.SetBasicAuth(key, secret)
	secure := client()
	secure.Transport.(*http.Transport).TLSClientConfig = &tls.Config{InsecureSkipVerify: true} // as above
	response, err := secure.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// wantErrors checks how many errors were logged, and that they name what they
// should.
func wantErrors(t *testing.T, said string, n int, words ...string) {
	t.Helper()
	if got := strings.Count(said, `"level":"ERROR"`); got != n {
		t.Errorf("%d errors, want %d:\n%s", got, n, said)
	}
	for _, word := range words {
		if !strings.Contains(said, word) {
			t.Errorf("nothing says %q:\n%s", word, said)
		}
	}
}

func TestABrokenCertificateKeepsNoKeyFromBeingReloaded(t *testing.T) {
	t.Parallel()
	_, prefix := certify(t, "video.hospital.example")
	r := serveFile(t, prefix)
	old := r.leaf(t)
	broken := filepath.Join(t.TempDir(), "broken")
	r.write(t, broken, "keys:", "  next: {secret: "+newSecret+"}")
	said := r.hangUp(t)
	wantErrors(t, said, 1, "certificate: ", broken+".crt", `"parts_kept":1`)
	if !r.takes(t, "next", newSecret) {
		t.Error("the new key is not taken")
	}
	if !r.leaf(t).Equal(old) {
		t.Error("the old certificate is gone")
	}
	if strings.Contains(said, newSecret) {
		t.Error("the log has a secret")
	}
}

func TestABrokenKeyKeepsNothingElseFromBeingReloaded(t *testing.T) {
	t.Parallel()
	_, prefix := certify(t, "video.hospital.example")
	_, other := certify(t, "video.hospital.example")
	r := serveFile(t, prefix, "log: {level: info}", "limits: {joins_per_second: 50}")
	old := r.leaf(t)
	r.write(t, other, "log: {level: warn}", "limits: {joins_per_second: 51}", "recording: {on_failure: stop}",
		"keys:", "  portal: {public_key_file: /nonexistent/portal.pem}", "  next: {secret: "+newSecret+"}")
	said := r.hangUp(t)
	wantErrors(t, said, 1, "keys: ", "/nonexistent/portal.pem", "needs a restart", `"keys":"recording.on_failure"`)
	if r.takes(t, "next", newSecret) || !r.takes(t, keyID, keySecret) {
		t.Error("one of the keys can't be read, and yet they were changed")
	}
	if r.leaf(t).Equal(old) {
		t.Error("the certificate is not read from its new path")
	}
	if strings.Contains(said, `"level":"INFO"`) {
		t.Error("the log level has not changed")
	}
	// What is renewed under the new path is taken, too.
	renewed := r.leaf(t)
	_, third := certify(t, "video.hospital.example")
	for _, end := range []string{".crt", ".key"} {
		if err := os.Rename(third+end, other+end); err != nil {
			t.Fatal(err)
		}
	}
	wantErrors(t, r.hangUp(t), 1)
	if r.leaf(t).Equal(renewed) {
		t.Error("the renewed certificate is not in use")
	}
}

func TestAnUnknownKeyChangesNothing(t *testing.T) {
	t.Parallel()
	_, prefix := certify(t, "video.hospital.example")
	_, other := certify(t, "video.hospital.example")
	r := serveFile(t, prefix)
	old := r.leaf(t)
	r.write(t, other, "log: {level: debug}", "conquer: true", "keys:", "  next: {secret: "+newSecret+"}")
	wantErrors(t, r.hangUp(t), 1, "configuration not reloaded", "conquer")
	if r.takes(t, "next", newSecret) || !r.leaf(t).Equal(old) || strings.Contains(r.logged(), `"level":"DEBUG"`) {
		t.Error("something has changed")
	}
	// Repaired, it is taken.
	r.write(t, other, "keys:", "  next: {secret: "+newSecret+"}")
	wantErrors(t, r.hangUp(t), 0)
	if !r.takes(t, "next", newSecret) || r.leaf(t).Equal(old) {
		t.Error("nothing has changed after the repair")
	}
}
