package signaling

import (
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"consilium/internal/event"
)

// maxLimited bounds the identities whose rate is remembered.
const maxLimited = 4096

// SetJoinRate changes how many joins a second the server takes, of all clients
// together; 0 takes any number. As many may come at once.
func (s *Server) SetJoinRate(perSecond int) {
	if perSecond <= 0 {
		s.joins.SetLimit(rate.Inf)
		return
	}
	s.joins.SetBurst(perSecond)
	s.joins.SetLimit(rate.Limit(perSecond))
}

// tooManyJoins refuses a join beyond the rate of SetJoinRate; nil takes it.
func (s *Server) tooManyJoins() *failure {
	if s.joins.Allow() {
		return nil
	}
	return &failure{
		status: http.StatusServiceUnavailable, code: string(event.ServerBusy),
		text: "too many people join at once", retry: time.Second,
	}
}

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
