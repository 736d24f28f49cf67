package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"consilium/internal/event"
)

// DefaultTimeout of one step.
const DefaultTimeout = 10 * time.Second

// Config of a Run. URL and Token are required.
type Config struct {
	URL     string         // of the server: https://host[:port]
	Token   string         // a join token
	Roots   *x509.CertPool // whom to trust; nil: the system's
	Timeout time.Duration  // of one step; zero: DefaultTimeout
	// Proxy says through which HTTP proxy to go; nil: through none. See
	// http.ProxyFromEnvironment.
	Proxy func(*http.Request) (*url.URL, error)
}

// Run tries everything and returns what it found. The error is a mistake in
// cfg; that nothing works is no error.
func Run(ctx context.Context, cfg Config) (Report, error) {
	p, err := newProber(cfg)
	if err != nil {
		return Report{}, err
	}
	defer p.client.CloseIdleConnections()
	if p.reach(ctx) && p.certificate(ctx) && p.page(ctx) {
		p.redirect(ctx)
		p.signal(ctx)
	}
	report := p.report()
	report.judge()
	p.tell(ctx, report)
	return report, nil
}

// prober is one Run. What one step finds and a later one needs is a field.
type prober struct {
	cfg    Config
	base   *url.URL
	host   string   // without port
	port   string   // of base, written or not
	proxy  *url.URL // for this server; nil: none
	tls    *tls.Config
	client *http.Client

	addresses []netip.Addr // of host, by DNS
	direct    bool         // the port can be reached without the proxy

	mu     sync.Mutex
	checks map[string]Check
}

func newProber(cfg Config) (*prober, error) {
	u, err := url.Parse(cfg.URL)
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf(`%q is not like "https://video.example.org"`, cfg.URL)
	case cfg.Token == "":
		return nil, errors.New("a join token is missing")
	case strings.ContainsFunc(cfg.Token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return nil, errors.New("the token has characters that no token has")
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = DefaultTimeout
	}
	p := &prober{
		cfg: cfg, base: &url.URL{Scheme: u.Scheme, Host: u.Host}, host: u.Hostname(), port: u.Port(),
		checks: map[string]Check{},
	}
	if p.port == "" {
		p.port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	p.tls = &tls.Config{RootCAs: cfg.Roots, ServerName: p.host, NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS12}
	if cfg.Proxy != nil {
		if p.proxy, err = cfg.Proxy(&http.Request{URL: p.base}); err != nil {
			return nil, fmt.Errorf("the HTTP proxy of the environment: %w", err)
		}
	}
	p.client = &http.Client{
		Transport:     &http.Transport{Proxy: http.ProxyURL(p.proxy), TLSClientConfig: p.tls, ForceAttemptHTTP2: false},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return p, nil
}

// secure reports whether the server is reached by HTTPS.
func (p *prober) secure() bool { return p.base.Scheme == "https" }

// address is host:port of the server.
func (p *prober) address() string { return net.JoinHostPort(p.host, p.port) }

// step bounds one step.
func (p *prober) step(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, p.cfg.Timeout)
}

// set notes the outcome of a check.
func (p *prober) set(c Check) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.checks[c.Name] = c
}

func (p *prober) ok(name string, begun time.Time, words string) {
	p.set(Check{Name: name, Status: OK, Values: took(begun), Words: words})
}

func (p *prober) fail(name string, begun time.Time, code event.Code, words string) {
	p.set(Check{Name: name, Status: Failed, Code: code, Values: took(begun), Words: words})
}

func (p *prober) skip(name, words string) {
	p.set(Check{Name: name, Status: Skipped, Words: words})
}

// report has a check for every name: what was not tried is skipped.
func (p *prober) report() Report {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := Report{URL: p.base.String()}
	for _, name := range names() {
		c, tried := p.checks[name]
		if !tried {
			c = Check{Name: name, Status: Skipped, Words: "not tried: a step before it failed"}
		}
		r.Checks = append(r.Checks, c)
	}
	return r
}

func took(begun time.Time) map[string]float64 {
	return map[string]float64{"ms": milliseconds(time.Since(begun))}
}

// milliseconds is a duration with a precision that people can read.
func milliseconds(d time.Duration) float64 { return float64(d.Round(100*time.Microsecond)) / 1e6 }

// list joins what can be printed.
func list[T fmt.Stringer](all []T) string {
	var words []string
	for _, one := range all {
		words = append(words, one.String())
	}
	return strings.Join(slices.Compact(words), ", ")
}

// cause returns the innermost words of an error: "connection refused" rather
// than the whole chain before it.
func cause(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer in time"
	}
	if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
		return "no answer in time"
	}
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		return op.Err.Error()
	}
	return err.Error()
}
