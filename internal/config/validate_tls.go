package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
)

func (v *validator) tls(t TLS, h HTTP) {
	v.word("tls.mode", t.Mode, TLSOff, TLSFiles, TLSACME)
	for _, file := range []struct{ key, value string }{{"tls.cert_file", t.CertFile}, {"tls.key_file", t.KeyFile}} {
		switch {
		case t.Mode == TLSFiles && file.value == "":
			v.add(file.key, "is empty", "name the PEM file; `consilium help ca init` makes certificates for closed networks")
		case t.Mode == TLSOff && file.value != "":
			v.add(file.key, "is set and not used", "set tls.mode to files, or remove it")
		}
	}
	u, err := url.Parse(h.PublicURL)
	if err != nil {
		u = &url.URL{} // reported as http.public_url
	}
	if t.Mode != TLSOff && u.Scheme == "http" {
		v.add("http.public_url", "begins with http:// and tls.mode is "+t.Mode, "write https://")
	}
	if t.Mode == TLSACME {
		v.acme(t, u)
	}
}

func (v *validator) acme(t TLS, public *url.URL) {
	host := public.Hostname()
	_, err := netip.ParseAddr(host)
	if isIP := err == nil; isIP || !strings.Contains(host, ".") {
		v.add("http.public_url", "has no name that an ACME authority gives a certificate for",
			`write "https://NAME" with a name that leads to this machine from the internet; for closed networks see `+"`consilium help ca init`")
	}
	if t.ACMEEmail != "" && !strings.Contains(t.ACMEEmail, "@") {
		v.add("tls.acme_email", fmt.Sprintf("%q is not an e-mail address", t.ACMEEmail), "correct or remove it")
	}
	if t.ACMEDirectory == "" {
		return
	}
	if u, err := url.Parse(t.ACMEDirectory); err != nil || u.Scheme != "https" || u.Host == "" {
		v.add("tls.acme_directory", fmt.Sprintf("%q is not an https URL", t.ACMEDirectory), "ask the authority for its directory URL, or leave it empty for Let's Encrypt")
	}
}

// plainHTTPProblems refuses what can only fail later, on the patient's screen:
// a browser has no camera for a page that came over plain HTTP from another
// machine.
func (c Config) plainHTTPProblems() Problems {
	if c.TLS.Mode != TLSOff || len(c.HTTP.TrustedProxies) > 0 {
		return nil
	}
	for _, address := range c.HTTP.Address {
		host, _, err := net.SplitHostPort(address)
		ip, errIP := netip.ParseAddr(host)
		if err != nil || host == "localhost" || errIP == nil && ip.IsLoopback() {
			continue
		}
		return Problems{{
			Key: "http.address", What: fmt.Sprintf("%q would serve plain HTTP to other machines, where browsers give no camera", address),
			Remedy: "set tls.mode to files or acme; or, behind a reverse proxy with TLS, name it in http.trusted_proxies; or listen on 127.0.0.1 only",
		}}
	}
	return nil
}
