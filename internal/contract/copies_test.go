package contract

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"consilium/internal/s3test"
)

func TestARecordingMovesIntoTheStoreComesBackAndIsErasedThere(t *testing.T) {
	t.Parallel()
	store := s3test.Start(t, s3test.Options{Versioned: true})
	server, _ := ageKey(t)
	secret := filepath.Join(t.TempDir(), "secret")
	write(t, secret, "of yesterday")
	keys := options{
		"recording.server_key_file": server, "recording.s3.keep_local": "1ms",
		"recording.s3.endpoint": store.URL(), "recording.s3.bucket": s3test.Bucket, "recording.s3.prefix": "a/",
		"recording.s3.access_key": s3test.Access, "recording.s3.secret_key_file": secret,
	}
	c := serve(t, keys)
	call := c.record("red")
	dir, file := c.sealedFile(call)
	path := "/v1/recordings/" + call + "/files/" + file
	played := c.ask("GET", path, apiKey(), "").body

	// The secret was changed in the store, and then here.
	eventually(t, 10*time.Second, "the refusal in the log", func() bool { return strings.Contains(c.logged(), "recordings can't be uploaded") })
	if !strings.Contains(c.logged(), "check recording.s3.secret_key") {
		t.Error("nothing says what to do")
	}
	if mediaFiles(dir) == 0 || len(store.Versions(t)) > 0 {
		t.Errorf("%d files are here and %q in the store", mediaFiles(dir), store.Versions(t))
	}
	write(t, secret, s3test.Secret)
	_ = c.cmd.Process.Signal(syscall.SIGHUP)
	done := c.waitEvent(10*time.Second, "recording.upload", "", "")
	if done.Call != call || done.Data["state"] != "done" || done.Data["files"] != float64(6) {
		t.Errorf("%+v", done) // four tracks, a key and the manifest
	}
	complete := store.Seen("POST upload ")
	if len(complete) != 6 || complete[5] != "POST upload a/"+call+"/manifest.json" {
		t.Errorf("complete in this order: %q", complete)
	}

	eventually(t, 5*time.Second, "the end of the local files", func() bool { return mediaFiles(dir) == 0 })
	if a := c.ask("GET", path, apiKey(), ""); a.status != http.StatusConflict || !strings.Contains(a.body, "recordings fetch") {
		t.Errorf("of a file that is not here: %d %s", a.status, a.body)
	}
	if r := command(t, nil, "recordings", "verify", call, "--data", c.data); r.code != 0 {
		t.Errorf("verify, with the files in the store: %+v", r)
	}
	c.fetchesAndPlays(keys, call, path, played)
	if a := c.ask("DELETE", "/v1/recordings/"+call+"?reason=asked", apiKey(), ""); a.status != http.StatusOK {
		t.Fatalf("erase: %d %s", a.status, a.body)
	}
	eventually(t, 5*time.Second, "the end of the copy", func() bool { return len(store.Versions(t)) == 0 })
}

// fetchesAndPlays brings the files of a recording back while the server runs,
// and compares one with what it played before.
func (c *child) fetchesAndPlays(keys options, call, path, played string) {
	c.t.Helper()
	arguments := []string{"recordings", "fetch", call, "--data", c.data, "--keys." + keyID + ".secret", keySecret}
	for key, value := range keys {
		arguments = append(arguments, "--"+key, value)
	}
	if r := command(c.t, nil, arguments...); r.code != 0 || strings.Count(r.stdout, ".webm.age") != 4 {
		c.t.Fatalf("fetch: %+v", r)
	}
	if r := command(c.t, nil, "audit", "--data", c.data); !strings.Contains(r.stdout, "recording.fetched") {
		c.t.Errorf("who fetched is not in the audit log: %+v", r)
	}
	if a := c.ask("GET", path, apiKey(), ""); a.status != http.StatusOK || a.body != played {
		c.t.Errorf("of a file that came back: %d, %d bytes of %d", a.status, len(a.body), len(played))
	}
	if r := command(c.t, nil, "recordings", "verify", call, "--data", c.data); r.code != 0 {
		c.t.Errorf("verify, with the files back: %+v", r)
	}
}

func TestCheckAsksTheStore(t *testing.T) {
	t.Parallel()
	store := s3test.Start(t, s3test.Options{})
	for words, secret := range map[string]string{
		"ok       store: " + store.URL(): s3test.Secret,
		"check recording.s3.secret_key":  "of yesterday",
	} {
		r := command(t, nil, "check", "--dev", "--recording.s3.endpoint", store.URL(), "--recording.s3.bucket", s3test.Bucket,
			"--recording.s3.access_key", s3test.Access, "--recording.s3.secret_key", secret)
		if !strings.Contains(r.stdout, words) {
			t.Errorf("nothing says %q: %+v", words, r)
		}
	}
}

// mediaFiles counts the media files in a directory of a recording.
func mediaFiles(dir string) int {
	files, _ := filepath.Glob(filepath.Join(dir, "*.webm*"))
	return len(files)
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
