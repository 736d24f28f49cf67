package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"consilium/internal/auth"
	"consilium/internal/browser"
	"consilium/internal/certs"
	"consilium/internal/config"
)

// Names in these tests: the server's, and one that its authority may not vouch
// for.
const (
	secureHost = "video.hospital.example"
	bank       = "www.bank.example"
)

// localCA makes an authority for the hospital and returns its directory.
func localCA(t *testing.T) (dir string, authority *certs.Authority) {
	t.Helper()
	authority, err := certs.NewAuthority("Hospital", []string{"hospital.example"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(t.TempDir(), "ca")
	if err := authority.Save(dir); err != nil {
		t.Fatal(err)
	}
	return dir, authority
}

// startSecure runs a server with a certificate of the authority. The lab's URL
// is for browsers that know the name.
func startSecure(t *testing.T, authority *certs.Authority) *lab {
	t.Helper()
	cert, key, err := authority.Issue([]string{secureHost}, certs.MinLifetime, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	prefix := filepath.Join(t.TempDir(), "video")
	if err := certs.WritePair(prefix+".crt", prefix+".key", cert, key); err != nil {
		t.Fatal(err)
	}
	l := start(t, func(c *config.Config) {
		_, port, err := net.SplitHostPort(c.HTTP.Address[0])
		if err != nil {
			t.Fatal(err)
		}
		c.HTTP.PublicURL = "https://" + net.JoinHostPort(secureHost, port)
		c.TLS = config.TLS{Mode: config.TLSFiles, CertFile: prefix + ".crt", KeyFile: prefix + ".key"}
	})
	l.url = l.cfg.HTTP.PublicURL
	return l
}

func TestBrowsersTrustTheLocalCAAndCallOverTLSAlone(t *testing.T) {
	t.Parallel()
	for _, kind := range []browser.Kind{browser.Chromium, browser.Firefox} {
		t.Run(string(kind), func(t *testing.T) {
			dir, authority := localCA(t)
			l := startSecure(t, authority)
			b := browser.Start(t, browser.Options{
				Kind: kind, Trust: filepath.Join(dir, certs.AuthorityCert), Hosts: []string{secureHost},
			})
			over := browser.PageOptions{Relay: "tls"}
			doctor := l.visit(b, "room", "doctor", auth.RoleDoctor, over)
			var page struct {
				Secure, Camera bool
				URL            string
			}
			doctor.Eval(`({Secure: isSecureContext, Camera: !!navigator.mediaDevices?.getUserMedia, URL: location.origin})`, &page)
			if !page.Secure || !page.Camera || page.URL != l.url {
				t.Errorf("the page is %+v, want a secure context with a camera at %s", page, l.url)
			}
			patient := l.visit(b, "room", "patient", auth.RolePatient, over)
			doctor.join()
			patient.join()
			doctor.sees("patient")
			patient.sees("doctor")
			patient.hears()
			candidates := doctor.Stats("local-candidate")
			for _, c := range candidates {
				if c["candidateType"] != "relay" || c["relayProtocol"] != "tls" {
					t.Errorf("the doctor has the candidate %v, want relays over TLS only", c)
				}
			}
			if len(candidates) == 0 {
				t.Error("the doctor has no candidate")
			}
		})
	}
}

func TestBrowsersRefuseWhatTheLocalCAMayNotVouchFor(t *testing.T) {
	t.Parallel()
	for _, kind := range []browser.Kind{browser.Chromium, browser.Firefox} {
		t.Run(string(kind), func(t *testing.T) {
			dir, authority := localCA(t)
			port, asked := twoFaces(t, dir, authority)
			trusting := browser.Options{Kind: kind, Trust: filepath.Join(dir, certs.AuthorityCert), Hosts: []string{secureHost, bank}}
			p := browser.Start(t, trusting).NewPage(t, "trusting", browser.PageOptions{})
			if got := reach(p, secureHost, port); got != "reached" {
				t.Errorf("the hospital: %s", got)
			}
			for _, other := range []string{bank, "127.0.0.1"} {
				before := asked.Load()
				if got := reach(p, other, port); got == "reached" || asked.Load() == before {
					t.Errorf("a certificate for %s: %s after %d handshakes, want it seen and refused", other, got, asked.Load()-before)
				}
			}
			trusting.Trust = ""
			stranger := browser.Start(t, trusting).NewPage(t, "stranger", browser.PageOptions{})
			if got := reach(stranger, secureHost, port); got == "reached" {
				t.Error("the hospital's certificate was accepted without its authority")
			}
		})
	}
}

// reach says whether a page can reach a host over HTTPS.
func reach(p *browser.Page, host, port string) (out string) {
	p.Eval(fmt.Sprintf(`fetch("https://%s:%s/", {mode: "no-cors"}).then(() => "reached", (e) => String(e))`, host, port), &out)
	return out
}

// twoFaces serves HTTPS for the hospital and, with certificates that a thief of
// the authority's key has signed, for the bank and for its own address. It
// returns the port and how often those two were asked for.
func twoFaces(t *testing.T, dir string, authority *certs.Authority) (port string, asked *atomic.Int32) {
	t.Helper()
	certPEM, keyPEM, err := authority.Issue([]string{secureHost}, certs.MinLifetime, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	good, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	forged := map[string]tls.Certificate{bank: forge(t, dir, bank), "": forge(t, dir, "127.0.0.1")} // no name is sent for an address
	asked = &atomic.Int32{}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	// Not GetCertificate: for clients that send no name httptest has its own.
	s.TLS = &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if c, ok := forged[hello.ServerName]; ok {
			asked.Add(1)
			return &tls.Config{Certificates: []tls.Certificate{c}}, nil
		}
		return &tls.Config{Certificates: []tls.Certificate{good}}, nil
	}}
	s.StartTLS()
	t.Cleanup(s.Close)
	_, port, err = net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port, asked
}

// forge signs a certificate for any host with the authority's key.
func forge(t *testing.T, dir, host string) tls.Certificate {
	t.Helper()
	ca, err := tls.LoadX509KeyPair(filepath.Join(dir, certs.AuthorityCert), filepath.Join(dir, "ca.key"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		NotBefore:    time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if ip := net.ParseIP(host); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{host}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.Leaf, &key.PublicKey, ca.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
