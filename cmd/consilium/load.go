package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"consilium/internal/auth"
	"consilium/internal/config"
	"consilium/internal/load"
)

// loadOptions are the flags of `consilium load`.
type loadOptions struct {
	source
	key, secretFile, ca string
	json                bool
	load                load.Config
}

func loadCommand() command {
	return command{
		name:    "load",
		args:    "URL [--dev | --config FILE | --token-key ID --secret-file FILE] [--rooms 1] [--participants 2] ...",
		summary: "put synthetic participants on a server and report what it costs",
		details: `  URL                 https://video.example.org
  --config FILE       configuration with the key to sign tokens with
  --dev               sign with the key of serve --dev
  --token-key ID      sign with this key, whose secret is in
  --secret-file FILE  a file with nothing else; "-" is standard input
  --rooms 1           calls at the same time
  --participants 2    people in each; at most 500 in all
  --duration 10s      how long it is measured: 1s to 1h
  --join-rate 10      joins a second
  --video 600         kbit/s of each camera; 0: none
  --audio 32          kbit/s of each microphone; 0: none
  --ca FILE           trust these authorities (PEM) instead of the system's
  --json              print JSON

They are real calls: a server that records records them, and tells the webhook
of them. It ends by itself; SIGINT ends it early, with a report. Exit code 1 if
anybody had no media.

examples:
  consilium load http://127.0.0.1:8080 --dev --rooms 5 --duration 30s
`,
		define: func(fs *flag.FlagSet, _ []string) action {
			o := &loadOptions{load: load.Config{Duration: 10 * time.Second}}
			o.source.define(fs)
			fs.StringVar(&o.key, "token-key", "", "")
			fs.StringVar(&o.secretFile, "secret-file", "", "")
			fs.StringVar(&o.ca, "ca", "", "")
			fs.BoolVar(&o.json, "json", false, "")
			fs.IntVar(&o.load.Rooms, "rooms", 1, "")
			fs.IntVar(&o.load.Participants, "participants", 2, "")
			fs.Float64Var(&o.load.JoinRate, "join-rate", 10, "")
			fs.IntVar(&o.load.Video, "video", 600, "")
			fs.IntVar(&o.load.Audio, "audio", 32, "")
			fs.Func("duration", "", func(text string) (err error) {
				o.load.Duration, err = config.ParseDuration(text)
				return err
			})
			return o.run
		},
	}
}

func (o *loadOptions) run(ctx context.Context, p *program, args []string) error {
	if len(args) != 1 {
		return usagef("load: want one URL, got %d; see `consilium help load`", len(args))
	}
	base, _, err := splitLink(args[0])
	if err != nil {
		return usagef("load: %v", err)
	}
	if err := o.load.Check(); err != nil {
		return usagef("load: %v", err)
	}
	authority, err := o.authority(p)
	if err != nil {
		return err
	}
	if o.load.Roots, err = readRoots(o.ca); err != nil {
		return err
	}
	o.load.URL = base
	o.load.Mint = func(room, identity string) (string, error) {
		// Whoever may publish and subscribe, and never waits.
		return authority.Mint(auth.Claims{Issuer: o.key, Room: room, Subject: identity, Role: auth.RoleInterpreter}, load.MaxDuration)
	}
	o.load.Metrics = o.metrics(base, authority)
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	report, err := load.Run(ctx, o.load)
	if err != nil {
		return err
	}
	if o.json {
		err = printJSON(p.stdout, report)
	} else {
		err = printLoad(p.stdout, report)
	}
	if err != nil {
		return fmt.Errorf("print the report: %w", err)
	}
	if failed := report.People - report.Joined; failed > 0 {
		return fmt.Errorf("%d of %d people had no media (%s); lower the load or see the log of the server", failed, report.People, byCode(report.Failed))
	}
	return nil
}

