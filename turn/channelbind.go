package turn

import (
	"encoding/binary"
	"net"
	"sync"

	"github.com/pion/stun/v4"
)

// bindKeys are the keys of ChannelBind requests in hand, by source. Pion
// answers those for a peer that is denied with 401 and no nonce, which tells a
// client to try another credential; RFC 8656 section 12.2 wants 403. To put
// that right, the answer must be signed anew.
type bindKeys struct {
	mu sync.Mutex
	by map[string][]byte
}

func newBindKeys() *bindKeys { return &bindKeys{by: make(map[string][]byte)} }

// note keeps the key until the answer. Some requests get none, so there is a
// bound.
func (k *bindKeys) note(src net.Addr, key []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.by) >= maxNotes {
		clear(k.by) // at worst somebody gets a 401
	}
	k.by[noteOf(src)] = key
}

func (k *bindKeys) take(src net.Addr) []byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	key := k.by[noteOf(src)]
	delete(k.by, noteOf(src))
	return key
}

// answer returns what is to be sent instead of b, an answer of Pion's.
func (k *bindKeys) answer(b []byte, to net.Addr) []byte {
	const success, failure = 0x0109, 0x0119 // of ChannelBind
	if len(b) < stunHeader {
		return b
	}
	switch binary.BigEndian.Uint16(b) {
	case success:
		k.take(to)
	case failure:
		if key := k.take(to); key != nil {
			return forbidden(b, key)
		}
	}
	return b
}

// forbidden turns the 401 of a denied peer into a 403; other answers it leaves
// as they are.
func forbidden(b, key []byte) []byte {
	m := &stun.Message{Raw: append([]byte(nil), b...)}
	var code stun.ErrorCodeAttribute
	if m.Decode() != nil || code.GetFrom(m) != nil || code.Code != stun.CodeUnauthorized || m.Contains(stun.AttrNonce) {
		return b
	}
	fixed, err := stun.Build(stun.NewTransactionIDSetter(m.TransactionID), m.Type,
		stun.CodeForbidden, stun.MessageIntegrity(key))
	if err != nil {
		return b
	}
	return fixed.Raw
}
