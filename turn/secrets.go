package turn

import (
	"net"
	"slices"
	"sync"

	"github.com/pion/stun/v4"
	pion "github.com/pion/turn/v5"
)

// maxRetired is how many secrets before the previous one are remembered.
const maxRetired = 8

// maxNotes is how many notes there may be. What is in hand is one request a
// reader; the rest are of requests that Pion refused without asking for a key.
const maxNotes = 4096

// secrets are the current secret, after a rotation the previous one, and those
// retired since the start. A retired one makes no allocation, but it goes on
// signing for the allocations it has made: a rotation must not end a call.
//
// Pion asks for a key before it looks at the signature, so it can't try several.
// The reader of each socket therefore looks at requests first, and notes those
// that are signed with another secret than the current one; Pion handles them
// on the same goroutine right after. Nothing is noted for a signature that is
// not ours.
type secrets struct {
	realm string

	mu      sync.Mutex
	list    []string          // current, previous
	retired []string          // newest first
	noted   map[string]string // secret of the request in hand, by its source
}

func newSecrets(realm string, list []string) *secrets {
	return &secrets{realm: realm, list: list, noted: make(map[string]string)}
}

// set replaces the secrets; what is not among them any more is retired.
func (s *secrets) set(list []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := slices.Concat(s.list, s.retired)
	s.list, s.retired = slices.Clone(list), nil
	for _, secret := range known {
		if !slices.Contains(list, secret) && len(s.retired) < maxRetired {
			s.retired = append(s.retired, secret)
		}
	}
}

func (s *secrets) current() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.list[0]
}

// others returns the secrets that may have signed a request, but the current
// one. None is made by a retired secret that could make an allocation.
func (s *secrets) others(m stun.Method) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m == stun.MethodAllocate {
		return s.list[1:]
	}
	return slices.Concat(s.list[1:], s.retired)
}

// look notes if frame, come from src, is a request signed with another secret
// than the current one.
func (s *secrets) look(frame []byte, src net.Addr) {
	if !s.rotated() || !stun.IsMessage(frame) {
		return
	}
	m := &stun.Message{Raw: slices.Clone(frame)}
	if m.Decode() != nil || m.Type.Class != stun.ClassRequest || !m.Contains(stun.AttrMessageIntegrity) {
		return
	}
	name, err := m.Get(stun.AttrUsername)
	if err != nil {
		return
	}
	signer := ""
	for _, secret := range s.others(m.Type.Method) {
		key := pion.GenerateAuthKey(string(name), s.realm, password(secret, string(name)))
		if stun.MessageIntegrity(key).Check(m) == nil {
			signer = secret
			break
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.noted, noteOf(src)) // of a request that Pion refused without asking for a key
	if signer == "" {
		return
	}
	if len(s.noted) >= maxNotes {
		clear(s.noted) // at worst somebody has to ask again
	}
	s.noted[noteOf(src)] = signer
}

func (s *secrets) rotated() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.list) > 1 || len(s.retired) > 0
}

// of returns the secret that the request in hand from src is to be checked
// against.
func (s *secrets) of(src net.Addr) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.noted) > 0 {
		note := noteOf(src)
		if secret, ok := s.noted[note]; ok {
			delete(s.noted, note)
			return secret
		}
	}
	return s.list[0]
}

// noteOf names the source of a request: TCP and UDP ports are not the same.
func noteOf(src net.Addr) string { return src.Network() + " " + src.String() }
