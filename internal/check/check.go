// Package check looks, without serving, whether this machine can hold calls
// with a configuration: ports, addresses, certificate, clock, disk and the
// limits of the kernel. Everything it finds comes with what to do about it.
//
// A consilium that runs already is no fault: what it holds is said to be its.
//
// The package is near the leaves: it knows the configuration and how a
// certificate is judged, and nothing of what serves.
package check

import (
	"context"
	"net/netip"
	"time"

	"consilium/internal/config"
)

// Level of a finding.
type Level string

const (
	OK      Level = "ok"
	Warning Level = "warning" // it works, and something will go wrong
	Error   Level = "error"   // it doesn't work
)

// Finding is one thing that was looked at.
type Finding struct {
	Check  string `json:"check"` // what was looked at: "udp 443", "clock"
	Level  Level  `json:"level"`
	Words  string `json:"words"`
	Advice string `json:"advice,omitempty"` // what to do; "" if all is well
}

func ok(check, words string) Finding { return Finding{check, OK, words, ""} }

func warning(check, words, advice string) Finding { return Finding{check, Warning, words, advice} }

func failure(check, words, advice string) Finding { return Finding{check, Error, words, advice} }

// patience is how long a question to another machine may take.
const patience = 3 * time.Second

// Run looks at everything, for a valid configuration. It listens for a moment
// on the ports and writes one small file into the data directory.
func Run(ctx context.Context, cfg config.Config) []Finding {
	c := &checker{cfg: cfg}
	findings := c.addresses(ctx)
	findings = append(findings, c.ports(ctx)...)
	findings = append(findings, c.certificate(ctx)...)
	findings = append(findings, c.clock()...)
	findings = append(findings, c.disk()...)
	findings = append(findings, c.kernel()...)
	return append(findings, c.outside(ctx)...)
}

// checker is one Run.
type checker struct {
	cfg    config.Config
	media  []netip.Addr // addresses that media is offered on
	leaf   validity     // of the certificate; zero: there is none
	holder holders
}

// validity is when a certificate is good.
type validity struct{ from, until time.Time }
