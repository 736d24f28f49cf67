package certs

import (
	"context"
	"io"
	"net/http"
)

// lifetime is a RoundTripper whose requests end with a context. autocert takes
// none, and a stopping server must not wait for an authority.
type lifetime struct {
	alive context.Context
	next  http.RoundTripper
}

func newLifetime(alive context.Context, next http.RoundTripper) http.RoundTripper {
	if next == nil {
		next = http.DefaultTransport
	}
	return &lifetime{alive: alive, next: next}
}

// RoundTrip implements http.RoundTripper.
func (l *lifetime) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(r.Context())
	unhook := context.AfterFunc(l.alive, cancel)
	release := func() { unhook(); cancel() }
	response, err := l.next.RoundTrip(r.WithContext(ctx))
	if err != nil {
		release()
		return nil, err
	}
	// The body is read under the context too.
	response.Body = &releasingBody{ReadCloser: response.Body, release: release}
	return response, nil
}

type releasingBody struct {
	io.ReadCloser
	release func()
}

func (b *releasingBody) Close() error {
	defer b.release()
	return b.ReadCloser.Close()
}
