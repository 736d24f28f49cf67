package s3store

import (
	"context"
	"encoding/pem"
	"fmt"
	"testing"
	"time"

	"consilium/internal/s3test"
)

const testPart = 5 << 20 // the least S3 takes

// gateway is a real S3 server and how to reach it.
type gateway struct {
	*s3test.Gateway
	t *testing.T
}

// startGateway starts a server with an empty bucket. A size bounds its disk.
func startGateway(t *testing.T, size string, secure bool) *gateway {
	t.Helper()
	return &gateway{s3test.Start(t, s3test.Options{Size: size, Secure: secure}), t}
}

// configOf returns how to reach a server.
func configOf(endpoint string) Config {
	return Config{
		Endpoint: endpoint, Bucket: s3test.Bucket, AccessKey: s3test.Access, SecretKey: s3test.Secret, PathStyle: true,
		Stall: 20 * time.Second,
	}
}

// store returns a client, changed by change.
func (g *gateway) store(change func(*Config)) *Store {
	g.t.Helper()
	c := configOf(g.URL())
	if cert := g.Certificate(); cert != nil {
		c.CA = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})
	}
	if change != nil {
		change(&c)
	}
	s, err := New(c)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(s.Close)
	return s
}

// waitFor waits until something is so.
func waitFor(t *testing.T, what string, so func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !so() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal(fmt.Errorf("no end of waiting for %s: %w", what, ctx.Err()))
		}
	}
}
