package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"consilium/internal/metrics"
)

// DefaultInterval is how often [Files] looks whether its files have changed.
const DefaultInterval = 5 * time.Second

// FilesConfig configures Files.
type FilesConfig struct {
	CertFile, KeyFile string // PEM; the chain, leaf first, and the key
	// Host is the name or address that users open; the certificate must be
	// for it. Empty is not checked.
	Host     string
	Interval time.Duration     // zero means DefaultInterval
	Metrics  *metrics.Registry // may be nil
	Log      *slog.Logger      // nil: discarded
}

// Files is a Source of PEM files. They may be replaced at any time, one after
// the other or both at once: a pair is taken when both have been still for one
// interval, and a pair that can't be used is logged and changes nothing.
type Files struct {
	cfg     FilesConfig
	current atomic.Pointer[tls.Certificate]
	reloads *metrics.CounterVec // nil: not counted

	mu    sync.Mutex // one reload at a time
	named fileNames  // the files in use
	used  stamp      // of them when they were last read
}

// NewFiles reads the files. The error says what to change.
func NewFiles(cfg FilesConfig) (*Files, error) {
	if cfg.Interval == 0 {
		cfg.Interval = DefaultInterval
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	f := &Files{cfg: cfg, named: fileNames{cfg.CertFile, cfg.KeyFile}}
	f.used = f.named.stamp()
	pair, err := loadPair(cfg.CertFile, cfg.KeyFile, cfg.Host, time.Now())
	if err != nil {
		return nil, err
	}
	warnOfChain(pair, cfg.Log)
	f.current.Store(pair)
	registerExpiry(cfg.Metrics, f.Leaf)
	if cfg.Metrics != nil {
		f.reloads = cfg.Metrics.CounterVec("consilium_certificate_reloads_total",
			"certificate files read again, by outcome", metrics.Label{Name: "outcome", Values: []string{"taken", "refused"}})
	}
	return f, nil
}

// TLSConfig implements Source.
func (f *Files) TLSConfig() *tls.Config {
	return baseConfig(func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return f.current.Load(), nil })
}

// Leaf implements Source.
func (f *Files) Leaf() *x509.Certificate { return f.current.Load().Leaf }

// Challenge implements Source: nobody asks.
func (f *Files) Challenge(next http.Handler) http.Handler { return next }

// Reload reads the files now.
func (f *Files) Reload() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.read(f.named)
}

// ReloadFrom reads other files from now on. If they can't be used, those in use
// stay and are watched as before.
func (f *Files) ReloadFrom(certFile, keyFile string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.read(fileNames{certFile, keyFile})
}

// read takes a pair from files. The caller holds f.mu.
func (f *Files) read(from fileNames) error {
	seen := from.stamp()
	if from == f.named {
		f.used = seen // also if it is refused: once is enough
	}
	pair, err := loadPair(from.cert, from.key, f.cfg.Host, time.Now())
	if err != nil {
		f.count("refused")
		return err
	}
	f.count("taken")
	f.named, f.used = from, seen
	old := f.current.Swap(pair)
	if !old.Leaf.Equal(pair.Leaf) {
		warnOfChain(pair, f.cfg.Log)
		f.cfg.Log.Info("new certificate in use", "names", names(pair.Leaf), "until", pair.Leaf.NotAfter)
	}
	return nil
}

func (f *Files) count(outcome string) {
	if f.reloads != nil {
		f.reloads.With(outcome).Inc()
	}
}

// Run watches the files and warns of the end of the certificate.
func (f *Files) Run(ctx context.Context) error {
	tick := time.NewTicker(f.cfg.Interval)
	defer tick.Stop()
	var warning expiryReminder
	seen := f.look()
	for {
		warning.check(f.Leaf(), time.Now(), f.cfg.Log)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now := f.look()
		still := now.same(seen)
		seen = now
		if still && !f.isUsed(now) {
			if err := f.Reload(); err != nil {
				f.cfg.Log.Error("new certificate can't be used; the old one goes on", "err", err)
			}
		}
	}
}

// look looks at the files in use.
func (f *Files) look() stamp {
	f.mu.Lock()
	named := f.named
	f.mu.Unlock()
	return named.stamp()
}

func (f *Files) isUsed(s stamp) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.used.same(s)
}

// fileNames names the files of a pair.
type fileNames struct{ cert, key string }

// stamp is what tells one state of the files from another.
type stamp struct{ cert, key os.FileInfo }

// stamp looks at the files; one that is missing is nil.
func (f fileNames) stamp() stamp {
	var s stamp
	s.cert, _ = os.Stat(f.cert) // what is missing now is an error only when it is read
	s.key, _ = os.Stat(f.key)
	return s
}

func (s stamp) same(t stamp) bool { return sameFile(s.cert, t.cert) && sameFile(s.key, t.key) }

func sameFile(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

// expiryReminder logs the near end of a certificate once a day.
type expiryReminder struct{ last time.Time }

func (r *expiryReminder) check(leaf *x509.Certificate, now time.Time, log *slog.Logger) {
	if leaf == nil || leaf.NotAfter.Sub(now) > expiryWarning || now.Sub(r.last) < 24*time.Hour {
		return
	}
	r.last = now
	log.Warn("the certificate ends soon: renew it", "names", names(leaf), "until", leaf.NotAfter)
}

// errNoHost is a mistake of whoever wires the server.
var errNoHost = errors.New("ACME needs the host that users open: set http.public_url")
