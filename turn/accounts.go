package turn

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// accounts holds what each credential uses just now. An account exists while
// it has an allocation.
type accounts struct {
	total    Limits
	up, down *rate.Limiter // of all together, bytes per second from and to clients

	mu     sync.Mutex
	by     map[string]*account
	relays map[string]*relay // by relayed address
	held   holdings
}

// account is one id's use. Its allocations share its limits.
type account struct {
	name     string
	limits   Limits
	relays   map[*relay]struct{}
	up, down *rate.Limiter
	held     holdings
}

// holding is what an allocation may hold many of.
type holding uint8

const (
	permission holding = iota
	channel
	holdingKinds
)

type holdings [holdingKinds]int

// most returns how many of a kind l allows.
func (l Limits) most(h holding) int {
	if h == channel {
		return l.Channels
	}
	return l.Permissions
}

func newAccounts(total Limits) *accounts {
	return &accounts{
		total:  total,
		up:     newBucket(total.Bandwidth),
		down:   newBucket(total.Bandwidth),
		by:     make(map[string]*account),
		relays: make(map[string]*relay),
	}
}

// room reports whether account name may have one more allocation.
func (a *accounts) room(name string, most int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	acc := a.by[name]
	return acc == nil || len(acc.relays) < most
}

// add enters r for the account, unless that is full or all are. It sets
// r.account.
func (a *accounts) add(r *relay, name string, l Limits) (denial, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.relays) >= a.total.Allocations {
		return deniedCapacity, false
	}
	acc := a.by[name]
	if acc == nil {
		acc = &account{
			name:   name,
			limits: l,
			relays: make(map[*relay]struct{}),
			up:     newBucket(l.Bandwidth),
			down:   newBucket(l.Bandwidth),
		}
		a.by[name] = acc
	}
	if len(acc.relays) >= l.Allocations {
		return deniedQuota, false
	}
	acc.relays[r] = struct{}{}
	a.relays[r.relayed.String()] = r
	r.account = acc
	return 0, true
}

func (a *accounts) remove(r *relay) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.relays, r.relayed.String())
	delete(r.account.relays, r)
	for h, n := range r.held {
		r.account.held[h] -= n
		a.held[h] -= n
	}
	if len(r.account.relays) == 0 {
		delete(a.by, r.account.name)
	}
}

// hold counts one more of a kind for the allocation with a relayed address,
// of which it may have most by itself. ok is false, with the reason, if that,
// its account or all together have too many now.
func (a *accounts) hold(relayed string, h holding, most int) (r *relay, why denial, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r = a.relays[relayed]
	if r == nil {
		return nil, 0, true // ended meanwhile
	}
	r.held[h]++
	r.account.held[h]++
	a.held[h]++
	switch {
	case a.held[h] > a.total.most(h):
		return r, deniedCapacity, false
	case r.held[h] <= most && r.account.held[h] <= r.account.limits.most(h):
		return r, 0, true
	case h == channel:
		return r, deniedChannels, false
	default:
		return r, deniedPermissions, false
	}
}

// release takes back what hold counted.
func (a *accounts) release(relayed string, h holding) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if r := a.relays[relayed]; r != nil {
		r.held[h]--
		r.account.held[h]--
		a.held[h]--
	}
}

// holding returns how many of a kind all allocations have.
func (a *accounts) holding(h holding) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.held[h]
}

// of returns the account's allocations.
func (a *accounts) of(name string) []*relay {
	a.mu.Lock()
	defer a.mu.Unlock()
	acc := a.by[name]
	if acc == nil {
		return nil
	}
	list := make([]*relay, 0, len(acc.relays))
	for r := range acc.relays {
		list = append(list, r)
	}
	return list
}

// relayAt returns the allocation with this relayed address, or nil.
func (a *accounts) relayAt(addr string) *relay {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.relays[addr]
}

// spend takes n bytes out of an account's bucket and out of that of all; if
// there is not enough in one of them, it says which.
func spend(own, total *rate.Limiter, n int) (drop, bool) {
	now := time.Now()
	switch {
	case !own.AllowN(now, n):
		return dropBandwidth, false
	case !total.AllowN(now, n):
		return dropTotalBandwidth, false
	}
	return 0, true
}

// newBucket returns a token bucket for bits per second that holds a quarter of
// a second, and at least a keyframe.
func newBucket(bits int) *rate.Limiter {
	bytes := bits / 8
	return rate.NewLimiter(rate.Limit(bytes), max(bytes/4, 64<<10))
}
