package sfu

import "time"

// bucket keeps somebody within an allowance (a token bucket): so much at once,
// and so much a second in the long run. It has no clock of its own and is not
// safe for concurrent use. The zero value is full.
type bucket struct {
	used float64 // units that have not grown back
	last time.Time
}

// take uses n units, or returns false and uses none when there are too few.
// burst is what may be used at once, rate what grows back in a second.
func (b *bucket) take(n, burst, rate float64, now time.Time) bool {
	if passed := now.Sub(b.last).Seconds(); passed > 0 {
		b.used = max(0, b.used-passed*rate)
		b.last = now
	}
	if b.used+n > burst {
		return false
	}
	b.used += n
	return true
}