// authority signs the tokens.
func (o *loadOptions) authority(p *program) (*auth.Authority, error) {
	switch {
	case (o.key == "") != (o.secretFile == ""):
		return nil, usagef("load: --token-key and --secret-file go together")
	case o.key != "" && (o.dev || o.file != ""):
		return nil, usagef("load: there are two keys; give one of --config, --dev and --token-key")
	case o.key != "":
		secret, err := readLine(o.secretFile, "--secret-file")
		if err != nil {
			return nil, err
		}
		if !auth.Ident(o.key) {
			return nil, usagef("load: --token-key %q is not 1 to 64 of A-Z a-z 0-9 . _ ~ -", o.key)
		}
		return auth.New(auth.Config{Keys: map[string]config.Key{o.key: {Secret: config.Secret(secret)}}})
	}
	cfg, err := o.source.load(p)
	if err != nil {
		return nil, err
	}
	return auth.New(auth.Config{Keys: cfg.Keys})
}

// metrics reads the server's metrics with a token of an admin.
func (o *loadOptions) metrics(base string, authority *auth.Authority) func(context.Context) (map[string]float64, error) {
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: o.load.Roots, MinVersion: tls.VersionTLS12},
	}}
	return func(ctx context.Context) (map[string]float64, error) {
		token, err := authority.Mint(auth.Claims{Issuer: o.key, Room: auth.AllRooms, Subject: "load", Role: auth.RoleAdmin}, time.Minute)
		if err != nil {
			return nil, err
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/metrics", http.NoBody)
		if err != nil {
			return nil, fmt.Errorf("make request: %w", err)
		}
		request.Header.Set("Authorization", "Bearer "+token)
		response, err := client.Do(request)
		if err != nil {
			return nil, err // it names method and URL
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("read metrics: %s", response.Status)
		}
		return plainMetrics(response.Body)
	}
}

// plainMetrics reads the series without labels of the Prometheus text format.
func plainMetrics(r io.Reader) (map[string]float64, error) {
	values := map[string]float64{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		name, text, _ := strings.Cut(lines.Text(), " ")
		if value, err := strconv.ParseFloat(text, 64); err == nil {
			values[name] = value
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read metrics: %w", err)
	}
	return values, nil
}

// printLoad prints the report for people.
func printLoad(w io.Writer, r load.Report) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "people\t%d of %d with media, in %d rooms\n", r.Joined, r.People, r.Rooms)
	if len(r.Failed) > 0 {
		fmt.Fprintf(tw, "failed\t%s\n", byCode(r.Failed))
	}
	fmt.Fprintf(tw, "connected\tthe slowest after %.0f ms\n", r.Connect)
	fmt.Fprintf(tw, "packets\t%d sent, %d received, %d repaired, %d lost, in %.0f s\n", r.Sent, r.Received, r.Repaired, r.Lost, r.Measured)
	fmt.Fprintf(tw, "delay\tp50 %.1f ms, p95 %.1f ms, p99 %.1f ms, at most %.1f ms\n", r.Delay.P50, r.Delay.P95, r.Delay.P99, r.Delay.Max)
	server := "not known: the key may not read /metrics"
	if r.Server != nil {
		server = fmt.Sprintf("%.2f cores, %.0f MiB", r.Server.CPU, r.Server.Memory/(1<<20))
	}
	fmt.Fprintf(tw, "server\t%s\n", server)
	fmt.Fprintf(tw, "client\t%.2f cores, %.0f MiB, %d frames skipped\n", r.Client.CPU, r.Client.Memory/(1<<20), r.Skipped)
	return tw.Flush()
}

// byCode lists the codes of failures, the most frequent first.
func byCode(failed map[string]int) string {
	var words []string
	for code, n := range failed {
		words = append(words, fmt.Sprintf("%d %s", n, code))
	}
	slices.SortFunc(words, func(a, b string) int { return strings.Compare(b, a) })
	return strings.Join(words, ", ")
}
