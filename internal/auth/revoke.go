package auth

import (
	"sync"
	"time"
)

// maxRevocations is how many revocations are kept; beyond it the oldest is
// forgotten. At one a second that is most of a day, far longer than a join
// token should live.
const maxRevocations = 1 << 16

// revocation is a token by its jti, or everything of a person in a room.
type revocation struct {
	id            string
	room, subject string
}

// revocations remembers in memory what is refused; a restart forgets it. The
// zero value is ready.
type revocations struct {
	mu    sync.RWMutex
	since map[revocation]time.Time // guarded by mu
	order []revocation             // guarded by mu; oldest first
}

// RevokeToken refuses the token with this jti from now on.
func (a *Authority) RevokeToken(id string) {
	if id != "" {
		a.revoked.add(revocation{id: id})
	}
}

// RevokePerson refuses every token of the person for the room that was issued
// before now. A token that doesn't say when it was issued is refused as well.
func (a *Authority) RevokePerson(room, subject string) {
	a.revoked.add(revocation{room: room, subject: subject})
}

func (r *revocations) add(what revocation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.since == nil {
		r.since = make(map[revocation]time.Time)
	}
	if _, known := r.since[what]; !known {
		if len(r.order) == maxRevocations {
			delete(r.since, r.order[0])
			r.order = r.order[1:]
		}
		r.order = append(r.order, what)
	}
	r.since[what] = time.Now()
}

// has reports whether claims are revoked.
func (r *revocations) has(c Claims) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if c.ID != "" {
		if _, ok := r.since[revocation{id: c.ID}]; ok {
			return true
		}
	}
	since, ok := r.since[revocation{room: c.Room, subject: c.Subject}]
	return ok && (c.IssuedAt.IsZero() || c.IssuedAt.Before(since))
}
