package signaling

import (
	"sync"

	"golang.org/x/time/rate"
)

// maxLimited bounds the identities whose rate is remembered.
const maxLimited = 4096

// joinLimiter limits the rate of WHIP and WHEP joins by identity. It is safe
// for concurrent use.
type joinLimiter struct {
	rate  rate.Limit
	burst int

	mu     sync.Mutex
	byName map[string]*rate.Limiter
}

// allow reports whether name may join now. When too many names are remembered,
// those that have been quiet are forgotten; if none was, the answer is no.
func (l *joinLimiter) allow(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	limiter := l.byName[name]
	if limiter == nil {
		if len(l.byName) >= maxLimited && !l.forget() {
			return false
		}
		limiter = rate.NewLimiter(l.rate, l.burst)
		l.byName[name] = limiter
	}
	return limiter.Allow()
}

func (l *joinLimiter) forget() bool {
	for name, limiter := range l.byName {
		if limiter.Tokens() >= float64(l.burst) {
			delete(l.byName, name)
		}
	}
	return len(l.byName) < maxLimited
}
