package server

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pion/transport/v5/stdnet"
	"github.com/pion/webrtc/v4"

	"consilium/internal/auth"
	"consilium/internal/bot"
	"consilium/internal/certs"
	"consilium/internal/config"
	"consilium/internal/media"
	"consilium/internal/testserver"
)

// secureHost is the name of the server in tests of HTTPS.
const secureHost = "video.hospital.example"

// hospital is the authority of the tests, installed for the whole process: Go
// reads the system's roots once, and Pion's TURN client takes no others.
type hospital struct {
	authority *certs.Authority
	roots     *x509.CertPool
}

// installed is the one hospital, made by TestMain.
var installed hospital

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "hospital")
	if err == nil {
		err = installed.make(filepath.Join(dir, "ca"))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

func (h *hospital) make(dir string) (err error) {
	if h.authority, err = certs.NewAuthority("Hospital", []string{"hospital.example", "127.0.0.0/8"}, time.Now()); err != nil {
		return err
	}
	if err = h.authority.Save(dir); err != nil {
		return err
	}
	path := filepath.Join(dir, certs.AuthorityCert)
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	h.roots = x509.NewCertPool()
	h.roots.AppendCertsFromPEM(data)
	return os.Setenv("SSL_CERT_FILE", path)
}

// secure is start with certificate files of the hospital.
func secure(t *testing.T, change func(*config.Config)) *instance {
	t.Helper()
	prefix := filepath.Join(t.TempDir(), "video")
	replace(t, prefix)
	i := start(t, func(c *config.Config) {
		c.TLS = config.TLS{Mode: config.TLSFiles, CertFile: prefix + ".crt", KeyFile: prefix + ".key"}
		c.HTTP.PublicURL = "https://" + secureHost
		if change != nil {
			change(c)
		}
	})
	i.URL = "https://" + i.Address()
	return i
}

// replace puts a new certificate where the server reads it.
func replace(t *testing.T, prefix string) {
	t.Helper()
	cert, key, err := installed.authority.Issue([]string{secureHost, "127.0.0.1"}, certs.MinLifetime, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, old := range []string{prefix + ".crt", prefix + ".key"} {
		if err := os.Remove(old); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	if err := certs.WritePair(prefix+".crt", prefix+".key", cert, key); err != nil {
		t.Fatal(err)
	}
}

// named resolves the server's name, which no DNS knows.
type named struct{ *stdnet.Net }

func (n named) ResolveTCPAddr(network, address string) (*net.TCPAddr, error) {
	return n.Net.ResolveTCPAddr(network, strings.Replace(address, secureHost, "127.0.0.1", 1))
}

// withNames lets a bot find the server by its name.
func withNames(t *testing.T, more func(*webrtc.SettingEngine)) func(*webrtc.SettingEngine) {
	t.Helper()
	std, err := stdnet.NewNet()
	if err != nil {
		t.Fatal(err)
	}
	return func(s *webrtc.SettingEngine) {
		s.SetNet(named{std})
		if more != nil {
			more(s)
		}
	}
}

// client speaks HTTPS to an instance and follows no redirects.
func client(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: installed.roots}, DisableKeepAlives: true}
	return &http.Client{
		Transport: transport, Timeout: 10 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func TestEveryProtocolSharesOnePort(t *testing.T) {
	i := secure(t, nil)
	onlyTCP := withNames(t, func(s *webrtc.SettingEngine) { s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeTCP4}) })
	people := map[string]struct {
		path   string
		change func(*bot.Config)
	}{
		"udp":      {"host udp", nil},
		"ice-tcp":  {"tcp", func(c *bot.Config) { c.Settings = onlyTCP }},
		"turn-tcp": {"relay tcp", func(c *bot.Config) { c.Relay, c.RelayProtocol, c.Settings = true, "tcp", withNames(t, nil) }},
		"turn-tls": {"relay tls", func(c *bot.Config) { c.Relay, c.RelayProtocol, c.Settings = true, "tls", withNames(t, nil) }},
	}
	bots := map[string]*bot.Bot{}
	for name, p := range people {
		bots[name] = i.join("room", name, auth.RoleDoctor, func(c *bot.Config) {
			c.Persons = len(people)
			if p.change != nil {
				p.change(c)
			}
		})
	}
	ctx := within(t, time.Minute)
	for name, b := range bots {
		for other := range people {
			if other == name {
				continue
			}
			if err := b.WaitFrames(ctx, other, media.Camera, 10); err != nil {
				t.Fatalf("%s does not see %s: %v", name, other, err)
			}
		}
		if path := b.Snapshot().Path; !strings.Contains(path, people[name].path) {
			t.Errorf("%s: path %q, want %q", name, path, people[name].path)
		}
	}
	if len(i.network.ports) != 1 {
		t.Fatalf("%d TCP ports, want 1", len(i.network.ports))
	}
	s := i.network.ports[0].Stats()
	if s.InTLS["turn"] == 0 || s.InTLS["http"] < 4 || s.Sniffed["turn"] == 0 || s.Sniffed["ice"] == 0 {
		t.Errorf("the port has seen %+v", s)
	}
}

func TestHTTPSAnswersAndPlainHTTPRedirects(t *testing.T) {
	i := secure(t, nil)
	for name, tc := range map[string]struct {
		method, url string
		status      int
		location    string
	}{
		"ready":               {"GET", i.URL + "/readyz", 200, ""},
		"page":                {"GET", i.URL + "/r/room", 200, ""},
		"plain page":          {"GET", "http://" + i.Address() + "/r/room", 308, "https://" + secureHost + "/r/room"},
		"plain HEAD":          {"HEAD", "http://" + i.Address() + "/", 308, "https://" + secureHost + "/"},
		"plain POST":          {"POST", "http://" + i.Address() + "/whip/room", 400, ""},
		"plain API is closed": {"GET", "http://" + i.Address() + "/readyz", 308, "https://" + secureHost + "/readyz"},
	} {
		t.Run(name, func(t *testing.T) {
			request, err := http.NewRequestWithContext(t.Context(), tc.method, tc.url, nil)
			if err != nil {
				t.Fatal(err)
			}
			response, err := client(t).Do(request)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			if response.StatusCode != tc.status || response.Header.Get("Location") != tc.location {
				t.Errorf("got %d to %q, want %d to %q", response.StatusCode, response.Header.Get("Location"), tc.status, tc.location)
			}
			if got := response.Header.Get("Strict-Transport-Security"); got != "" {
				t.Errorf("a local authority, and %q", got)
			}
		})
	}
}

func TestHSTSIsSentForCertificatesOfOthers(t *testing.T) {
	prefix := filepath.Join(t.TempDir(), "video")
	cert, key := testserver.Certificate(t, secureHost)
	if err := certs.WritePair(prefix+".crt", prefix+".key", cert, key); err != nil {
		t.Fatal(err)
	}
	i := start(t, func(c *config.Config) {
		c.TLS = config.TLS{Mode: config.TLSFiles, CertFile: prefix + ".crt", KeyFile: prefix + ".key"}
		c.HTTP.PublicURL = "https://" + secureHost
	})
	c := client(t)
	c.Transport.(*http.Transport).TLSClientConfig.InsecureSkipVerify = true
	response, err := c.Get("https://" + i.Address() + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if got := response.Header.Get("Strict-Transport-Security"); got != strictTransport {
		t.Errorf("got %q, want %q", got, strictTransport)
	}
}

func TestReloadChangesTheCertificateAndKeepsCalls(t *testing.T) {
	i := secure(t, nil)
	a := i.join("room", "a", auth.RoleDoctor, nil)
	b := i.join("room", "b", auth.RolePatient, nil)
	ctx := within(t, time.Minute)
	if err := a.WaitFrames(ctx, "b", media.Camera, 5); err != nil {
		t.Fatal(err)
	}
	was := i.certs.Leaf()
	replace(t, strings.TrimSuffix(i.cfg.TLS.CertFile, ".crt"))
	if err := i.Reload(i.cfg); err != nil {
		t.Fatal(err)
	}
	if was.Equal(i.certs.Leaf()) {
		t.Error("still the old certificate")
	}
	if err := b.WaitFrames(ctx, "a", media.Camera, 30); err != nil {
		t.Error(err)
	}
	if n := a.Snapshot().Resumes + b.Snapshot().Resumes; n > 0 {
		t.Errorf("%d sockets were cut", n)
	}
	if err := os.WriteFile(i.cfg.TLS.CertFile, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	now := i.certs.Leaf()
	if err := i.Reload(i.cfg); err == nil || !now.Equal(i.certs.Leaf()) {
		t.Errorf("a bad certificate: %v", err)
	}
}

func TestTURNOverTLSIsOfferedByNameOnly(t *testing.T) {
	for public, want := range map[string]bool{"https://" + secureHost: true, "https://127.0.0.1": false, "": false} {
		t.Run(public, func(t *testing.T) { // one server after the other
			i := secure(t, func(c *config.Config) { c.HTTP.PublicURL = public })
			got := strings.Contains(strings.Join(i.turnURIs(), " "), "turns:")
			if got != want {
				t.Errorf("%q: %v", public, i.turnURIs())
			}
		})
	}
}

func TestAWrongCertificateStopsTheStartWithTheRemedy(t *testing.T) {
	prefix := filepath.Join(t.TempDir(), "video")
	replace(t, prefix)
	cfg := config.Dev()
	cfg.Data = t.TempDir()
	cfg.TLS = config.TLS{Mode: config.TLSFiles, CertFile: prefix + ".crt", KeyFile: prefix + ".key"}
	cfg.HTTP.PublicURL = "https://other.hospital.example"
	if _, err := New(cfg, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "http.public_url says other.hospital.example; make them agree") {
		t.Errorf("got %v", err)
	}
}
