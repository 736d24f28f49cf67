package check

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// clock looks at this machine's clock, without asking anybody: at the kernel,
// and at what can't be in the future.
func (c *checker) clock() []Finding {
	var built time.Time
	if self, err := os.Executable(); err == nil {
		if info, err := os.Stat(self); err == nil {
			built = info.ModTime()
		}
	}
	// Reading needs no privilege; where it is forbidden nothing is known.
	state, err := unix.Adjtimex(&unix.Timex{})
	return judgeClock(time.Now(), built, c.leaf, err == nil, err == nil && state != unix.TIME_ERROR)
}

// judgeClock judges the time: this program can't be younger than now, and a
// certificate was good when it was installed. known says whether the kernel
// told if something keeps the clock synchronised.
func judgeClock(now, built time.Time, leaf validity, known, synchronised bool) []Finding {
	const check = "clock"
	const advice = "set the clock, and let chrony or systemd-timesyncd keep it; a time server in the own network will do"
	words := now.UTC().Format(time.RFC3339)
	switch {
	case now.Before(built.Add(-24 * time.Hour)):
		return []Finding{failure(check, fmt.Sprintf("%s is before this program was installed (%s)", words, built.UTC().Format(time.DateOnly)), advice)}
	case !leaf.from.IsZero() && now.Before(leaf.from):
		return []Finding{failure(check, fmt.Sprintf("%s is before the certificate begins (%s)", words, leaf.from.UTC().Format(time.RFC3339)), advice)}
	case !leaf.until.IsZero() && now.After(leaf.until):
		return []Finding{failure(check, fmt.Sprintf("%s is after the certificate ended (%s)", words, leaf.until.UTC().Format(time.RFC3339)), "renew the certificate, or set the clock")}
	case !known:
		return []Finding{ok(check, words+"; the kernel does not say whether it is synchronised")}
	case !synchronised:
		return []Finding{warning(check, words+", and nothing synchronises it: join tokens fail once it is 30 s wrong", advice)}
	default:
		return []Finding{ok(check, words+", synchronised")}
	}
}
