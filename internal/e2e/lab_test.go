package e2e

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"testing"
	"time"

	"consilium/internal/auth"
	"consilium/internal/bot"
	"consilium/internal/config"
	"consilium/internal/event"
	"consilium/internal/server"
	"consilium/recorder"
)

const (
	tokenTTL = 10 * time.Minute
	// patience is how long a step may take on a loaded machine.
	patience = 30 * time.Second
	stopTime = 40 * time.Second
)

// lab is a server of the test's own.
type lab struct {
	t      *testing.T
	url    string
	cfg    config.Config
	auth   *auth.Authority
	server *server.Server
	tls    bool   // only HTTPS is served
	stop   func() // ends the server and waits; the test's end calls it too
}

// start runs a server until the test ends. edit changes its configuration.
func start(t *testing.T, edit func(*config.Config)) *lab {
	t.Helper()
	cfg := config.Dev()
	cfg.Data = t.TempDir()
	// As with --dev: HTTP on loopback, ICE-TCP and TURN on every address.
	port := freeTCPPort(t)
	cfg.HTTP.Address = []string{net.JoinHostPort("127.0.0.1", strconv.Itoa(port))}
	cfg.Media.UDPPort, cfg.Media.TCPPort = 0, port
	cfg.TURN.UDPPort = 0
	if edit != nil {
		edit(&cfg)
	}
	l := &lab{t: t, cfg: cfg}
	authority, err := auth.New(auth.Config{Keys: cfg.Keys})
	if err != nil {
		t.Fatal(err)
	}
	l.auth = authority
	l.run()
	return l
}

// run runs the server until stop, or the test's end. After a stop it may be
// called again: the server then comes back as it was, with the same data.
func (l *lab) run() {
	t := l.t
	t.Helper()
	log := slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelInfo}))
	s, err := server.New(l.cfg, log)
	l.must(err)
	l.server = s
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	stopped := false
	l.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("server: %v", err)
			}
		case <-time.After(stopTime):
			t.Errorf("server does not stop")
		}
	}
	t.Cleanup(l.stop)
	select {
	case <-s.Ready():
	case err := <-ended:
		stopped = true
		t.Fatalf("server ended before it was ready: %v", err)
	}
	l.url = "http://" + s.Address()
}

// testWriter is the test's log as a writer.
type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s", p[:len(p)-1])
	return len(p), nil
}

// freeTCPPort returns a port that nobody listens on. It lies below those that
// the kernel gives to outgoing connections (net.ipv4.ip_local_port_range), of
// which one could take it on one of the addresses in the meantime.
func freeTCPPort(t *testing.T) int {
	t.Helper()
	const lowest, highest = 20000, 32000
	for range 100 {
		port := lowest + rand.IntN(highest-lowest)
		if l, err := net.Listen("tcp", ":"+strconv.Itoa(port)); err == nil {
			_ = l.Close()
			return port
		}
	}
	t.Fatalf("no free port between %d and %d", lowest, highest)
	return 0
}

// token makes a join token.
func (l *lab) token(room, identity string, role auth.Role) string {
	l.t.Helper()
	token, err := l.auth.Mint(auth.Claims{Room: room, Subject: identity, Name: identity, Role: role}, tokenTTL)
	if err != nil {
		l.t.Fatal(err)
	}
	return token
}

// link makes a join link.
func (l *lab) link(room, identity string, role auth.Role) string {
	l.t.Helper()
	return l.url + "/r/" + room + "#" + l.token(room, identity, role)
}

// context ends with the test, or after d.
func (l *lab) context(d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(l.t.Context(), d)
	l.t.Cleanup(cancel)
	return ctx
}

// bot runs a synthetic participant until the test ends; it then vanishes.
func (l *lab) bot(room, identity string, role auth.Role, edit func(*bot.Config)) *bot.Bot {
	l.t.Helper()
	cfg := bot.Config{URL: l.url, Token: l.token(room, identity, role)}
	if edit != nil {
		edit(&cfg)
	}
	b, err := bot.New(cfg)
	if err != nil {
		l.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		// Whoever waits for the bot hears of an error; Err has it too.
		_ = b.Run(ctx)
	}()
	l.t.Cleanup(func() {
		cancel()
		<-b.Done()
		if err := b.Err(); err != nil {
			l.t.Logf("bot %s ended: %v", identity, err)
		}
	})
	return b
}

// must fails the test if err is set.
func (l *lab) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

// api is where the API is, and a client for it.
func (l *lab) api() (base string, client *http.Client) {
	transport := &http.Transport{DisableKeepAlives: true}
	if !l.tls {
		return l.url, &http.Client{Transport: transport}
	}
	// Whatever its certificate is, the test knows that it is the server.
	transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
	return "https://" + l.server.Address(), &http.Client{Transport: transport}
}

// get reads a JSON answer of the API as an administrator.
func (l *lab) get(path string, out any) {
	l.t.Helper()
	base, client := l.api()
	request, err := http.NewRequestWithContext(l.t.Context(), http.MethodGet, base+path, nil)
	if err != nil {
		l.t.Fatal(err)
	}
	request.SetBasicAuth(config.DevKeyID, string(config.DevSecret))
	response, err := client.Do(request)
	if err != nil {
		l.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		l.t.Fatalf("GET %s: %d %v %s", path, response.StatusCode, err, body)
	}
	if err := json.Unmarshal(body, out); err != nil {
		l.t.Fatalf("GET %s: %v in %s", path, err, body)
	}
}

// events returns the whole event feed.
func (l *lab) events() []event.Event {
	l.t.Helper()
	var all []event.Event
	for after := ""; ; {
		var page struct {
			Events []event.Event `json:"events"`
			Next   string        `json:"next"`
		}
		l.get("/v1/events?limit=1000&after="+after, &page)
		all = append(all, page.Events...)
		if len(page.Events) == 0 || page.Next == after {
			return all
		}
		after = page.Next
	}
}

// waitEvent returns the first event of a type about a participant ("" is
// anybody), waiting for it.
func (l *lab) waitEvent(kind event.Type, participant string, limit time.Duration) event.Event {
	l.t.Helper()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(limit); ; <-ticker.C {
		all := l.events()
		for _, e := range all {
			if e.Type == kind && (participant == "" || e.Participant == participant) {
				return e
			}
		}
		if time.Now().After(deadline) {
			l.t.Fatalf("no %s of %q within %v; there were %s", kind, participant, limit, summary(all))
		}
	}
}

func summary(all []event.Event) (out string) {
	for _, e := range all {
		out += fmt.Sprintf("\n  %s %s %s %s %s", e.Time.Format("15:04:05.000"), e.Type, e.Participant, e.Track, e.Code)
	}
	return out
}

// recordings lists what is on disk.
func (l *lab) recordings() []recorder.Summary {
	l.t.Helper()
	list, err := recorder.List(l.cfg.Data)
	if err != nil {
		l.t.Fatal(err)
	}
	return list
}

// heapInUse is the heap after two collections: spans in use and live objects,
// in bytes.
func heapInUse() (spans, live uint64) {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapInuse, stats.HeapAlloc
}
