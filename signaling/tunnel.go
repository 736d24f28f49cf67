package signaling

import (
	"crypto/subtle"

	"consilium/internal/event"
)

// Refusal is an error of MediaSession, in the words of an "error" message.
type Refusal struct{ ErrorBody }

// Error returns code and message.
func (r *Refusal) Error() string { return r.Code + ": " + r.Message }

// MediaSession finds the living session whose secret a client has got in its
// welcome: for media that does not come by ICE. The error is a *Refusal.
func (s *Server) MediaSession(id, secret string) (Session, error) {
	x := s.hub.get(id)
	if x == nil {
		f := failure{code: codeSessionUnknown, text: "session is over or unknown"}
		return nil, &Refusal{f.body(true)}
	}
	if subtle.ConstantTimeCompare([]byte(x.secret), []byte(secret)) != 1 {
		f := failure{code: string(event.TokenBad), text: "wrong session secret"}
		return nil, &Refusal{f.body(true)}
	}
	return x.media, nil
}

// OfferRefusal is what a client is told of an error of Session.Offer.
func (s *Server) OfferRefusal(err error) ErrorBody {
	f, known := sfuFailure(err, s.cfg.Timing.Retry)
	if !known {
		s.cfg.Log.Error("offer failed", "err", err)
	}
	return f.body(true)
}
