package contract

import (
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
)

// ageKey makes a key of age and returns its file and the public key.
func ageKey(t *testing.T) (file, public string) {
	t.Helper()
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "key.txt")
	if err := os.WriteFile(file, []byte(identity.String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, identity.Recipient().String()
}

// sealedFile returns the directory of a recording and its only or first sealed
// file as it plays.
func (c *child) sealedFile(call string) (dir, file string) {
	c.t.Helper()
	var m struct {
		Segments []struct {
			File   string
			Sealed struct{ File string }
		}
	}
	c.get("/v1/recordings/"+call, &m)
	if len(m.Segments) == 0 || m.Segments[0].Sealed.File != m.Segments[0].File+".age" {
		c.t.Fatalf("segments are %+v", m.Segments)
	}
	return filepath.Join(c.data, "recordings", call), m.Segments[0].File
}

func TestASealedRecordingPlaysWhereTheServerHasAKeyAndNowhereElse(t *testing.T) {
	t.Parallel()
	archive, public := ageKey(t)
	server, _ := ageKey(t)
	other, _ := ageKey(t)
	keys := func(file string) options {
		return options{"recording.recipients": public, "recording.server_key_file": file}
	}
	c := serve(t, keys(server))
	call := c.record("red")
	dir, file := c.sealedFile(call)
	plain, err := exec.Command("age", "-d", "-i", archive, filepath.Join(dir, file+".age")).Output()
	if err != nil {
		t.Fatalf("age (Debian package age) does not open the file: %v", err)
	}
	path := "/v1/recordings/" + call + "/files/" + file
	if a := c.ask("GET", path, apiKey(), ""); a.status != 200 || a.body != string(plain) {
		t.Errorf("whole: %d, %d bytes of %d", a.status, len(a.body), len(plain))
	}
	if a := c.ask("GET", path, apiKey(), "", "Range: bytes=1000-1999"); a.status != 206 || a.body != string(plain[1000:2000]) {
		t.Errorf("range: %d, %d bytes", a.status, len(a.body))
	}
	if a := c.ask("GET", path+".age", apiKey(), ""); a.status != 200 || !strings.HasPrefix(a.body, "age-encryption.org/v1\n") {
		t.Errorf("sealed: %d", a.status)
	}
	c.stop()

	for name, key := range map[string]string{"another key": other, "no key": ""} {
		c := serveIn(t, c.data, keys(key))
		if a := c.ask("GET", path, apiKey(), ""); a.status != http.StatusConflict || !strings.Contains(a.body, `"sealed"`) {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
		if a := c.ask("GET", path+".age", apiKey(), ""); a.status != 200 {
			t.Errorf("%s, sealed: %d", name, a.status)
		}
		c.wantRefused(call, file)
		c.stop()
	}
}

func TestADamagedSealedFileIsRefusedNamedAndAudited(t *testing.T) {
	t.Parallel()
	server, _ := ageKey(t)
	c := serve(t, options{"recording.server_key_file": server})
	for name, spoil := range map[string]func([]byte) []byte{
		"cut":     func(b []byte) []byte { return b[:len(b)-1] },
		"flipped": func(b []byte) []byte { b = bytes.Clone(b); b[len(b)-1] ^= 1; return b },
	} {
		call := c.record(name)
		dir, file := c.sealedFile(call)
		sealed := filepath.Join(dir, file+".age")
		data, err := os.ReadFile(sealed)
		if err == nil {
			err = os.WriteFile(sealed, spoil(data), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		// What is read is never false: it is refused, or ends early.
		a, err := c.tryAsk("GET", "/v1/recordings/"+call+"/files/"+file, apiKey(), "")
		if err == nil && (a.status != http.StatusInternalServerError || !strings.Contains(a.body, `"damaged"`)) {
			t.Errorf("%s: %d, %d bytes", name, a.status, len(a.body))
		}
		c.wantRefused(call, file)
		r := command(t, nil, "recordings", "verify", call, "--data", c.data)
		if r.code != 1 || !strings.Contains(r.stdout, "WRONG  "+call+"/"+file+".age") {
			t.Errorf("%s: verify says %+v", name, r)
		}
		verified := 0
		for _, e := range c.audit("recording=" + call) {
			if e.Action == "recording.verified" && e.Outcome == "failed" {
				verified++
			}
		}
		if verified != 1 {
			t.Errorf("%s: %d entries about verify in the audit log", name, verified)
		}
	}
}

// wantRefused waits for the entry of somebody who did not get a file: refusals
// are written a moment later.
func (c *child) wantRefused(call, file string) {
	c.t.Helper()
	eventually(c.t, 10*time.Second, "the refusal in the audit log", func() bool {
		return slices.ContainsFunc(c.audit("recording="+call), func(e audited) bool {
			return e.File == file && e.Outcome != "done"
		})
	})
}
