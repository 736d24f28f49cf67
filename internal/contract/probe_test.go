package contract

import (
	"context"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"consilium/internal/netlab"
)

// probed is what `consilium probe --json` says.
type probed struct {
	result
	URL, Verdict, Code, Words string
	Checks                    []probeCheck
}

type probeCheck struct {
	Name, Status, Code, Words string
	Values                    map[string]float64
}

func (p probed) check(name string) probeCheck {
	for _, c := range p.Checks {
		if c.Name == name {
			return c
		}
	}
	return probeCheck{Name: name, Status: "missing"}
}

// wantStatus checks how some of the checks ended.
func (p probed) wantStatus(t *testing.T, status string, names ...string) {
	t.Helper()
	for _, name := range names {
		if c := p.check(name); c.Status != status || c.Words == "" {
			t.Errorf("%s: %+v, want %s and words", name, c, status)
		}
	}
}

func readProbe(t *testing.T, r result) probed {
	t.Helper()
	p := probed{result: r}
	if err := json.Unmarshal([]byte(r.stdout), &p); err != nil {
		t.Fatalf("%v in %+v", err, r)
	}
	return p
}

// wantFailure checks exit code 1 and the one line on standard error.
func (p probed) wantFailure(t *testing.T, code string) {
	t.Helper()
	line := strings.TrimSuffix(p.stderr, "\n")
	if p.code != 1 || p.Code != code || p.Verdict != "failed" || strings.Contains(line, "\n") || !strings.Contains(line, code+": ") {
		t.Errorf("exit code %d, %s %s, %q; want 1 and %s", p.code, p.Verdict, p.Code, p.stderr, code)
	}
}

// outcome of the last test that the server has stored.
func (c *child) outcome() map[string]any {
	var found map[string]any
	for _, e := range c.events() {
		if e.Type == "precheck.completed" {
			found = e.Data
		}
	}
	return found
}

func TestProbeTriesEveryPathAndLeavesOnlyItsOutcome(t *testing.T) {
	t.Parallel()
	c := serve(t, nil)
	token := joinToken(t, "room", "anna", "patient")
	p := readProbe(t, command(t, nil, "probe", c.URL, "--token", token, "--json"))
	if p.code != 0 || p.stderr != "" || p.Verdict != "good" || p.Code != "" || p.URL != c.URL {
		t.Errorf("got %+v", p)
	}
	p.wantStatus(t, "ok", "port", "http", "token", "socket", "clock", "stun", "udp", "tcp", "turn_udp", "turn_tcp", "tunnel")
	p.wantStatus(t, "skipped", "dns", "proxy", "tls", "redirect", "turn_tls")
	for _, way := range []string{"udp", "tcp", "turn_udp", "turn_tcp"} {
		if v := p.check(way).Values; v["packets"] < 10 || v["ms"] <= 0 || v["media_ms"] < v["ms"] {
			t.Errorf("%s: %v, want media", way, v)
		}
	}
	c.waitEvent(5*time.Second, "precheck.completed", "room", "anna")
	if got := c.outcome(); got["verdict"] != "good" || got["code"] != nil || len(got["checks"].(map[string]any)) != len(p.Checks) {
		t.Errorf("the server has stored %v", got)
	}
	for _, e := range c.events() {
		if e.Type != "precheck.completed" {
			t.Errorf("a test left %s of %s in %s", e.Type, e.Participant, e.Room)
		}
	}
	// The same as a table, with a join link.
	table := command(t, nil, "probe", c.URL+"/r/room#"+token)
	if table.code != 0 || !strings.Contains(table.stdout, "\nturn_tcp  works") || !strings.HasSuffix(table.stdout, "good: a call works by UDP\n") {
		t.Errorf("got %+v", table)
	}
	if strings.Contains(table.stdout+p.stdout, token) {
		t.Error("the output has the token")
	}
}

