package contract

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"consilium/internal/testserver"
)

const (
	devKey    = "devkey"
	devSecret = "devsecretdevsecretdevsecretdevsecret"
)

func TestExitCodesTellFailureFromWrongUsage(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "missing.yaml")
	for name, c := range map[string]struct {
		args []string
		code int
	}{
		"no command":                   {nil, 2},
		"unknown command":              {[]string{"conquer"}, 2},
		"unknown flag":                 {[]string{"serve", "--conquer"}, 2},
		"argument too many":            {[]string{"serve", "now"}, 2},
		"unknown subcommand":           {[]string{"recordings", "sing"}, 2},
		"recording without its id":     {[]string{"recordings", "show"}, 2},
		"token without a room":         {[]string{"token", "--dev", "--identity", "anna"}, 2},
		"token without an identity":    {[]string{"token", "--dev", "--room", "demo"}, 2},
		"token of an unknown role":     {[]string{"token", "--dev", "--room", "demo", "--identity", "a", "--role", "king"}, 2},
		"token for all rooms":          {[]string{"token", "--dev", "--room", "*", "--identity", "a"}, 2},
		"token with an odd identity":   {[]string{"token", "--dev", "--room", "demo", "--identity", "a b"}, 2},
		"configuration that is absent": {[]string{"serve", "--config", missing}, 1},
		"no configuration":             {[]string{"serve"}, 2},
		"recording that is absent":     {[]string{"recordings", "show", "--data", filepath.Dir(missing), "abc"}, 1},
		"check of an absent file":      {[]string{"check", "--config", missing}, 1},
		"not built yet":                {[]string{"recordings", "verify"}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wantOneLine(t, command(t, nil, c.args...), c.code)
		})
	}
}

func TestTheSecretOfDevIsRefusedElsewhere(t *testing.T) {
	t.Parallel()
	wantOneLine(t, command(t, []string{"CONSILIUM_KEYS_MIS_SECRET=" + devSecret}, "serve", "--data", t.TempDir()), 1)
}

func TestVersionIsOneAnswerOnStandardOutput(t *testing.T) {
	t.Parallel()
	got := command(t, nil, "version")
	if got.code != 0 || !strings.HasPrefix(got.stdout, "consilium ") || got.stderr != "" {
		t.Errorf("got %+v", got)
	}
}

