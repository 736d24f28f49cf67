package turn

import (
	"net"
	"sync"

	"github.com/pion/stun/v4"
	pion "github.com/pion/turn/v5"
)

// secrets are the current secret and, after a rotation, the previous one.
//
// Pion asks for a key before it looks at the signature, so it can't try two.
// The reader of each socket therefore looks at requests first, and notes those
// that are signed with the previous secret; Pion handles them on the same
// goroutine right after. Nothing is noted for a signature that is not ours, so
// the notes can't be made to grow from outside.
type secrets struct {
	realm string

	mu   sync.Mutex
	list []string
	old  map[string]struct{} // source addresses whose request in hand is signed with list[1]
}

func newSecrets(realm string, list []string) *secrets {
	return &secrets{realm: realm, list: list, old: make(map[string]struct{})}
}

func (s *secrets) set(list []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = list
	clear(s.old)
}

func (s *secrets) current() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.list[0]
}

func (s *secrets) previous() (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.list) < 2 {
		return "", false
	}
	return s.list[1], true
}

// look notes whether frame, come from src, is signed with the previous secret.
func (s *secrets) look(frame []byte, src net.Addr) {
	old, rotated := s.previous()
	if !rotated || !stun.IsMessage(frame) {
		return
	}
	signed := signedWith(old, s.realm, frame)
	s.mu.Lock()
	defer s.mu.Unlock()
	if signed {
		s.old[src.String()] = struct{}{}
	} else {
		delete(s.old, src.String()) // of a request that Pion refused without asking for a key
	}
}

// signedWith reports whether frame is a request whose username and signature
// were made with secret.
func signedWith(secret, realm string, frame []byte) bool {
	m := &stun.Message{Raw: append([]byte(nil), frame...)}
	if m.Decode() != nil || m.Type.Class != stun.ClassRequest || !m.Contains(stun.AttrMessageIntegrity) {
		return false
	}
	name, err := m.Get(stun.AttrUsername)
	if err != nil {
		return false
	}
	key := pion.GenerateAuthKey(string(name), realm, password(secret, string(name)))
	return stun.MessageIntegrity(key).Check(m) == nil
}

// of returns the secret that the request in hand from src is to be checked
// against.
func (s *secrets) of(src net.Addr) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.list) > 1 && len(s.old) > 0 {
		if _, ok := s.old[src.String()]; ok {
			delete(s.old, src.String())
			return s.list[1]
		}
	}
	return s.list[0]
}
