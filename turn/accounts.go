package turn

import (
	"sync"

	"golang.org/x/time/rate"
)

// accounts holds what each credential uses just now. An account exists while
// it has an allocation.
type accounts struct {
	mu     sync.Mutex
	by     map[string]*account
	relays map[string]*relay // by relayed address
}

// account is one id's use. Its allocations share its bandwidth.
type account struct {
	name     string
	relays   map[*relay]struct{}
	up, down *rate.Limiter // bytes per second, from and to the client
}

func newAccounts() *accounts {
	return &accounts{by: make(map[string]*account), relays: make(map[string]*relay)}
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
func (a *accounts) add(r *relay, name string, l Limits, total int) (denial, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.relays) >= total {
		return deniedCapacity, false
	}
	acc := a.by[name]
	if acc == nil {
		acc = &account{
			name:   name,
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
	a.relays[r.LocalAddr().String()] = r
	r.account = acc
	return 0, true
}

func (a *accounts) remove(r *relay) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.relays, r.LocalAddr().String())
	delete(r.account.relays, r)
	if len(r.account.relays) == 0 {
		delete(a.by, r.account.name)
	}
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

// newBucket returns a token bucket for bits per second that holds a quarter of
// a second, and at least a keyframe.
func newBucket(bits int) *rate.Limiter {
	bytes := bits / 8
	return rate.NewLimiter(rate.Limit(bytes), max(bytes/4, 64<<10))
}