// payload of a token, read without a library.
func payload(t *testing.T, token string) map[string]any {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("%q is no JWT", token)
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestTokenPrintsATokenAndNothingElse(t *testing.T) {
	t.Parallel()
	before := time.Now()
	got := command(t, nil, "token", "--dev", "--room", "demo", "--identity", "anna")
	if got.code != 0 || got.stderr != "" || strings.Count(got.stdout, "\n") != 1 || !strings.HasSuffix(got.stdout, "\n") {
		t.Fatalf("got %+v, want a token and a newline", got)
	}
	c := payload(t, strings.TrimSpace(got.stdout))
	if c["iss"] != devKey || c["sub"] != "anna" || c["room"] != "demo" || c["role"] != "patient" {
		t.Errorf("claims %v", c)
	}
	exp, _ := c["exp"].(float64)
	if left := time.UnixMilli(int64(exp * 1000)).Sub(before); left < 595*time.Second || left > 630*time.Second {
		t.Errorf("it is good for %v, want 10m", left)
	}
	link := command(t, nil, "token", "--dev", "--room", "demo", "--identity", "anna", "--url", "https://video.example.org")
	if !strings.HasPrefix(link.stdout, "https://video.example.org/r/demo#ey") || strings.Count(link.stdout, "\n") != 1 {
		t.Errorf("got %+v, want a join link", link)
	}
	if admin := command(t, nil, "token", "--dev", "--room", "*", "--role", "admin"); admin.code != 0 {
		t.Errorf("got %+v, want a token for the API", admin)
	}
}

func TestTokenTakesTheKeyOfTheEnvironment(t *testing.T) {
	t.Parallel()
	c := serve(t, nil)
	got := command(t, []string{"CONSILIUM_KEYS_MIS_SECRET=" + keySecret}, "token", "--room", "*", "--role", "admin")
	if a := c.ask("GET", "/v1/calls", bearer(strings.TrimSpace(got.stdout)), ""); a.status != http.StatusOK {
		t.Errorf("the API answers %d to %+v", a.status, got)
	}
}

// busy names the ports of --dev that somebody has.
func busy(t *testing.T) (ports []string) {
	t.Helper()
	if l, err := net.Listen("tcp", "127.0.0.1:8080"); err != nil {
		ports = append(ports, "tcp/8080")
	} else {
		l.Close()
	}
	for _, port := range []string{"8443", "3478"} {
		if l, err := net.ListenPacket("udp", "127.0.0.1:"+port); err != nil {
			ports = append(ports, "udp/"+port)
		} else {
			l.Close()
		}
	}
	return ports
}

// TestDevServesWithoutAnyConfiguration is the one test with fixed ports: they
// are what --dev promises.
func TestDevServesWithoutAnyConfiguration(t *testing.T) {
	if ports := busy(t); len(ports) > 0 {
		t.Fatalf("serve --dev can't be tested: %v are in use on this machine; stop what has them", ports)
	}
	dir := t.TempDir()
	cmd := exec.Command(binary, "serve", "--dev", "--recording.min_free=1MiB")
	cmd.Dir, cmd.Env = dir, []string{"PATH=" + os.Getenv("PATH")}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 10)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(stdout); s.Scan(); {
			lines <- s.Text()
		}
	}()
	c := &child{t: t, Server: &testserver.Server{URL: "http://127.0.0.1:8080"}}
	for _, who := range []string{"doctor", "patient"} {
		line := next(t, lines, &log)
		token, ok := strings.CutPrefix(line, who+": http://127.0.0.1:8080/r/demo#")
		if !ok {
			t.Errorf("got %q, want %s: URL", line, who)
			continue
		}
		exp, _ := payload(t, token)["exp"].(float64)
		if left := time.Until(time.Unix(int64(exp), 0)); left < 24*time.Hour-time.Minute || left > 24*time.Hour+time.Minute {
			t.Errorf("the link of the %s is good for %v, want 24 h", who, left)
		}
		if a := c.ask("GET", "/readyz", "", ""); a.status != http.StatusOK {
			t.Errorf("readyz answers %d when the link is printed", a.status)
		}
		c.join(token, nil)
		c.waitDevEvent(t, "participant.joined", who)
	}
	if _, err := os.Stat(filepath.Join(dir, "data", "consilium.db")); err != nil {
		t.Errorf("no database in ./data: %v", err)
	}
	checkOtherAddresses(t)
	_ = cmd.Process.Signal(syscall.SIGTERM)
	if line, more := <-lines; more {
		t.Errorf("a third line on standard output: %q", line)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("exit after SIGTERM: %v\n%s", err, log.String())
	}
}

func next(t *testing.T, lines <-chan string, log *strings.Builder) string {
	t.Helper()
	select {
	case line, ok := <-lines:
		if !ok {
			t.Fatalf("serve --dev ended:\n%s", log)
		}
		return line
	case <-time.After(30 * time.Second):
		t.Fatal("serve --dev printed nothing for 30 s")
		return ""
	}
}

// waitDevEvent waits for an event with the key that everybody knows.
func (c *child) waitDevEvent(t *testing.T, typ, identity string) {
	t.Helper()
	eventually(t, 20*time.Second, typ+" of "+identity, func() bool {
		var p page
		c.ask("GET", "/v1/events?limit=1000", basic(devKey, devSecret), "").decode(t, &p)
		for _, e := range p.Events {
			if e.Type == typ && e.Participant == identity {
				return true
			}
		}
		return false
	})
}

// checkOtherAddresses checks that --dev serves pages on loopback only: other
// addresses of the machine take media framing on tcp/8080 and close the rest.
func checkOtherAddresses(t *testing.T) {
	t.Helper()
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addresses {
		network, ok := a.(*net.IPNet)
		if !ok || network.IP.IsLoopback() || network.IP.To4() == nil {
			continue
		}
		conn, err := net.DialTimeout("tcp", net.JoinHostPort(network.IP.String(), "8080"), 5*time.Second)
		if err != nil {
			t.Logf("%s: %v", network.IP, err) // an excluded interface
			continue
		}
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		_, _ = conn.Write([]byte("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"))
		buffer := make([]byte, 1024)
		if n, _ := conn.Read(buffer); strings.Contains(string(buffer[:n]), "200 OK") {
			t.Errorf("pages are served on %s", network.IP)
		}
		conn.Close()
	}
}