func TestProbeNamesWhyTheTokenIsRefused(t *testing.T) {
	t.Parallel()
	c := serve(t, nil)
	for name, r := range map[string]struct {
		claims claims
		code   string
	}{
		"expired": {claims{"exp": time.Now().Add(-time.Hour).Unix()}, "TOKEN_EXPIRED"},
		"early":   {claims{"nbf": time.Now().Add(time.Hour).Unix()}, "TOKEN_EARLY"},
		"alien":   {claims{"iss": "nobody"}, "TOKEN_BAD"},
		"admin":   {claims{"role": "admin", "room": "*"}, "TOKEN_BAD"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := readProbe(t, command(t, []string{"CONSILIUM_TOKEN=" + sign(t, r.claims)}, "probe", c.URL, "--json"))
			p.wantFailure(t, r.code)
			p.wantStatus(t, "failed", "token")
			if r.code != "TOKEN_BAD" { // whose it is, is known: the ways are tried all the same
				p.wantStatus(t, "ok", "socket", "udp")
			}
		})
	}
}

func TestProbeOfNobodyNamesTheStepThatFailed(t *testing.T) {
	t.Parallel()
	p := readProbe(t, command(t, nil, "probe", "http://127.0.0.1:"+freePort(t), "--token", "x", "--json"))
	p.wantFailure(t, "NO_ROUTE")
	p.wantStatus(t, "failed", "port")
	p.wantStatus(t, "skipped", "http", "token", "socket", "udp")
}

func TestProbeRefusesWhatItCannotUse(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "missing")
	const url = "https://video.example.org"
	for name, r := range map[string]struct {
		args []string
		code int
		say  string
	}{
		"no URL":                    {nil, 2, "URL"},
		"two URLs":                  {[]string{url, url, "--token", "x"}, 2, "URL"},
		"URL without a scheme":      {[]string{"video.example.org", "--token", "x"}, 2, "https://video.example.org"},
		"URL of another kind":       {[]string{"ftp://video.example.org", "--token", "x"}, 2, "https://"},
		"URL with a password":       {[]string{"https://a:b@video.example.org", "--token", "x"}, 2, "https://"},
		"no token":                  {[]string{url}, 2, "--token-file"},
		"two tokens":                {[]string{url + "/r/room#a", "--token", "b"}, 2, "two tokens"},
		"odd token":                 {[]string{url, "--token", "a b"}, 2, "token"},
		"odd timeout":               {[]string{url, "--token", "x", "--timeout", "1h"}, 2, "1s to 60s"},
		"timeout without unit":      {[]string{url, "--token", "x", "--timeout", "5"}, 2, "timeout"},
		"absent token file":         {[]string{url, "--token-file", missing}, 1, "--token-file"},
		"absent authorities":        {[]string{url, "--token", "x", "--ca", missing}, 1, "--ca"},
		"authorities that are none": {[]string{url, "--token", "x", "--ca", binary}, 1, "PEM"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wantOneLine(t, command(t, nil, append([]string{"probe"}, r.args...)...), r.code, r.say)
		})
	}
}

// certify makes an authority and a certificate of it for a host; the files of
// the certificate are PREFIX.crt and PREFIX.key.
func certify(t *testing.T, host string) (authority, prefix string) {
	t.Helper()
	dir := t.TempDir()
	ca, prefix := filepath.Join(dir, "ca"), filepath.Join(dir, "video")
	for _, args := range [][]string{
		{"ca", "init", "--name", "Hospital", "--domain", host, "--out", ca},
		{"ca", "issue", "--ca", ca, "--host", host, "--out", prefix},
	} {
		if r := command(t, nil, args...); r.code != 0 {
			t.Fatalf("%q: %+v", args, r)
		}
	}
	return filepath.Join(ca, "ca.crt"), prefix
}

