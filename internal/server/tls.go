package server

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path/filepath"

	"consilium/internal/certs"
	"consilium/internal/config"
	"consilium/internal/problem"
)

// strictTransport lasts half a year (RFC 6797).
const strictTransport = "max-age=15552000"

// newCerts returns where the certificate comes from, nil for plain HTTP.
func (s *Server) newCerts() (certs.Source, error) {
	c, log := s.cfg, s.log.With("part", "certificate")
	switch c.TLS.Mode {
	case config.TLSFiles:
		files, err := certs.NewFiles(certs.FilesConfig{
			CertFile: c.TLS.CertFile, KeyFile: c.TLS.KeyFile, Host: c.HTTP.PublicHost(), Metrics: s.metrics, Log: log,
		})
		if err != nil {
			return nil, fmt.Errorf("tls: %w", err)
		}
		return files, nil
	case config.TLSACME:
		acme, err := certs.NewACME(certs.ACMEConfig{
			Host: c.HTTP.PublicHost(), Email: c.TLS.ACMEEmail, Directory: c.TLS.ACMEDirectory,
			Cache: filepath.Join(c.Data, "acme"), Metrics: s.metrics, Log: log,
		})
		if err != nil {
			return nil, fmt.Errorf("tls: %w", err)
		}
		return acme, nil
	}
	return nil, nil
}

// secure is the TLS of the shared ports.
func (s *Server) secure() secureConfig {
	if s.certs == nil {
		return secureConfig{}
	}
	s.distrust = newUntrusted(s.journal, s.certs.Leaf, s.log.With("part", "certificate"))
	return secureConfig{tls: s.certs.TLSConfig(), untrusted: s.distrust.seen}
}

// strict tells browsers to come by HTTPS only, unless the certificate is of a
// local authority: who removes that must not be locked out.
func (s *Server) strict(next http.Handler) http.Handler {
	if s.certs == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !certs.IsLocal(s.certs.Leaf()) {
			w.Header().Set("Strict-Transport-Security", strictTransport)
		}
		next.ServeHTTP(w, r)
	})
}

// redirect sends who comes by plain HTTP to the same place by HTTPS. Only what
// carries no body is redirected: a body has crossed the network in the open,
// and the client must be told.
func redirect(public string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			problem.Write(w, http.StatusBadRequest, problem.BadRequest, "this came over plain HTTP; send it to the same address with https://")
			return
		}
		target := secureURL(public, r)
		if target == nil {
			problem.Write(w, http.StatusBadRequest, problem.BadRequest, "the request names no host; open the address with https://")
			return
		}
		// Nobody may remember it: the site can move to another name or port.
		w.Header().Set("Cache-Control", "no-store")
		http.Redirect(w, r, target.String(), http.StatusPermanentRedirect)
	})
}

// secureURL is where the request should have gone: the public URL's host if
// one is set, else the host it asked for. Both kinds of HTTP share each port,
// but who came to port 80 means 443.
func secureURL(public string, r *http.Request) *url.URL {
	target := &url.URL{Scheme: "https", Host: r.Host, Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: r.URL.RawQuery}
	if u, err := url.Parse(public); err == nil && u.Host != "" {
		target.Host = u.Host
		return target
	}
	if host, port, err := net.SplitHostPort(r.Host); err == nil && port == "80" {
		target.Host = host
		if a, err := netip.ParseAddr(host); err == nil && a.Is6() {
			target.Host = "[" + host + "]"
		}
	}
	if target.Host == "" {
		return nil
	}
	return target
}
