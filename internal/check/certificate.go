package check

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"consilium/internal/certs"
	"consilium/internal/config"
)

// renewal is how long before its end a certificate should have been renewed:
// authorities that work by themselves renew a third before.
const renewal = 30 * 24 * time.Hour

// certificate looks at where HTTPS comes from.
func (c *checker) certificate(ctx context.Context) []Finding {
	const check = "certificate"
	switch c.cfg.TLS.Mode {
	case config.TLSFiles:
		return c.files()
	case config.TLSACME:
		return c.acme(ctx)
	}
	if len(c.cfg.HTTP.TrustedProxies) > 0 {
		return []Finding{ok(check, "none: the reverse proxy of http.trusted_proxies has it")}
	}
	return []Finding{ok(check, "none: plain HTTP, which browsers take for secure on this machine only")}
}

// files judges the files of tls.mode files.
func (c *checker) files() []Finding {
	const check = "certificate"
	t := c.cfg.TLS
	pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
	if err == nil && pair.Leaf != nil {
		c.leaf = validity{pair.Leaf.NotBefore, pair.Leaf.NotAfter}
	}
	// The same that a start does, with its remedies.
	if _, err := certs.NewFiles(certs.FilesConfig{CertFile: t.CertFile, KeyFile: t.KeyFile, Host: c.cfg.HTTP.PublicHost()}); err != nil {
		return []Finding{failure(check, err.Error(), "correct the files of tls.cert_file and tls.key_file")}
	}
	if err != nil {
		return []Finding{failure(check, err.Error(), "correct the files of tls.cert_file and tls.key_file")}
	}
	var chain []*x509.Certificate
	for _, der := range pair.Certificate {
		one, err := x509.ParseCertificate(der)
		if err != nil {
			return []Finding{failure(check, fmt.Sprintf("%s: %v", t.CertFile, err), "export the chain again, in PEM")}
		}
		chain = append(chain, one)
	}
	roots, _ := x509.SystemCertPool() // nil: none, which judgeChain takes for what it is
	return []Finding{judgeDates(chain[0], time.Now()), judgeChain(chain, roots, time.Now())}
}

func judgeDates(leaf *x509.Certificate, now time.Time) Finding {
	const check = "certificate"
	left := leaf.NotAfter.Sub(now)
	days := int(left.Hours() / 24)
	words := fmt.Sprintf("for %s, %d days left", strings.Join(subjects(leaf), ", "), days)
	if left < renewal {
		return warning(check, words, "renew it; files that change are taken up within seconds")
	}
	return ok(check, words)
}

func subjects(c *x509.Certificate) []string {
	all := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		all = append(all, ip.String())
	}
	return all
}

// judgeChain says whether browsers can build a chain from what the server
// sends. Browsers on desktops often find a missing certificate by themselves,
// phones don't.
func judgeChain(chain []*x509.Certificate, roots *x509.CertPool, now time.Time) Finding {
	const check = "chain"
	leaf := chain[0]
	intermediates := x509.NewCertPool()
	for _, one := range chain[1:] {
		intermediates.AddCert(one)
	}
	_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates, CurrentTime: now})
	var unknown x509.UnknownAuthorityError
	switch {
	case err == nil:
		return ok(check, "complete, by "+leaf.Issuer.String())
	case certs.IsLocal(leaf):
		return ok(check, "by a local authority, whose ca.crt must be installed on every device")
	case bytes.Equal(leaf.RawIssuer, leaf.RawSubject):
		return warning(check, "the certificate is self-signed: browsers warn, and on iPhones calls can't work", "make an authority: `consilium help ca init`")
	case errors.As(err, &unknown) && len(chain) == 1:
		return warning(check, "the file has the server's certificate alone, and its issuer "+leaf.Issuer.String()+" is no root of this machine",
			"append the intermediate certificates; phones refuse it without them")
	case errors.As(err, &unknown):
		return warning(check, "no root of this machine is at the end of the chain of "+leaf.Issuer.String(),
			"right if it is the hospital's own authority, installed on every device; otherwise correct the chain")
	default:
		return failure(check, fmt.Sprintf("browsers will refuse it: %v", err), "ask for another certificate")
	}
}

// acme looks at what an ACME authority needs.
func (c *checker) acme(ctx context.Context) []Finding {
	const check = "acme"
	var findings []Finding
	if !slices.ContainsFunc(c.cfg.HTTP.Address, func(a string) bool {
		_, port, _ := net.SplitHostPort(a) // validated
		return port == "443" || port == "80"
	}) {
		findings = append(findings, warning(check, "http.address has neither port 443 nor 80, where the authority asks", "let the router forward one of them here"))
	}
	directory := c.cfg.TLS.ACMEDirectory
	if directory == "" {
		directory = "https://acme-v02.api.letsencrypt.org/directory"
	}
	host := directory
	if u, err := url.Parse(directory); err == nil {
		host = u.Host
	}
	err := reach(ctx, directory)
	cached, _ := filepath.Glob(filepath.Join(c.cfg.Data, "acme", c.cfg.HTTP.PublicHost()+"*")) // the pattern is right
	switch {
	case err == nil:
		return append(findings, ok(check, host+" answers"))
	case len(cached) > 0:
		return append(findings, warning(check, "the authority can't be reached: "+err.Error(), "let this machine reach "+host+" before the certificate at hand ends"))
	default:
		return append(findings, failure(check, "there is no certificate yet and the authority can't be reached: "+err.Error(),
			"let this machine reach "+host+", or set tls.mode to files"))
	}
}

// reach asks for a URL.
func reach(ctx context.Context, target string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target, http.NoBody)
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, Proxy: http.ProxyFromEnvironment}}
	response, err := client.Do(request)
	if err != nil {
		if os.IsTimeout(err) {
			return errors.New("no answer in time")
		}
		return err // it names the URL
	}
	_ = response.Body.Close() // of no interest
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	return nil
}
