package contract

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

type finding struct{ Check, Level, Words, Advice string }

// check runs `consilium check --json` with keys of the configuration.
func check(t *testing.T, keys ...string) (result, []finding) {
	t.Helper()
	base := []string{
		"check", "--json", "--keys." + keyID + ".secret=" + keySecret, "--data=" + t.TempDir(), "--recording.min_free=1MiB",
		"--media.interfaces.include=lo", "--media.loopback", "--media.families=ipv4", "--media.udp_port=0", "--turn.udp_port=0",
	}
	r := command(t, nil, append(base, keys...)...)
	var found struct{ Findings []finding }
	if err := json.Unmarshal([]byte(r.stdout), &found); err != nil {
		t.Fatalf("%v in %+v", err, r)
	}
	if strings.Contains(r.stdout+r.stderr, keySecret) {
		t.Error("the output has a secret")
	}
	return r, found.Findings
}

// wantLevel checks what was found of one thing.
func wantLevel(t *testing.T, all []finding, name, level, say string) {
	t.Helper()
	for _, f := range all {
		if f.Check == name && f.Level == level && strings.Contains(f.Words, say) && (f.Advice != "") == (level != "ok") {
			return
		}
	}
	t.Errorf("%s is not %s with %q and advice: %+v", name, level, say, all)
}

func TestCheckOfAFreeMachineFindsNoError(t *testing.T) {
	t.Parallel()
	port := freePort(t)
	r, found := check(t, "--http.address=127.0.0.1:"+port, "--media.udp_port="+port)
	if r.code != 0 || r.stderr != "" {
		t.Errorf("got %+v", r)
	}
	wantLevel(t, found, "tcp 127.0.0.1:"+port, "ok", "free, for http.address")
	wantLevel(t, found, "udp 127.0.0.1:"+port, "ok", "free, for media.udp_port")
	wantLevel(t, found, "addresses", "ok", "127.0.0.1")
	wantLevel(t, found, "data", "ok", "can be written to")
	wantLevel(t, found, "disk", "ok", "free")
	for _, name := range []string{"clock", "filesystem", "udp buffers", "open files", "memory", "certificate", "ffmpeg"} {
		if !strings.Contains(r.stdout, `"check": "`+name+`"`) {
			t.Errorf("nothing is said about %s", name)
		}
	}
	table := command(t, nil, "check", "--dev", "--http.address=127.0.0.1:0", "--media.udp_port=0", "--turn.udp_port=0", "--media.tcp_port=0", "--recording.min_free=1MiB")
	if table.code != 0 || !strings.HasPrefix(table.stdout, "ok       addresses: ") {
		t.Errorf("got %+v", table)
	}
}

func TestCheckNamesWhoHasAPort(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	u, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	port := u.LocalAddr().(*net.UDPAddr).Port
	r, found := check(t, "--http.address="+l.Addr().String(), fmt.Sprintf("--media.udp_port=%d", port))
	who := fmt.Sprintf("(process %d)", os.Getpid())
	wantLevel(t, found, "tcp "+l.Addr().String(), "error", who)
	wantLevel(t, found, fmt.Sprintf("udp 127.0.0.1:%d", port), "error", who)
	if r.code != 1 || strings.Count(r.stderr, "\n") != 1 || !strings.Contains(r.stderr, "and 1 more") {
		t.Errorf("got %+v", r)
	}
}

func TestCheckKnowsARunningConsilium(t *testing.T) {
	t.Parallel()
	c := serve(t, nil)
	address := strings.TrimPrefix(c.URL, "http://")
	r, found := check(t, "--http.address="+address, "--data="+c.data)
	if r.code != 0 {
		t.Errorf("got %+v", r)
	}
	wantLevel(t, found, "tcp "+address, "ok", fmt.Sprintf("a running consilium has it: consilium (process %d)", c.cmd.Process.Pid))
}

func TestCheckSaysWhatKeepsAServerFromWorking(t *testing.T) {
	t.Parallel()
	_, prefix := certify(t, "video.hospital.example")
	_, other := certify(t, "video.hospital.example")
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	files := func(host, cert, key string) []string {
		return []string{"--http.public_url=https://" + host, "--tls.mode=files", "--tls.cert_file=" + cert + ".crt", "--tls.key_file=" + key + ".key"}
	}
	for name, c := range map[string]struct {
		keys             []string
		code             int
		check, level, at string
	}{
		"good pair":            {files("video.hospital.example", prefix, prefix), 0, "certificate", "ok", "days left"},
		"chain of a local one": {files("video.hospital.example", prefix, prefix), 0, "chain", "ok", "local authority"},
		"name without address": {files("video.hospital.example", prefix, prefix), 0, "public name", "warning", "video.hospital.example"},
		"for another name":     {files("other.hospital.example", prefix, prefix), 1, "certificate", "error", "other.hospital.example"},
		"key of another":       {files("video.hospital.example", prefix, other), 1, "certificate", "error", "no pair"},
		"no such file":         {files("video.hospital.example", file+"x", prefix), 1, "certificate", "error", "no such file"},
		"data is a file":       {[]string{"--data=" + file}, 1, "data", "error", "is a file"},
		"no space":             {[]string{"--recording.min_free=99%"}, 1, "disk", "error", "no recording starts"},
		"no such address":      {[]string{"--media.interfaces.include=nosuch0"}, 1, "addresses", "error", "media.interfaces"},
		"private address":      {[]string{"--media.public_addresses=10.9.8.7"}, 0, "public address", "warning", "10.9.8.7"},
		"webhook to nobody":    {[]string{"--webhook.url=https://nobody.invalid/", "--webhook.secret=" + hookSecret}, 0, "webhook", "warning", "nobody.invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, found := check(t, append([]string{"--http.address=127.0.0.1:0"}, c.keys...)...)
			if r.code != c.code {
				t.Errorf("exit code %d, want %d: %s", r.code, c.code, r.stderr)
			}
			wantLevel(t, found, c.check, c.level, c.at)
		})
	}
}
