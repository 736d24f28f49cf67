package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Secret is a string that doesn't print. Convert it to string or []byte to use
// it.
type Secret string

// redacted stands for a secret wherever one would be printed.
const redacted = "(set, not shown)"

// String hides the secret. An empty one prints as such.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return redacted
}

// GoString hides the secret from %#v.
func (s Secret) GoString() string { return strconv.Quote(s.String()) }

// MarshalText hides the secret from encoders and from slog.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Space is an amount of disk space: bytes, or a share of the file system. At
// most one of the two is set.
type Space struct {
	Bytes   int64
	Percent float64 // 0 to 100
}

// String returns the form that [parseSpace] reads.
func (s Space) String() string {
	if s.Percent > 0 {
		return strconv.FormatFloat(s.Percent, 'f', -1, 64) + "%"
	}
	for _, u := range byteUnits {
		if s.Bytes != 0 && s.Bytes%u.bytes == 0 {
			return strconv.FormatInt(s.Bytes/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(s.Bytes, 10)
}

// MarshalText returns String.
func (s Space) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// byteUnits are the binary prefixes of IEC 80000-13, largest first.
var byteUnits = []struct {
	name  string
	bytes int64
}{
	{"TiB", 1 << 40},
	{"GiB", 1 << 30},
	{"MiB", 1 << 20},
	{"KiB", 1 << 10},
}

var errSpace = errors.New(`want bytes or a share of the disk, like "2GiB", "500MiB" or "5%"`)

// parseSpace reads "5%", "2GiB" or a number of bytes.
func parseSpace(text string) (Space, error) {
	if share, ok := strings.CutSuffix(text, "%"); ok {
		p, err := strconv.ParseFloat(share, 64)
		if err != nil || !(p > 0 && p < 100) {
			return Space{}, errSpace
		}
		return Space{Percent: p}, nil
	}
	unit := int64(1)
	for _, u := range byteUnits {
		if number, ok := strings.CutSuffix(text, u.name); ok {
			text, unit = number, u.bytes
			break
		}
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n > (1<<62)/unit {
		return Space{}, errSpace
	}
	return Space{Bytes: n * unit}, nil
}

const day = 24 * time.Hour

// ParseDuration reads the durations of the configuration and of flags: those of
// [time.ParseDuration], and whole days, like "30d".
func ParseDuration(text string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseInt(days, 10, 32)
		if err != nil || n < 0 || n > 100_000 {
			return 0, fmt.Errorf(`%q is not a number of days, like "30d"`, text)
		}
		return time.Duration(n) * day, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf(`%q is not a duration with its unit, like "10s", "5m", "1h" or "30d"`, text)
	}
	return d, nil
}

// FormatDuration returns the shortest form that ParseDuration reads.
func FormatDuration(d time.Duration) string {
	if d != 0 && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
