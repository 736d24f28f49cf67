package portmux

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/netip"
	"testing"
	"time"
)

func TestAClientThatRefusesOurCertificateIsTold(t *testing.T) {
	cert := selfSigned(t)
	told := make(chan Untrusted, 1)
	m, addr := serve(t, Config{
		TLS:       &tls.Config{Certificates: []tls.Certificate{cert}},
		Untrusted: func(u Untrusted) { told <- u },
	})
	for name, client := range map[string]*tls.Config{
		"unknown authority":        {ServerName: "video.example", RootCAs: x509.NewCertPool()},
		"unknown authority by 1.2": {ServerName: "video.example", RootCAs: x509.NewCertPool(), MaxVersion: tls.VersionTLS12},
	} {
		t.Run(name, func(t *testing.T) {
			err := tls.Client(dial(t, addr), client).Handshake()
			if _, ok := errors.AsType[*tls.CertificateVerificationError](err); !ok {
				t.Fatalf("handshake: %v", err)
			}
			select {
			case u := <-told:
				if u.From != netip.MustParseAddr("127.0.0.1") || u.Name != "video.example" || u.Alert != "tls: bad certificate" {
					t.Errorf("told of %+v", u)
				}
			case <-time.After(10 * time.Second):
				t.Fatal("nobody was told")
			}
		})
	}
	if s := m.Stats(); s.Dropped["untrusted"] != 2 || s.Dropped["handshake"] != 0 {
		t.Errorf("counted %v", s.Dropped)
	}
}

func TestAHandshakeThatFailsForOtherReasonsSaysNothingOfTrust(t *testing.T) {
	m, addr := serve(t, Config{
		TLS:       &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}},
		Untrusted: func(u Untrusted) { t.Errorf("told of %+v", u) },
	})
	old := tls.Client(dial(t, addr), &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10})
	if err := old.Handshake(); err == nil {
		t.Error("TLS 1.1 was spoken")
	}
	gone := dial(t, addr)
	send(t, gone, append([]byte{0x16, 3, 1, 0, 200}, make([]byte, 20)...))
	if err := gone.Close(); err != nil {
		t.Error(err)
	}
	deadline := time.After(10 * time.Second)
	for tick := time.Tick(10 * time.Millisecond); m.Stats().Dropped["handshake"] != 2; {
		select {
		case <-tick:
		case <-deadline:
			t.Fatalf("counted %v", m.Stats().Dropped)
		}
	}
}
