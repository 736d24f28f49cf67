package config

import (
	"fmt"
	"regexp"
	"strings"
	"time"
)

var bucketPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)

// Bounds of an object store's part: what S3 takes, and what one may lose when a
// connection breaks.
const (
	minPartSize = 5 << 20
	maxPartSize = 1 << 30
)

// s3 checks the store of copies.
func (v *validator) s3(c S3) {
	const section = "recording.s3."
	v.number(section+"concurrency", c.Concurrency, 1, 16)
	v.number(section+"bandwidth", c.Bandwidth, 0, 10_000_000)
	v.duration(section+"keep_local", c.KeepLocal, 0, 36500*day)
	v.duration(section+"late_after", c.LateAfter, time.Minute, 365*day)
	if c.PartSize.Percent > 0 || c.PartSize.Bytes < minPartSize || c.PartSize.Bytes > maxPartSize {
		v.add(section+"part_size", c.PartSize.String()+" is out of range", "take 5MiB to 1GiB")
	}
	if strings.HasPrefix(c.Prefix, "/") || c.Prefix != "" && !strings.HasSuffix(c.Prefix, "/") {
		v.add(section+"prefix", fmt.Sprintf("%q is not a prefix of keys", c.Prefix), `write it like "consilium/": a slash at its end, none at its beginning`)
	}
	if c.Endpoint == "" {
		return
	}
	v.url(section+"endpoint", c.Endpoint, false)
	if !bucketPattern.MatchString(c.Bucket) {
		v.add(section+"bucket", fmt.Sprintf("%q can't be a bucket", c.Bucket), "take 3 to 63 of a-z 0-9 . -")
	}
	if c.AccessKey == "" {
		v.add(section+"access_key", "is empty", "the store's administrator gives an access key and its secret")
	}
	if c.SecretKey == "" {
		v.add(section+"secret_key", "is empty", "set it, or better secret_key_file")
	}
	if strings.HasPrefix(c.Endpoint, "http:") {
		if c.CAFile != "" {
			v.add(section+"ca_file", "is of no use without https", "use an https:// endpoint")
		}
	}
}
