package main

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestALocalAuthorityIsMadeAndIssues(t *testing.T) {
	dir := t.TempDir()
	ca, host := filepath.Join(dir, "ca"), filepath.Join(dir, "video")
	made := consilium(t, nil, "ca", "init", "--name", "City Hospital", "--domain", "hospital.example,10.1.0.0/16", "--domain", "192.0.2.7", "--out", ca)
	if made.code != exitDone || !strings.Contains(made.stdout, "for: hospital.example, 10.1.0.0/16, 192.0.2.7/32\n") || !strings.Contains(made.stdout, "SHA-256: ") {
		t.Fatalf("ca init: %+v", made)
	}
	issued := consilium(t, nil, "ca", "issue", "--ca", ca, "--host", "video.hospital.example,10.1.0.5", "--out", host)
	if issued.code != exitDone || issued.stdout != "certificate: "+host+".crt\nkey: "+host+".key\n" {
		t.Fatalf("ca issue: %+v", issued)
	}
	for _, file := range []string{ca + "/ca.crt", ca + "/ca.key", host + ".crt", host + ".key"} {
		if info, err := os.Stat(file); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %v, %v, want mode 0600", file, info, err)
		}
	}
	pair, err := tls.LoadX509KeyPair(host+".crt", host+".key")
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(read(t, ca+"/ca.crt"))) {
		t.Fatal("ca.crt holds no certificate")
	}
	for _, name := range []string{"video.hospital.example", "10.1.0.5"} {
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMistakesWithTheLocalAuthorityAreExplained(t *testing.T) {
	dir := t.TempDir()
	ca, host := filepath.Join(dir, "ca"), filepath.Join(dir, "video")
	if got := consilium(t, nil, "ca", "init", "--name", "H", "--domain", "hospital.example", "--out", ca); got.code != exitDone {
		t.Fatalf("ca init: %+v", got)
	}
	if got := consilium(t, nil, "ca", "issue", "--ca", ca, "--host", "hospital.example", "--out", host); got.code != exitDone {
		t.Fatalf("ca issue: %+v", got)
	}
	key := read(t, host+".key")
	for name, tc := range map[string]struct {
		args []string
		code int
		says string
	}{
		"authority exists":    {[]string{"init", "--name", "H", "--domain", "a.example", "--out", ca}, exitFailed, "exists and is not overwritten"},
		"nothing to be for":   {[]string{"init", "--name", "H", "--out", ca}, exitUsage, "--domain"},
		"a top-level domain":  {[]string{"init", "--name", "H", "--domain", "com", "--out", ca + "2"}, exitFailed, `"com" would cover every name`},
		"the whole internet":  {[]string{"init", "--name", "H", "--domain", "0.0.0.0/0", "--out", ca + "2"}, exitFailed, "not a network of a hospital"},
		"a wildcard":          {[]string{"init", "--name", "H", "--domain", "*.a.example", "--out", ca + "2"}, exitFailed, "is not a name"},
		"certificate exists":  {[]string{"issue", "--ca", ca, "--host", "hospital.example", "--out", host}, exitFailed, "exists and is not overwritten"},
		"another name":        {[]string{"issue", "--ca", ca, "--host", "bank.example", "--out", host + "2"}, exitFailed, "may not issue for bank.example, only for hospital.example"},
		"a similar name":      {[]string{"issue", "--ca", ca, "--host", "evilhospital.example", "--out", host + "2"}, exitFailed, "may not issue"},
		"an address":          {[]string{"issue", "--ca", ca, "--host", "10.0.0.1", "--out", host + "2"}, exitFailed, "may not issue"},
		"too long a life":     {[]string{"issue", "--ca", ca, "--host", "hospital.example", "--out", host + "2", "--days", "826"}, exitFailed, "90 to 825 days"},
		"no authority there":  {[]string{"issue", "--ca", dir, "--host", "hospital.example", "--out", host + "2"}, exitFailed, "consilium ca init"},
		"no host":             {[]string{"issue", "--ca", ca, "--out", host + "2"}, exitUsage, "--host"},
		"unexpected argument": {[]string{"issue", "--ca", ca, "x"}, exitUsage, "unexpected argument"},
	} {
		t.Run(name, func(t *testing.T) {
			got := consilium(t, nil, append([]string{"ca"}, tc.args...)...)
			if got.code != tc.code || !strings.Contains(got.stderr, tc.says) || got.stdout != "" {
				t.Errorf("got %+v, want exit code %d and %q", got, tc.code, tc.says)
			}
		})
	}
	if read(t, host+".key") != key {
		t.Error("a key was overwritten")
	}
	if left, err := filepath.Glob(host + "2*"); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
