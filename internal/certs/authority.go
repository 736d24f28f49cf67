package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"strings"
	"time"
)

const (
	// authorityUnit marks the issuer of local certificates, see IsLocal.
	authorityUnit = "Consilium local CA"
	// authorityLifetime is long because replacing an authority means a walk to
	// every device.
	authorityLifetime = 10 * 365 * 24 * time.Hour
	// backdate allows for clocks that are slow.
	backdate = time.Hour
	// nowhere is a name that can't exist (RFC 6761 section 6.4): a constraint
	// to it permits no name at all.
	nowhere = "invalid"
)

// Lifetimes of certificates that an Authority issues. Apple's systems refuse
// more than 825 days.
const (
	MinLifetime     = 90 * 24 * time.Hour
	DefaultLifetime = 365 * 24 * time.Hour
	MaxLifetime     = 825 * 24 * time.Hour
)

// Authority is a certificate authority for one hospital. It carries its limits
// in its own certificate, which browsers enforce: who steals its key can
// impersonate the hospital's own hosts and nothing else.
type Authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewAuthority makes an authority called name for domains: DNS names, which
// include all names below them, IP addresses and networks in CIDR notation.
// Names are ASCII; others are written in their xn-- form.
func NewAuthority(name string, domains []string, now time.Time) (*Authority, error) {
	name = strings.TrimSpace(name)
	if name == "" || len(name) > 48 {
		return nil, errors.New("the name of the authority must have 1 to 48 bytes, like the hospital's name")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: newSerial(),
		Subject:      pkix.Name{CommonName: name + " local CA", Organization: []string{name}, OrganizationalUnit: []string{authorityUnit}},
		NotBefore:    now.Add(-backdate), NotAfter: now.Add(authorityLifetime),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage:                    x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		ExtKeyUsage:                 []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, // limits what it issues, too
		PermittedDNSDomainsCritical: true,
	}
	if err := constrain(template, domains); err != nil {
		return nil, err
	}
	cert, err := sign(template, template, key, key)
	if err != nil {
		return nil, err
	}
	return &Authority{cert: cert, key: key}, nil
}

// constrain adds the name constraints. A kind of name that is not listed would
// be free, so each kind always has at least one constraint.
func constrain(template *x509.Certificate, domains []string) error {
	for _, domain := range domains {
		prefix, isIP, err := parseNetwork(domain)
		switch {
		case err != nil:
			return err
		case isIP:
			template.PermittedIPRanges = append(template.PermittedIPRanges, ipNet(prefix))
		default:
			domain, err = dnsName(domain)
			if err != nil {
				return err
			}
			if !strings.Contains(domain, ".") {
				return fmt.Errorf("%q would cover every name that ends so; name a domain of your own, like video.hospital.example", domain)
			}
			template.PermittedDNSDomains = append(template.PermittedDNSDomains, domain)
		}
	}
	if len(domains) == 0 {
		return errors.New("name at least one domain, IP address or network that the authority is for")
	}
	if len(template.PermittedDNSDomains) == 0 {
		template.PermittedDNSDomains = []string{nowhere}
	}
	if len(template.PermittedIPRanges) == 0 {
		template.ExcludedIPRanges = append(template.ExcludedIPRanges,
			ipNet(netip.PrefixFrom(netip.IPv4Unspecified(), 0)), ipNet(netip.PrefixFrom(netip.IPv6Unspecified(), 0)))
	}
	return nil
}

// Issue makes a certificate for hosts, names or IP addresses, and returns it
// and its key as PEM.
func (a *Authority) Issue(hosts []string, lifetime time.Duration, now time.Time) (certPEM, keyPEM []byte, err error) {
	if lifetime < MinLifetime || lifetime > MaxLifetime {
		return nil, nil, fmt.Errorf("a certificate lives %d to %d days; Apple's systems refuse more",
			MinLifetime/(24*time.Hour), MaxLifetime/(24*time.Hour))
	}
	template := &x509.Certificate{
		SerialNumber: newSerial(),
		Subject:      pkix.Name{Organization: a.cert.Subject.Organization},
		NotBefore:    now.Add(-backdate), NotAfter: now.Add(lifetime - backdate),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	if template.NotAfter.After(a.cert.NotAfter) {
		return nil, nil, fmt.Errorf("the authority itself ends at %s, before the certificate would; make a new one with `consilium ca init`", a.cert.NotAfter.Format(time.DateOnly))
	}
	if err := a.addHosts(template, hosts); err != nil {
		return nil, nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make a key: %w", err)
	}
	cert, err := sign(template, a.cert, key, a.key)
	if err != nil {
		return nil, nil, err
	}
	if err := a.verify(cert, hosts, now); err != nil {
		return nil, nil, err
	}
	if keyPEM, err = encodeKey(key); err != nil {
		return nil, nil, err
	}
	return encodeCert(cert), keyPEM, nil
}

// addHosts fills the subject alternative names.
func (a *Authority) addHosts(template *x509.Certificate, hosts []string) error {
	if len(hosts) == 0 {
		return errors.New("name at least one host that the certificate is for")
	}
	for _, host := range hosts {
		if address, err := netip.ParseAddr(host); err == nil {
			if !a.permitsIP(address) {
				return a.refuse(host)
			}
			template.IPAddresses = append(template.IPAddresses, address.Unmap().AsSlice())
			continue
		}
		name, err := dnsName(host)
		if err != nil {
			return err
		}
		if !a.permitsName(name) {
			return a.refuse(host)
		}
		template.DNSNames = append(template.DNSNames, name)
		if template.Subject.CommonName == "" && len(name) <= 64 { // the limit of X.520
			template.Subject.CommonName = name
		}
	}
	return nil
}

func (a *Authority) refuse(host string) error {
	return fmt.Errorf("this authority may not issue for %s, only for %s; browsers would refuse it", host, strings.Join(a.Permitted(), ", "))
}

func (a *Authority) permitsName(name string) bool {
	for _, domain := range a.cert.PermittedDNSDomains {
		if domain != nowhere && (name == domain || strings.HasSuffix(name, "."+domain)) {
			return true
		}
	}
	return false
}

func (a *Authority) permitsIP(address netip.Addr) bool {
	for _, network := range a.cert.PermittedIPRanges {
		if network.Contains(address.Unmap().AsSlice()) {
			return true
		}
	}
	return false
}

// Permitted lists the domains and networks the authority is for.
func (a *Authority) Permitted() []string {
	var all []string
	for _, domain := range a.cert.PermittedDNSDomains {
		if domain != nowhere {
			all = append(all, domain)
		}
	}
	for _, network := range a.cert.PermittedIPRanges {
		all = append(all, network.String())
	}
	return all
}

// Fingerprint is the SHA-256 of the authority's certificate, as browsers and
// operating systems show it.
func (a *Authority) Fingerprint() string {
	sum := sha256.Sum256(a.cert.Raw)
	parts := make([]string, len(sum))
	for i, b := range sum {
		parts[i] = fmt.Sprintf("%02X", b)
	}
	return strings.Join(parts, ":")
}

// NotAfter is when the authority ends.
func (a *Authority) NotAfter() time.Time { return a.cert.NotAfter }

// verify checks a new certificate the way a browser will.
func (a *Authority) verify(cert *x509.Certificate, hosts []string, now time.Time) error {
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	for _, host := range hosts {
		_, err := cert.Verify(x509.VerifyOptions{DNSName: host, Roots: roots, CurrentTime: now})
		if err != nil {
			return fmt.Errorf("the new certificate would not be accepted for %s: %w", host, err)
		}
	}
	return nil
}

func sign(template, parent *x509.Certificate, key, parentKey *ecdsa.PrivateKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	if err != nil {
		return nil, fmt.Errorf("sign the certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read back the certificate: %w", err)
	}
	return cert, nil
}

// newSerial returns 127 random bits: unique, positive, and within the 20 bytes
// of RFC 5280 section 4.1.2.2.
func newSerial() *big.Int {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails
	b[0] &= 0x7f
	b[15] |= 1 // not zero
	return new(big.Int).SetBytes(b)
}
