package turn

import (
	"time"

	"github.com/pion/stun/v4"
	pion "github.com/pion/turn/v5"
	"golang.org/x/time/rate"
)

// sampled lets one line through in a while: whoever is refused can make us
// refuse him ten thousand times a second.
type sampled struct{ sometimes rate.Sometimes }

func newSampled() *sampled { return &sampled{rate.Sometimes{First: 1, Interval: time.Second}} }

// authenticate is Pion's AuthHandler. It finds the key a request must be signed
// with; Pion then checks the signature. It is called for every request, from
// any goroutine.
func (s *Server) authenticate(ra *pion.RequestAttributes) (account string, key []byte, ok bool) {
	u, why, ok := s.admissible(ra)
	if !ok {
		s.stats.denied[why].Add(1)
		s.authLog.sometimes.Do(func() {
			s.log.Info("TURN request refused", "reason", why.String(), "method", ra.Method.String(),
				"username", cut(ra.Username), "from", ra.SrcAddr)
		})
		return "", nil, false
	}
	secret := s.secrets.of(ra.SrcAddr)
	key = pion.GenerateAuthKey(ra.Username, s.cfg.Realm, password(secret, ra.Username))
	if ra.Method == stun.MethodChannelBind {
		s.bindKeys.note(ra.SrcAddr, key)
	}
	return u.account(), key, true
}

// admissible checks all of a request's credential but its signature.
func (s *Server) admissible(ra *pion.RequestAttributes) (username, denial, bool) {
	if ra.Realm != s.cfg.Realm {
		return username{}, deniedRealm, false
	}
	u, err := parseUsername(ra.Username)
	if err != nil {
		return username{}, deniedUsername, false
	}
	if (u.kind == User || ra.Method == stun.MethodAllocate) && s.cfg.Now().After(u.expiry) {
		return username{}, deniedExpired, false
	}
	if u.kind == Session && !s.cfg.Live(u.id) {
		return username{}, deniedSession, false
	}
	return u, 0, true
}

// cut shortens what a stranger sent for a log; slog quotes it.
func cut(s string) string {
	const most = 80
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}
