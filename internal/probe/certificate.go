package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"consilium/internal/certs"
	"consilium/internal/event"
)

// certificate shakes hands without judging, so that a certificate that nobody
// should trust can be described, and then judges. Nothing is sent over that
// connection.
func (p *prober) certificate(ctx context.Context) bool {
	begun := time.Now()
	if !p.secure() {
		return p.plain(begun)
	}
	ctx, cancel := p.step(ctx)
	defer cancel()
	raw, err := p.dial(ctx, p.address())
	if err != nil {
		p.fail(CheckTLS, begun, event.NoRoute, "the connection broke before TLS began: "+cause(err))
		return false
	}
	defer raw.Close()
	lenient := p.tls.Clone()
	lenient.InsecureSkipVerify = true // judged below, and nothing is sent
	conn := tls.Client(raw, lenient)
	if err := conn.HandshakeContext(ctx); err != nil {
		p.fail(CheckTLS, begun, event.CertUntrusted, "the TLS handshake failed: "+cause(err)+"; is it a server for HTTPS?")
		return false
	}
	chain := conn.ConnectionState().PeerCertificates
	if words := distrust(chain, p.host, p.cfg.Roots, time.Now()); words != "" {
		p.fail(CheckTLS, begun, event.CertUntrusted, words)
		return false
	}
	leaf := chain[0]
	days := time.Until(leaf.NotAfter).Hours() / 24
	by := issuer(leaf)
	if certs.IsLocal(leaf) {
		by += ", a local authority"
	}
	values := took(begun)
	values["days"] = float64(int(days))
	p.set(Check{Name: CheckTLS, Status: OK, Values: values, Words: fmt.Sprintf("certificate for %s by %s, %d days left",
		strings.Join(subjects(leaf), ", "), by, int(days))})
	return true
}

// plain judges a URL without TLS: browsers take only this machine's own for a
// secure context.
func (p *prober) plain(begun time.Time) bool {
	a, err := netip.ParseAddr(p.host)
	if p.host == "localhost" || strings.HasSuffix(p.host, ".localhost") || err == nil && a.IsLoopback() {
		p.skip(CheckTLS, "plain HTTP on this machine, which browsers take for secure")
		return true
	}
	p.fail(CheckTLS, begun, event.InsecurePage, "browsers give no camera to a page by plain HTTP; open the server by https://")
	return false
}

// distrust says why browsers refuse a chain; "" if they don't.
func distrust(chain []*x509.Certificate, host string, roots *x509.CertPool, now time.Time) string {
	leaf := chain[0]
	intermediates := x509.NewCertPool()
	for _, c := range chain[1:] {
		intermediates.AddCert(c)
	}
	_, err := leaf.Verify(x509.VerifyOptions{DNSName: host, Roots: roots, Intermediates: intermediates, CurrentTime: now})
	var wrongName x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case err == nil:
		return ""
	case now.After(leaf.NotAfter):
		return fmt.Sprintf("the certificate ended on %s; renew it, or set this machine's clock", day(leaf.NotAfter))
	case now.Before(leaf.NotBefore):
		return fmt.Sprintf("the certificate begins on %s; set this machine's clock", day(leaf.NotBefore))
	case errors.As(err, &wrongName):
		return fmt.Sprintf("the certificate is for %s, not for %s; another server answers, or it needs a certificate for this name",
			strings.Join(subjects(leaf), ", "), host)
	case errors.As(err, &invalid):
		return fmt.Sprintf("the certificate by %s can't be used: %v", issuer(leaf), err)
	case certs.IsLocal(leaf):
		return fmt.Sprintf("the certificate is by the local authority %s, which this machine does not trust; install its ca.crt, or name it with --ca", issuer(leaf))
	default:
		return fmt.Sprintf("the certificate is by %s, which this machine does not trust: a self-made certificate, a missing intermediate one, "+
			"or a proxy that opens TLS; compare the issuer on another network, or name the authority with --ca", issuer(leaf))
	}
}

func issuer(c *x509.Certificate) string {
	if c.Issuer.CommonName != "" {
		return fmt.Sprintf("%q", c.Issuer.CommonName)
	}
	return fmt.Sprintf("%q", c.Issuer.String())
}

// subjects are what a certificate is for.
func subjects(c *x509.Certificate) []string {
	all := append([]string(nil), c.DNSNames...)
	for _, ip := range c.IPAddresses {
		all = append(all, ip.String())
	}
	if len(all) == 0 {
		return []string{"nobody"}
	}
	return all
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }
