package signaling

import (
	"sync"
	"time"
)

// maxEnded bounds the ended sessions that hub remembers.
const maxEnded = 4096

// hub is the directory of sessions: the living ones, and those that ended in a
// way from which their client may come back. It is safe for concurrent use.
type hub struct {
	rejoinWindow time.Duration
	started      time.Time

	mu       sync.Mutex
	sessions map[string]*session
	ended    map[string]time.Time // when sessions that may be rejoined ended
}

func newHub(rejoinWindow time.Duration) *hub {
	return &hub{
		rejoinWindow: rejoinWindow,
		started:      time.Now(),
		sessions:     map[string]*session{},
		ended:        map[string]time.Time{},
	}
}

func (h *hub) add(s *session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sessions[s.id] = s
}

func (h *hub) get(id string) *session {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.sessions[id]
}

// remove forgets a session that is over. rejoinable says that its secret is
// still good for a while.
func (h *hub) remove(s *session, rejoinable bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.sessions, s.id)
	if !rejoinable {
		return
	}
	now := time.Now()
	if len(h.ended) >= maxEnded {
		h.sweep(now)
	}
	h.ended[s.id] = now
}

// sweep forgets what is too old and, if that is not enough, the oldest.
func (h *hub) sweep(now time.Time) {
	var oldest string
	for id, at := range h.ended {
		if now.Sub(at) > h.rejoinWindow {
			delete(h.ended, id)
		} else if oldest == "" || at.Before(h.ended[oldest]) {
			oldest = id
		}
	}
	if len(h.ended) >= maxEnded {
		delete(h.ended, oldest)
	}
}

// mayRejoin reports whether the session of a secret may be continued: it
// lives, or was lost or replaced a short while ago, or belonged to the server
// before this one and this one has just started. Who left, was removed or saw
// the call end needs a token.
func (h *hub) mayRejoin(c secretClaims, now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.sessions[c.Session] != nil {
		return true
	}
	if at, ok := h.ended[c.Session]; ok {
		return now.Sub(at) <= h.rejoinWindow
	}
	return h.precedes(c) && now.Sub(h.started) <= h.rejoinWindow
}

// precedes reports whether a secret was made before the server started.
func (h *hub) precedes(c secretClaims) bool { return c.Issued <= h.started.Unix() }

// count returns how many sessions live.
func (h *hub) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.sessions)
}
