package certs

import (
	"crypto/x509"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestTheAuthorityIssuesWithinItsLimitsOnly(t *testing.T) {
	for name, tc := range map[string]struct {
		domains []string
		good    []string
		bad     []string
	}{
		"a domain": {[]string{"Hospital.Example"}, []string{"hospital.example", "a.b.hospital.example", "VIDEO.hospital.example."},
			[]string{"example", "xhospital.example", "10.0.0.1", "::1", "hospital.example.org", "*.hospital.example", "", "a..b", "ü.hospital.example"}},
		"a network":       {[]string{"10.1.2.3/16"}, []string{"10.1.255.1"}, []string{"10.2.0.1", "::1", "a.example", "invalid"}},
		"an IPv4 address": {[]string{"192.0.2.7"}, []string{"192.0.2.7"}, []string{"192.0.2.8", "2001:db8::1"}},
		"an IPv6 address": {[]string{"2001:db8::7", "h.example"}, []string{"2001:db8::7", "h.example"}, []string{"2001:db8::8", "127.0.0.1"}},
	} {
		t.Run(name, func(t *testing.T) {
			a, err := NewAuthority("Hospital", tc.domains, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			for _, host := range tc.good {
				if _, _, err := a.Issue([]string{host}, DefaultLifetime, time.Now()); err != nil {
					t.Errorf("%s: %v", host, err)
				}
			}
			for _, host := range tc.bad {
				if _, _, err := a.Issue([]string{host}, DefaultLifetime, time.Now()); err == nil {
					t.Errorf("%q: issued", host)
				}
			}
		})
	}
}

// What the key could sign if somebody stole it must be refused by verifiers.
func TestVerifiersRefuseWhatTheAuthorityMayNotIssue(t *testing.T) {
	names, err := NewAuthority("Names", []string{"hospital.example"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	addresses, err := NewAuthority("Addresses", []string{"10.1.0.0/16"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		a    *Authority
		host string
	}{
		"a bank":            {names, "bank.example"},
		"an IPv4 address":   {names, "10.0.0.1"},
		"an IPv6 address":   {names, "2001:db8::1"},
		"any name":          {addresses, "hospital.example"},
		"another network":   {addresses, "10.2.0.1"},
		"IPv6 of IPv4 only": {addresses, "2001:db8::1"},
	} {
		t.Run(name, func(t *testing.T) {
			cert := steal(t, tc.a, tc.host)
			roots := x509.NewCertPool()
			roots.AddCert(tc.a.cert)
			_, err := cert.Verify(x509.VerifyOptions{DNSName: tc.host, Roots: roots})
			var invalid x509.CertificateInvalidError
			if !errors.As(err, &invalid) || invalid.Reason != x509.CANotAuthorizedForThisName {
				t.Errorf("got %v, want a violation of name constraints", err)
			}
		})
	}
}

// steal signs for a host without asking whether the authority may.
func steal(t *testing.T, a *Authority, host string) *x509.Certificate {
	t.Helper()
	certPEM, _, err := a.Forge(host)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := parsePEM(certPEM)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func TestCertificatesAreWhatBrowsersAskFor(t *testing.T) {
	a := ward(t)
	certPEM, _ := issue(t, a, "a.ward.example", "127.0.0.1")
	cert, err := parsePEM(certPEM)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(cert.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}) || cert.IsCA || cert.PublicKeyAlgorithm != x509.ECDSA {
		t.Errorf("certificate: usage %v, authority %v, %v", cert.ExtKeyUsage, cert.IsCA, cert.PublicKeyAlgorithm)
	}
	if life := cert.NotAfter.Sub(cert.NotBefore); life > MaxLifetime {
		t.Errorf("lives %v", life)
	}
	if !IsLocal(cert) || IsLocal(nil) {
		t.Error("not known as that of a local authority")
	}
	if !a.cert.PermittedDNSDomainsCritical || !a.cert.MaxPathLenZero || a.cert.KeyUsage&x509.KeyUsageCertSign == 0 {
		t.Error("the authority's limits are not critical, or it may make other authorities")
	}
	for _, lifetime := range []time.Duration{MinLifetime - time.Second, MaxLifetime + time.Second} {
		if _, _, err := a.Issue([]string{"a.ward.example"}, lifetime, time.Now()); err == nil {
			t.Errorf("issued for %v", lifetime)
		}
	}
	if _, _, err := a.Issue([]string{"a.ward.example"}, MinLifetime, a.NotAfter().Add(-time.Hour)); err == nil || !strings.Contains(err.Error(), "consilium ca init") {
		t.Errorf("a certificate that outlives its authority: %v", err)
	}
}

func TestASavedAuthorityIsTheSame(t *testing.T) {
	a, dir := ward(t), filepath.Join(t.TempDir(), "ca")
	if err := a.Save(dir); err != nil {
		t.Fatal(err)
	}
	b, err := OpenAuthority(dir)
	if err != nil {
		t.Fatal(err)
	}
	if a.Fingerprint() != b.Fingerprint() || len(b.Fingerprint()) != 95 || !slices.Equal(b.Permitted(), []string{"ward.example", "127.0.0.0/8"}) {
		t.Errorf("got %s for %v", b.Fingerprint(), b.Permitted())
	}
	issue(t, b, "x.ward.example")
	if err := ward(t).Save(dir); err == nil {
		t.Error("an authority was overwritten")
	}
	other := filepath.Join(t.TempDir(), "ca")
	if err := ward(t).Save(other); err != nil {
		t.Fatal(err)
	}
	key, err := readPEM(filepath.Join(other, authorityKey), pemKey)
	if err != nil || len(key) == 0 {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, AuthorityCert), encodeCert(ward(t).cert))
	if _, err := OpenAuthority(dir); err == nil {
		t.Error("a certificate with the key of another was taken")
	}
}

func FuzzHostNames(f *testing.F) {
	for _, seed := range []string{"hospital.example", "10.0.0.0/8", "::ffff:1.2.3.4", "fe80::1%eth0", "*.a", "a/b", "xn--80ak6aa92e.com", ".", "a.-b"} {
		f.Add(seed)
	}
	a, err := NewAuthority("Fuzz", []string{"hospital.example", "10.0.0.0/8"}, time.Now())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if _, _, err := parseNetwork(text); err != nil {
			return
		}
		name, err := dnsName(text)
		if err == nil && a.permitsName(name) && name != "hospital.example" && !strings.HasSuffix(name, ".hospital.example") {
			t.Errorf("%q passes as %q", text, name)
		}
	})
}
