package trial

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"consilium/internal/netlab"
)

const (
	keyID     = "lab"
	keySecret = "a secret of the network lab, thirty-two bytes and more"

	startPatience = 20 * time.Second
	stopPatience  = 20 * time.Second
)

// server is `consilium serve` in the server's namespace.
type server struct {
	lab     *netlab.Lab
	program string
	config  string // file
	log     string // file
	client  *http.Client
	ready   string // URL

	cmd    *exec.Cmd
	exited chan struct{} // closed when cmd has ended
}

// newServer writes the configuration; start runs it.
func newServer(l *netlab.Lab, program, dir string, c *certificate) (*server, error) {
	s := &server{
		lab: l, program: program, config: filepath.Join(dir, "config.yaml"), log: filepath.Join(dir, "server.log"),
		ready: "https://" + netlab.Host + "/readyz",
	}
	doors := httpDoors(l)
	if l.Profile.Front == netlab.FrontHTTP {
		s.ready = "http://" + netlab.Host + "/readyz"
	}
	s.client = &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return l.Server.Dial(ctx, network, doors[0])
		},
		TLSClientConfig: &tls.Config{RootCAs: c.roots},
	}}
	if err := os.WriteFile(s.config, []byte(configText(l, dir, c)), 0o600); err != nil {
		return nil, fmt.Errorf("write configuration: %w", err)
	}
	return s, nil
}

// httpDoors are the server's http.address. Behind nginx they are those of
// docs/how-to/nginx.md.
func httpDoors(l *netlab.Lab) []string {
	switch l.Profile.Front {
	case netlab.FrontStream:
		return []string{"127.0.0.1:443"}
	case netlab.FrontHTTP:
		return []string{"127.0.0.1:8080"}
	}
	var doors []string
	for _, a := range l.ServerAddresses() {
		doors = append(doors, netip.AddrPortFrom(a, 443).String())
	}
	return doors
}

func configText(l *netlab.Lab, dir string, c *certificate) string {
	var networks []string
	for _, a := range l.ServerAddresses() {
		networks = append(networks, netip.PrefixFrom(a, a.BitLen()).String())
	}
	media, secure := "", fmt.Sprintf("{mode: files, cert_file: %q, key_file: %q}", c.chain, c.key)
	if l.Profile.NAT11 {
		media = fmt.Sprintf("  public_addresses: [%q]\n", netlab.ServerIPv4)
	}
	if l.Profile.TunnelOff {
		media = "  tunnel: {enabled: false}\n"
	}
	if l.Profile.Front == netlab.FrontHTTP {
		media, secure = media+"  tcp_port: 8443\n", `{mode: "off"}`
	}
	return fmt.Sprintf(`data: %q
http:
  address: [%s]
  public_url: %q
  trusted_proxies: ["127.0.0.1/32"]
tls: %s
log:
  level: debug
keys:
  %s: {secret: %q}
media:
  udp_port: 443
  networks: {include: [%s]}
%srecording:
  enabled: false
webhook:
  url: "http://%s/"
  secret: "whsec_bmV0d29yayBsYWIgbmV0d29yayBsYWIgbmV0d29yayBsYWI="
`, filepath.Join(dir, "data"), quoted(httpDoors(l)), netlab.ServerURL(true), secure,
		keyID, keySecret, quoted(networks), media, webhookAddress)
}

// quoted is the inside of a list in YAML.
func quoted(list []string) string { return `"` + strings.Join(list, `", "`) + `"` }

// start runs the server and returns when it takes calls.
func (s *server) start(ctx context.Context) error {
	log, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	defer log.Close() // the process has its own
	s.cmd = s.lab.Server.Command(context.Background(), s.program, "serve", "--config", s.config)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		return fmt.Errorf("start server: %w", err)
	}
	s.exited = make(chan struct{})
	go func(cmd *exec.Cmd, exited chan struct{}) {
		defer close(exited)
		_ = cmd.Wait() // its log says why
	}(s.cmd, s.exited)
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-s.exited:
			return fmt.Errorf("server ended: %s", s.lastWords())
		case <-ctx.Done():
			return fmt.Errorf("server does not get ready: %s", s.lastWords())
		}
		response, err := s.client.Get(s.ready)
		if err != nil {
			continue
		}
		_ = response.Body.Close() // of no interest
		if response.StatusCode == http.StatusOK {
			return nil
		}
	}
}

// kill ends the server as a power cut does, and waits until it is gone.
func (s *server) kill() error { return s.end(os.Kill) }

// stop asks the server to stop, and kills it if it takes too long.
func (s *server) stop() error {
	if s.exited == nil {
		return nil // never started
	}
	return s.end(os.Interrupt)
}

func (s *server) end(signal os.Signal) error {
	if err := s.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal server: %w", err)
	}
	select {
	case <-s.exited:
		return nil
	case <-time.After(stopPatience):
		_ = s.cmd.Process.Kill() // the error to report is the one below
		<-s.exited
		return fmt.Errorf("server does not stop: %s", s.lastWords())
	}
}

// lastWords are the last lines of the server's log.
func (s *server) lastWords() string {
	data, err := os.ReadFile(s.log)
	if err != nil {
		return err.Error()
	}
	return string(data[max(0, len(data)-2000):])
}
