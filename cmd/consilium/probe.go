package main

import (
	"context"
	"crypto/x509"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"consilium/internal/config"
	"consilium/internal/probe"
)

// tokenVariable is the environment variable that keeps a token off the command
// line, which other users of the machine can read.
const tokenVariable = "CONSILIUM_TOKEN"

// maxLine bounds what is read of a file with a token or a secret: a wrong path
// must not fill the memory.
const maxLine = 64 << 10

// probeOptions are the flags of `consilium probe`.
type probeOptions struct {
	token, tokenFile, ca string
	timeout              time.Duration
	json                 bool
}

func probeCommand() command {
	return command{
		name:    "probe",
		args:    "URL --token T [--ca FILE] [--timeout 10s] [--json]",
		summary: "try every path to a server from here and print which work",
		details: `  URL               https://video.example.org, or a whole join link URL#TOKEN
  --token T         a join token of the server; anybody on this machine can read
                    it there, so better:
  --token-file FILE read it from a file; "-" is standard input
                    or put it into the environment as CONSILIUM_TOKEN
  --ca FILE         trust these authorities (PEM) instead of the system's
  --timeout 10s     of one step: 1s to 60s
  --json            print JSON

The proxy of the environment (HTTPS_PROXY, NO_PROXY) is used, as browsers do.
Nobody is called: media goes to a room of its own and back, and the outcome is
stored at the server. Exit code 0: a call would work; 1: not, with the code.

examples:
  consilium probe https://video.example.org --token-file token.txt
  consilium probe 'https://video.example.org/r/room#TOKEN'
`,
		define: func(fs *flag.FlagSet, _ []string) action {
			o := &probeOptions{timeout: probe.DefaultTimeout}
			fs.StringVar(&o.token, "token", "", "")
			fs.StringVar(&o.tokenFile, "token-file", "", "")
			fs.StringVar(&o.ca, "ca", "", "")
			fs.BoolVar(&o.json, "json", false, "")
			fs.Func("timeout", "", func(text string) (err error) {
				o.timeout, err = config.ParseDuration(text)
				return err
			})
			return o.run
		},
	}
}

func (o *probeOptions) run(ctx context.Context, p *program, args []string) error {
	cfg, err := o.config(p, args)
	if err != nil {
		return err
	}
	report, err := probe.Run(ctx, cfg)
	if err != nil {
		return usagef("probe: %v; see `consilium help probe`", err)
	}
	if o.json {
		err = printJSON(p.stdout, report)
	} else {
		err = printProbe(p.stdout, report)
	}
	if err != nil {
		return fmt.Errorf("print the report: %w", err)
	}
	if !report.Works() {
		return fmt.Errorf("a call would not work from here: %s: %s", report.Code, report.Words)
	}
	return nil
}

func (o *probeOptions) config(p *program, args []string) (probe.Config, error) {
	if len(args) != 1 {
		return probe.Config{}, usagef("probe: want one URL, got %d; see `consilium help probe`", len(args))
	}
	if o.timeout < time.Second || o.timeout > time.Minute {
		return probe.Config{}, usagef("probe: --timeout %v is out of range; take 1s to 60s", o.timeout)
	}
	base, inLink, err := splitLink(args[0])
	if err != nil {
		return probe.Config{}, usagef("probe: %v", err)
	}
	token, err := o.findToken(p, inLink)
	if err != nil {
		return probe.Config{}, err
	}
	roots, err := readRoots(o.ca)
	if err != nil {
		return probe.Config{}, err
	}
	return probe.Config{URL: base, Token: token, Roots: roots, Timeout: o.timeout, Proxy: http.ProxyFromEnvironment}, nil
}

// findToken takes the token from where it was given; exactly one place.
func (o *probeOptions) findToken(p *program, inLink string) (string, error) {
	fromFile := ""
	if o.tokenFile != "" {
		var err error
		if fromFile, err = readToken(o.tokenFile); err != nil {
			return "", err
		}
	}
	given := ""
	for _, token := range []string{inLink, o.token, fromFile} {
		switch {
		case token != "" && given != "":
			return "", usagef("probe: there are two tokens; give one of URL#TOKEN, --token and --token-file")
		case token != "":
			given = token
		}
	}
	if given == "" {
		given = variable(p.environ, tokenVariable)
	}
	if given == "" {
		return "", usagef("probe: a join token is missing; name one with --token-file or --token, or give the join link; `consilium token` makes one")
	}
	return given, nil
}

// variable returns the value of an environment variable, "" if it is not set.
func variable(environ []string, name string) string {
	for _, v := range environ {
		if value, ok := strings.CutPrefix(v, name+"="); ok {
			return value
		}
	}
	return ""
}

// splitLink takes a URL or a join link apart into scheme and host, and token.
func splitLink(text string) (base, token string, err error) {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil {
		text, _, _ = strings.Cut(text, "#") // the token is nobody's business
		return "", "", fmt.Errorf(`%q is not like "https://video.example.org"`, text)
	}
	return u.Scheme + "://" + u.Host, u.Fragment, nil
}

func readToken(name string) (string, error) {
	token, err := readLine(name, "--token-file")
	if err == nil && strings.ContainsAny(token, " \n\r\t") {
		return "", fmt.Errorf("%s has more than a token; put one into it, and nothing else", name)
	}
	return token, err
}

// readLine reads the one line of a small file; "-" is standard input.
func readLine(name, flag string) (string, error) {
	f := os.Stdin
	if name != "-" {
		var err error
		if f, err = os.Open(name); err != nil {
			return "", fmt.Errorf("%w; check %s", err, flag)
		}
		defer f.Close() // read only: nothing to lose
	}
	data, err := io.ReadAll(io.LimitReader(f, maxLine))
	if err != nil {
		return "", fmt.Errorf("read %s: %w; check %s", name, err, flag)
	}
	text := strings.TrimRight(string(data), "\r\n")
	if text == "" {
		return "", fmt.Errorf("%s is empty; check %s", name, flag)
	}
	return text, nil
}

// readRoots reads authorities to trust; "" means the system's.
func readRoots(name string) (*x509.CertPool, error) {
	if name == "" {
		return nil, nil
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read the authorities: %w; check --ca", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("%s has no certificate; --ca takes PEM, like ca.crt of `consilium ca init`", name)
	}
	return roots, nil
}

// printProbe prints the table for people.
func printProbe(w io.Writer, r probe.Report) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "PATH\tRESULT\tMS\t")
	for _, c := range r.Checks {
		result := map[probe.Status]string{probe.OK: "works", probe.Failed: "fails", probe.Skipped: "-"}[c.Status]
		ms := ""
		if value, ok := c.Values["ms"]; ok {
			ms = strconv.FormatFloat(value, 'f', 0, 64)
		}
		text := c.Words
		if c.Code != "" {
			text = string(c.Code) + ": " + text
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\n", c.Name, result, ms, text)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	verdict := map[string]string{probe.Good: "good", probe.Limited: "limited", probe.Bad: "failed"}[r.Verdict]
	if r.Code != "" {
		verdict += " (" + string(r.Code) + ")"
	}
	_, err := fmt.Fprintf(w, "\n%s: %s\n", verdict, r.Words)
	return err
}
