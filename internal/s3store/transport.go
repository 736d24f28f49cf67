package s3store

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"golang.org/x/time/rate"
)

// errStalled is why a request ends over which nothing goes.
var errStalled = errors.New("nothing goes over the connection")

const (
	dialTimeout = 10 * time.Second
	idleTimeout = time.Minute
	// burst is how much goes at once where bandwidth is limited.
	burst = 64 << 10
)

func newTransport(ca []byte, stall time.Duration) (*http.Transport, error) {
	secure := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != nil {
		secure.RootCAs = x509.NewCertPool()
		if !secure.RootCAs.AppendCertsFromPEM(ca) {
			return nil, errors.New("s3: the CA file has no certificate in PEM")
		}
	}
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: min(dialTimeout, stall)}).DialContext,
		TLSClientConfig:     secure,
		TLSHandshakeTimeout: min(dialTimeout, stall),
		IdleConnTimeout:     idleTimeout,
		DisableCompression:  true, // what is sealed does not shrink, and lengths must be true
	}, nil
}

func newLimiter(bytesPerSecond int) *rate.Limiter {
	return rate.NewLimiter(rate.Limit(bytesPerSecond), burst)
}

// watch ends a request over which nothing goes for too long.
type watch struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
	limit  time.Duration
}

func (s *Store) guard(ctx context.Context) *watch {
	w := &watch{limit: s.stall}
	w.ctx, w.cancel = context.WithCancelCause(ctx)
	w.timer = time.AfterFunc(s.stall, func() { w.cancel(errStalled) })
	return w
}

// touch says that something goes.
func (w *watch) touch() { w.timer.Reset(w.limit) }

// stop frees what the watch holds.
func (w *watch) stop() {
	w.timer.Stop()
	w.cancel(nil)
}

// watchedReader reads no faster than its limit allows and tells its watch.
type watchedReader struct {
	watch *watch
	r     io.Reader
	limit *rate.Limiter // may be nil
}

// Read implements [io.Reader].
func (r *watchedReader) Read(p []byte) (int, error) {
	if r.limit != nil && len(p) > burst {
		p = p[:burst]
	}
	n, err := r.r.Read(p)
	r.watch.touch()
	if n > 0 && r.limit != nil {
		if e := r.limit.WaitN(r.watch.ctx, n); e != nil {
			return n, e
		}
		r.watch.touch()
	}
	return n, err
}
