package trial

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"consilium/internal/auth"
	"consilium/internal/browser"
	"consilium/internal/config"
	"consilium/internal/netlab"
)

// Programs are the paths of the programs that run in a lab, and of what
// configures nginx.
type Programs struct {
	Consilium string
	Lab       string // has the command "agent"
	Guide     string // docs/how-to/nginx.md
}

// Build builds the programs from the repository at root into dir.
func Build(ctx context.Context, root, dir string) (Programs, error) {
	p := Programs{filepath.Join(dir, "consilium"), filepath.Join(dir, "lab"), filepath.Join(root, "docs", "how-to", "nginx.md")}
	for out, pkg := range map[string]string{p.Consilium: "./cmd/consilium", p.Lab: "./cmd/lab"} {
		cmd := exec.CommandContext(ctx, "go", "build", "-o", out, pkg)
		cmd.Dir = root
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if text, err := cmd.CombinedOutput(); err != nil {
			return p, fmt.Errorf("build %s: %w: %s", pkg, err, text)
		}
	}
	return p, nil
}

// Kind of the patient's client.
type Kind string

// Kinds.
const (
	Pion     Kind = "pion"
	Chromium      = Kind(browser.Chromium)
	Firefox       = Kind(browser.Firefox)
)

// Site is a lab with a server in it, ready for calls.
type Site struct {
	Lab      *netlab.Lab
	programs Programs
	cert     *certificate
	auth     *auth.Authority
	server   *server
	receiver *receiver
	front    *nginx
	trust    string // PEM file of the authority that patients trust
	dir      string

	mu         sync.Mutex // of what follows
	browsers   map[Kind]*browser.Browser
	rooms      int
	handedOver bool
}

// Open builds a network and starts a server in it. Files go to dir.
func Open(ctx context.Context, p netlab.Profile, programs Programs, dir string) (_ *Site, err error) {
	s := &Site{programs: programs, dir: dir, browsers: map[Kind]*browser.Browser{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if s.Lab, err = netlab.New(ctx, p); err != nil {
		return nil, err
	}
	if s.cert, err = makeCertificate(dir); err != nil {
		return nil, err
	}
	s.trust = s.cert.authority
	if p.Intercept {
		if err = s.intercept(); err != nil {
			return nil, err
		}
	}
	if s.auth, err = auth.New(auth.Config{Keys: map[string]config.Key{keyID: {Secret: keySecret}}}); err != nil {
		return nil, err
	}
	if s.receiver, err = startReceiver(s.Lab.Server); err != nil {
		return nil, err
	}
	if s.server, err = newServer(s.Lab, programs.Consilium, dir, s.cert); err != nil {
		return nil, err
	}
	if err = s.server.start(ctx); err != nil {
		return nil, err
	}
	if p.Front != "" {
		if s.front, err = startNginx(ctx, s.Lab, programs.Guide, dir, s.cert); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// intercept starts the proxy of a profile that has one. Patients trust its
// authority and no other: what they reach, they reach through it.
func (s *Site) intercept() error {
	authority, err := s.Lab.Intercept(s.cert.roots)
	if err != nil {
		return err
	}
	s.trust = filepath.Join(s.dir, "proxy.pem")
	if err := os.WriteFile(s.trust, authority.PEM(), 0o600); err != nil {
		return fmt.Errorf("write authority: %w", err)
	}
	return nil
}

// Close ends everything and removes the network.
func (s *Site) Close() error {
	var errs []error
	for _, b := range s.browsers {
		errs = append(errs, b.Close())
	}
	if s.front != nil {
		errs = append(errs, s.front.close())
	}
	if s.server != nil {
		errs = append(errs, s.server.stop())
	}
	if s.receiver != nil {
		errs = append(errs, s.receiver.close())
	}
	if s.Lab != nil {
		errs = append(errs, s.Lab.Close())
	}
	return errors.Join(errs...)
}

// nextRoom names a room that nobody has used.
func (s *Site) nextRoom() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rooms++
	return fmt.Sprintf("room-%d", s.rooms)
}

// browser is the one of a kind, started when it is first needed.
func (s *Site) browser(ctx context.Context, kind Kind) (*browser.Browser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.browsers[kind]; b != nil {
		return b, nil
	}
	b, err := startBrowser(ctx, s.Lab, browser.Kind(kind), s.trust)
	if err != nil {
		return nil, err
	}
	s.browsers[kind] = b
	return b, nil
}

// prepare makes sure that an earlier event has left no trace, and that a
// browser's start is no part of a call.
func (s *Site) prepare(ctx context.Context, kind Kind) error {
	if kind != Pion {
		if _, err := s.browser(ctx, kind); err != nil {
			return err
		}
	}
	if !s.handedOver {
		return nil
	}
	s.handedOver = false
	return s.Lab.Handback(ctx)
}

// Rest ends the browser of a kind, which will not be needed soon.
func (s *Site) Rest(kind Kind) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.browsers[kind]
	if b == nil {
		return nil
	}
	delete(s.browsers, kind)
	return b.Close()
}

// ServerLog is the file with what the server says.
func (s *Site) ServerLog() string { return s.server.log }

func (s *Site) token(room, identity string, role auth.Role) (string, error) {
	token, err := s.auth.Mint(auth.Claims{Issuer: keyID, Room: room, Subject: identity, Name: identity, Role: role}, 10*time.Minute)
	if err != nil {
		return "", fmt.Errorf("make token: %w", err)
	}
	return token, nil
}

// doctor joins from beside the server.
func (s *Site) doctor(room string) (person, error) {
	token, err := s.token(room, "doctor", auth.RoleDoctor)
	if err != nil {
		return nil, err
	}
	return startRobot(s.Lab.Server, s.programs.Lab, s.cert.authority, agentConfig{URL: netlab.ServerURL(true), Token: token, Other: "patient"})
}

// patient joins from behind the network that is tried.
func (s *Site) patient(ctx context.Context, room string, kind Kind) (person, error) {
	token, err := s.token(room, "patient", auth.RolePatient)
	if err != nil {
		return nil, err
	}
	if kind == Pion {
		cfg := agentConfig{URL: netlab.ServerURL(true), Token: token, Other: "doctor"}
		if s.Lab.Profile.Proxy {
			cfg.Proxy = "http://" + netlab.ProxyAddress
		}
		return startRobot(s.Lab.Client, s.programs.Lab, s.trust, cfg)
	}
	b, err := s.browser(ctx, kind)
	if err != nil {
		return nil, err
	}
	v, err := enter(ctx, b, netlab.ServerURL(true)+"/r/"+room+"#"+token)
	if v == nil {
		return nil, err
	}
	return v, err
}
