package e2e

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"consilium/internal/browser"
	"consilium/internal/certs"
	"consilium/internal/config"
	"consilium/internal/event"
)

// CERT_UNTRUSTED. Most people who don't trust the certificate get no further
// than the warning of their browser, and then nobody but the server can know.
// Others pass the warning, but their browser (Safari does so) does not let the
// socket pass: the page is there and never connects.

// secured gives a server a certificate of the authority; port is that of the
// site's address, "" for the server's own.
func secured(t *testing.T, authority *certs.Authority, port string) func(*config.Config) {
	t.Helper()
	cert, key, err := authority.Issue([]string{secureHost}, certs.MinLifetime, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	prefix := filepath.Join(t.TempDir(), "video")
	if err := certs.WritePair(prefix+".crt", prefix+".key", cert, key); err != nil {
		t.Fatal(err)
	}
	return func(c *config.Config) {
		if _, own, err := net.SplitHostPort(c.HTTP.Address[0]); err != nil {
			t.Fatal(err)
		} else if port == "" {
			port = own
		}
		c.HTTP.PublicURL = "https://" + net.JoinHostPort(secureHost, port)
		c.TLS = config.TLS{Mode: config.TLSFiles, CertFile: prefix + ".crt", KeyFile: prefix + ".key"}
	}
}

func TestACertificateThatIsNotTrustedIsNamed(t *testing.T) {
	t.Parallel()
	warnings := map[browser.Kind]string{
		browser.Chromium: "document.body.innerText.includes('ERR_CERT_AUTHORITY_INVALID')",
		browser.Firefox:  "document.documentURI.startsWith('about:certerror')",
	}
	for kind, warning := range warnings {
		t.Run(string(kind), func(t *testing.T) {
			dir, trusted := localCA(t)
			_, stranger := localCA(t)
			b := browser.Start(t, browser.Options{
				Kind: kind, Trust: filepath.Join(dir, certs.AuthorityCert), Hosts: []string{secureHost},
				Prefs: map[string]any{"network.http.http2.websockets": false}, // or it offers HTTP/2 for sockets too
			})
			t.Run("at the warning", func(t *testing.T) { stopsAtTheWarning(t, b, stranger, warning) })
			t.Run("at the socket", func(t *testing.T) { stopsAtTheSocket(t, b, stranger, trusted) })
		})
	}
}

func stopsAtTheWarning(t *testing.T, b *browser.Browser, stranger *certs.Authority, warning string) {
	l, hook := startHooked(t, secured(t, stranger, ""))
	l.tls = true
	p := b.NewPage(t, "stranger", browser.PageOptions{AllowErrors: true})
	p.Eval(fmt.Sprintf("void (location.href = %q)", l.invite(l.cfg.HTTP.PublicURL, "stranger", nil)), nil)
	e := hook.wait(t, "CERT_UNTRUSTED", func(e event.Event) bool { return e.Code == event.CertUntrusted })
	p.WaitFor("the browser's warning", warning)
	shown, _ := e.Evidence["certificate"].(map[string]any)
	if e.Type != event.ParticipantFailed || e.Stage != event.StagePage || e.Evidence["host"] != secureHost ||
		e.Evidence["network"] != "127.0.0.0/24" || e.Evidence["alert"] == "" || shown["issuer"] == "" {
		t.Errorf("the webhook says %s at %s, %v", e.Type, e.Stage, e.Evidence)
	}
	if !slices.ContainsFunc(l.events(), func(x event.Event) bool { return x.ID == e.ID && x.Code == event.CertUntrusted }) {
		t.Errorf("the feed does not have the webhook's event %s", e.ID)
	}
}

func stopsAtTheSocket(t *testing.T, b *browser.Browser, stranger, trusted *certs.Authority) {
	front, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(front.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	behind := secured(t, stranger, port)
	l, hook := startHooked(t, func(c *config.Config) {
		behind(c)
		c.HTTP.TrustedProxies = []string{"127.0.0.1/32"}
	})
	l.tls = true
	l.expect("patient")
	serveSite(t, front, trusted, l.server.Address())
	// Firefox itself writes an error to the console for each socket.
	p := l.openWith(b, "patient", l.invite(l.cfg.HTTP.PublicURL, "patient", nil), browser.PageOptions{AllowErrors: true})
	p.agree()
	began := time.Now()
	e := wantCodeOutside(t, p, l, hook, "patient", event.CertUntrusted, event.StageSocket)
	if e.Evidence["alert"] == "" || e.Evidence["certificate"] == nil {
		t.Errorf("evidence %v", e.Evidence)
	}
	within(t, e.Time.Sub(began))
}

// serveSite is a web server in front of ours with a certificate that browsers
// trust: it serves the pages itself and passes sockets through as they are, so
// these meet our certificate. It tells them apart by what they offer: browsers
// offer HTTP/2 for pages and not for sockets.
func serveSite(t *testing.T, front net.Listener, authority *certs.Authority, server string) {
	t.Helper()
	certPEM, keyPEM, err := authority.Issue([]string{secureHost}, certs.MinLifetime, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	target := &url.URL{Scheme: "https", Host: server}
	pages := &http.Server{Handler: &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host
			r.SetXForwarded()
		},
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
	}}
	handed := &handedOver{Listener: front, conns: make(chan net.Conn), closed: make(chan struct{})}
	t.Cleanup(func() { _ = pages.Close() })
	go func() { _ = pages.Serve(handed) }()
	go func() {
		for {
			conn, err := front.Accept()
			if err != nil {
				return // the test is over
			}
			go sortOut(conn, server, func(c net.Conn) {
				handed.give(tls.Server(c, &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"http/1.1"}}))
			})
		}
	}()
}

// sortOut reads a ClientHello and gives pages to page; sockets it connects with
// the server.
func sortOut(conn net.Conn, server string, page func(net.Conn)) {
	read := new(bytes.Buffer)
	var offered []string
	_ = tls.Server(&replayed{Conn: conn, from: io.TeeReader(conn, read), mute: true}, &tls.Config{
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			offered = hello.SupportedProtos
			return nil, errors.New("only looking")
		},
	}).Handshake()
	again := &replayed{Conn: conn, from: io.MultiReader(read, conn)}
	if slices.Contains(offered, "h2") {
		page(again)
		return
	}
	up, err := net.Dial("tcp", server)
	if err != nil {
		_ = conn.Close()
		return
	}
	go func() {
		_, _ = io.Copy(up, again)
		_ = up.Close()
	}()
	_, _ = io.Copy(conn, up)
	_ = conn.Close()
}

// replayed is a connection that is read from elsewhere.
type replayed struct {
	net.Conn
	from io.Reader
	mute bool // nothing is written: it is only looked at
}

func (r *replayed) Read(p []byte) (int, error) { return r.from.Read(p) }

func (r *replayed) Write(p []byte) (int, error) {
	if r.mute {
		return len(p), nil
	}
	return r.Conn.Write(p)
}

// handedOver is a listener of connections that somebody else has accepted.
type handedOver struct {
	net.Listener
	conns  chan net.Conn
	closed chan struct{}
}

func (h *handedOver) give(c net.Conn) {
	select {
	case h.conns <- c:
	case <-h.closed:
		_ = c.Close()
	}
}

func (h *handedOver) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

func (h *handedOver) Close() error {
	close(h.closed)
	return h.Listener.Close()
}

// within fails the test if a failure was named later than the ten-second rule
// allows; half a second is for the test's own steps.
func within(t *testing.T, took time.Duration) {
	t.Helper()
	if took > 10*time.Second+500*time.Millisecond {
		t.Errorf("named after %v, want 10s", took)
	}
}