func TestProbeNamesTheIssuerOfACertificateThatNobodyTrusts(t *testing.T) {
	t.Parallel()
	authority, prefix := certify(t, "127.0.0.1")
	c := serve(t, options{
		"tls.mode": "files", "tls.cert_file": prefix + ".crt", "tls.key_file": prefix + ".key",
	})
	url := c.URL
	token := joinToken(t, "room", "anna", "patient")
	p := readProbe(t, command(t, nil, "probe", url, "--token", token, "--json"))
	p.wantFailure(t, "CERT_UNTRUSTED")
	p.wantStatus(t, "failed", "tls")
	p.wantStatus(t, "skipped", "http", "token", "socket", "udp") // it gets no token
	if words := p.check("tls").Words; !strings.Contains(words, "Hospital") || !strings.Contains(words, "--ca") {
		t.Errorf("%q names neither the issuer nor the remedy", words)
	}
	trusted := readProbe(t, command(t, nil, "probe", url, "--token", token, "--json", "--ca", authority))
	if trusted.code != 0 {
		t.Errorf("got %+v", trusted)
	}
	trusted.wantStatus(t, "ok", "tls", "redirect", "socket", "udp", "tcp")
	other := readProbe(t, command(t, nil, "probe", strings.Replace(url, "127.0.0.1", "localhost", 1), "--token", token, "--json", "--ca", authority))
	other.wantFailure(t, "CERT_UNTRUSTED")
	if words := other.check("tls").Words; !strings.Contains(words, "not for localhost") {
		t.Errorf("%q does not name the host", words)
	}
}

// TestProbeFindsTheWayOutOfEachNetwork runs server and probe on both sides of
// networks of the lab.
func TestProbeFindsTheWayOutOfEachNetwork(t *testing.T) {
	t.Parallel() // it waits, mostly
	if err := netlab.Check(); err != nil {
		t.Fatal(err)
	}
	authority, prefix := certify(t, netlab.Host)
	for profile, want := range map[string]struct {
		verdict, code string
		ok, failed    []string
		env           []string
	}{
		"open":     {"good", "", []string{"dns", "tls", "stun", "udp", "tcp", "turn_udp", "turn_tcp", "turn_tls"}, nil, nil},
		"udpblock": {"limited", "UDP_BLOCKED", []string{"dns", "socket", "tcp", "turn_tcp", "turn_tls"}, []string{"stun", "udp", "turn_udp"}, nil},
		"proxy": {"limited", "UDP_BLOCKED", []string{"proxy", "tls", "socket", "turn_tcp", "turn_tls", "tunnel"}, []string{"port", "udp"},
			[]string{"HTTPS_PROXY=http://" + netlab.ProxyAddress}},
	} {
		t.Run(profile, func(t *testing.T) {
			p, err := netlab.FindProfile(profile)
			if err != nil {
				t.Fatal(err)
			}
			l, err := netlab.New(t.Context(), p)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := l.Close(); err != nil {
					t.Error(err)
				}
			})
			serveBy(t, filepath.Join(t.TempDir(), "data"), labOptions(prefix), func(name string, args ...string) *exec.Cmd {
				return l.Server.Command(context.Background(), name, args...) // it ends by SIGTERM
			})
			cmd := l.Client.Command(within(t, 60*time.Second), binary, "probe", netlab.ServerURL(true), "--ca", authority, "--json")
			cmd.Env = append([]string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "CONSILIUM_TOKEN=" + joinToken(t, "room", "anna", "patient")}, want.env...)
			found := readProbe(t, finish(t, cmd))
			if found.code != 0 || found.Verdict != want.verdict || found.Code != want.code {
				t.Errorf("exit code %d, %s %s; %s", found.code, found.Verdict, found.Code, found.stderr)
			}
			found.wantStatus(t, "ok", want.ok...)
			found.wantStatus(t, "failed", want.failed...)
		})
	}
}

// labOptions serve on the addresses of the lab's server.
func labOptions(prefix string) options {
	return options{
		"http.address": netlab.ServerIPv4 + ":443,[" + netlab.ServerIPv6 + "]:443", "http.public_url": netlab.ServerURL(true),
		"tls.mode": "files", "tls.cert_file": prefix + ".crt", "tls.key_file": prefix + ".key",
		"media.udp_port": "443", "media.loopback": "false", "media.interfaces.include": "", "turn.udp_port": "3478",
		"media.families": "ipv4,ipv6", "media.networks.include": netlab.ServerIPv4 + "/32," + netlab.ServerIPv6 + "/128",
	}
}
