package main

import (
	"context"
	"flag"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"consilium/internal/certs"
)

// list is a flag of comma-separated values that may also be repeated.
type list []string

func (l *list) String() string { return strings.Join(*l, ",") }

// Set implements flag.Value.
func (l *list) Set(text string) error {
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item != "" {
			*l = append(*l, item)
		}
	}
	return nil
}

func caInitCommand() command {
	return command{
		name:    "ca init",
		args:    "--name HOSPITAL --domain DOMAIN[,IP]... --out DIR",
		summary: "make a name-constrained local CA for closed networks",
		details: `  --name HOSPITAL   whose authority it is, as devices will show it
  --domain DOMAIN   what it may issue for: a DNS name with all names below it, an
                    IP address or a network like 10.1.0.0/16; separated by commas
                    or repeated. Browsers refuse anything else from it
  --out DIR         directory for ca.crt (install it on the devices) and ca.key
                    (keep it off the server); nothing is overwritten

It lives ten years. Not for patients: their devices don't trust it.

example:
  consilium ca init --name "City Hospital" --domain hospital.example,10.1.0.0/16 --out ca
`,
		define: func(fs *flag.FlagSet, _ []string) action {
			var domains list
			name, out := fs.String("name", "", ""), fs.String("out", "", "")
			fs.Var(&domains, "domain", "")
			return func(_ context.Context, p *program, args []string) error {
				if err := noArguments("ca init", args); err != nil {
					return err
				}
				if *name == "" || len(domains) == 0 || *out == "" {
					return usagef("ca init: --name, --domain and --out are needed; see `consilium help ca init`")
				}
				return caInit(p, *name, domains, *out)
			}
		},
	}
}

func caInit(p *program, name string, domains []string, out string) error {
	authority, err := certs.NewAuthority(name, domains, time.Now())
	if err != nil {
		return fmt.Errorf("ca init: %w", err)
	}
	if err := authority.Save(out); err != nil {
		return fmt.Errorf("ca init: %w", err)
	}
	_, err = fmt.Fprintf(p.stdout, "authority: %s\nfor: %s\nuntil: %s\nSHA-256: %s\n",
		filepath.Join(out, certs.AuthorityCert), strings.Join(authority.Permitted(), ", "),
		authority.NotAfter().Format(time.DateOnly), authority.Fingerprint())
	return err
}

func caIssueCommand() command {
	return command{
		name:    "ca issue",
		args:    "--ca DIR --host NAME[,IP]... --out PREFIX [--days 365]",
		summary: "issue a certificate of the local CA",
		details: `  --ca DIR       directory of consilium ca init
  --host NAME    host names and IP addresses the certificate is for, separated by
                 commas or repeated
  --out PREFIX   writes PREFIX.crt and PREFIX.key; nothing is overwritten
  --days 365     how long it lives, 90 to 825

example:
  consilium ca issue --ca ca --host video.hospital.example,10.1.0.5 --out video
`,
		define: func(fs *flag.FlagSet, _ []string) action {
			var hosts list
			ca, out := fs.String("ca", "", ""), fs.String("out", "", "")
			days := fs.Int("days", int(certs.DefaultLifetime/(24*time.Hour)), "")
			fs.Var(&hosts, "host", "")
			return func(_ context.Context, p *program, args []string) error {
				if err := noArguments("ca issue", args); err != nil {
					return err
				}
				if *ca == "" || len(hosts) == 0 || *out == "" {
					return usagef("ca issue: --ca, --host and --out are needed; see `consilium help ca issue`")
				}
				if *days < 1 || *days > 10_000 {
					return usagef("ca issue: --days %d is out of range; take 90 to 825", *days)
				}
				return caIssue(p, *ca, hosts, *out, time.Duration(*days)*24*time.Hour)
			}
		},
	}
}

func caIssue(p *program, ca string, hosts []string, out string, lifetime time.Duration) error {
	authority, err := certs.OpenAuthority(ca)
	if err != nil {
		return fmt.Errorf("ca issue: %w", err)
	}
	cert, key, err := authority.Issue(hosts, lifetime, time.Now())
	if err != nil {
		return fmt.Errorf("ca issue: %w", err)
	}
	if err := certs.WritePair(out+".crt", out+".key", cert, key); err != nil {
		return fmt.Errorf("ca issue: %w", err)
	}
	_, err = fmt.Fprintf(p.stdout, "certificate: %s.crt\nkey: %s.key\n", out, out)
	return err
}
