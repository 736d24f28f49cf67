package check

import (
	"context"
	"net"
	"net/url"
	"os/exec"

	"consilium/internal/config"
	"consilium/internal/s3store"
)

// outside looks at what the server works with.
func (c *checker) outside(ctx context.Context) []Finding {
	var findings []Finding
	if c.cfg.Webhook.URL != "" {
		findings = append(findings, webhook(ctx, c.cfg.Webhook.URL))
	}
	if c.cfg.Recording.S3.Endpoint != "" {
		findings = append(findings, store(ctx, c.cfg.Recording.S3))
	}
	return append(findings, ffmpeg())
}

// webhook looks up the host that events are sent to. Nothing is sent: the other
// side would take it for an event.
func webhook(ctx context.Context, target string) Finding {
	const check = "webhook"
	u, err := url.Parse(target)
	if err != nil {
		return failure(check, err.Error(), "correct webhook.url")
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if _, err := net.DefaultResolver.LookupNetIP(ctx, "ip", u.Hostname()); err != nil {
		return warning(check, "this machine finds no address of "+u.Hostname(), "correct webhook.url or the DNS; calls work, and nobody hears of them")
	}
	return ok(check, u.Hostname()+" has an address")
}

// store asks the object store of copies for the bucket. Calls work without it.
func store(ctx context.Context, c config.S3) Finding {
	const check = "store"
	s, err := s3store.Open(c)
	if err != nil {
		return failure(check, err.Error(), "correct recording.s3")
	}
	defer s.Close()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := s.Check(ctx); err != nil {
		return warning(check, err.Error(), "docs/how-to/s3.md; calls work and are recorded, and copies wait")
	}
	return ok(check, s.Place()+" answers and takes the access key")
}

// ffmpeg joins the tracks of a call into one file, and nothing else needs it.
func ffmpeg() Finding {
	const check = "ffmpeg"
	path, err := exec.LookPath("ffmpeg")
	if err != nil {
		return ok(check, "not installed: only a recording in one file for all needs it")
	}
	return ok(check, path)
}
