package signaling

import (
	"cmp"
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"consilium/internal/event"
	"consilium/internal/problem"
	"consilium/sfu"
)

// converse reads a socket from its first message to its end. It returns the
// error that ended the reading, nil if the server had enough of it.
func (s *Server) converse(c *conn, r *http.Request) error {
	unwatch := context.AfterFunc(s.stop, func() { c.close(closeRestart, "the server is restarting") })
	defer unwatch()
	raw, err := c.read()
	switch {
	case errors.Is(err, errTooBig):
		s.refuse(c, "", failure{code: codeTooBig, text: err.Error()}, closeTooBig)
		return err
	case errors.Is(err, errBinary):
		s.refuse(c, "", failure{code: codeBadMessage, text: err.Error()}, closeUnsupported)
		return err
	case err != nil:
		return err
	}
	session, f := s.open(c, r, decode(raw), unwatch)
	if f != nil {
		s.refuse(c, "", *f, closePolicy)
		return nil
	}
	return session.read(c)
}

// open answers the first message: it finds or makes the session.
func (s *Server) open(c *conn, r *http.Request, in incoming, unwatch func() bool) (*session, *failure) {
	if in.refusal != nil {
		return nil, in.refusal
	}
	switch b := in.body.(type) {
	case *Hello:
		session, f := s.hello(r, b)
		if f != nil {
			return nil, f
		}
		unwatch() // from here on the session's loop says goodbye
		session.start(c)
		return session, nil
	case *Resume:
		return s.resume(c, b, unwatch)
	default:
		return nil, &failure{code: codeUnexpected, text: "the first message is hello or resume"}
	}
}

// refuse sends a fatal error outside of any session and closes the socket.
func (s *Server) refuse(c *conn, re string, f failure, code int) {
	s.metrics.refused.Add(1)
	s.cfg.Log.Info("client refused", "remote", c.remote(), "code", f.code, "reason", f.text)
	body, err := json.Marshal(f.body(true))
	if err == nil {
		var data []byte
		if data, err = json.Marshal(Envelope{Type: "error", Re: re, Body: body}); err == nil {
			c.send(data)
		}
	}
	if err != nil {
		s.cfg.Log.Error("encode refusal", "err", err)
	}
	c.close(code, f.code)
}

// identified is who says hello.
type identified struct {
	Claims
	rejoin   string // id of the session that is continued, or ""
	consent  bool   // was given in that session
	admitted bool   // he was let in before the server restarted
}

// identify verifies what a hello brings. A valid token decides who it is; the
// secret of an earlier session of the same person makes it a rejoin, and
// stands in for a token that has expired meanwhile.
func (s *Server) identify(ctx context.Context, r *http.Request, h *Hello) (identified, *failure) {
	now := time.Now()
	if h.Token == "" && h.Rejoin == "" {
		f := failure{code: string(event.TokenBad), text: "neither token nor rejoin is given", claimed: Claimed{Room: h.Room}}
		s.tellRefused(sfu.Person{}, &f, r, event.StageSocket)
		return identified{}, &f
	}
	secret, secretErr := s.secrets.verify(h.Rejoin, now)
	if secretErr == nil && !s.hub.mayRejoin(secret, now) {
		secretErr = errors.New("session has ended")
	}
	if h.Token == "" {
		if secretErr != nil {
			f := failure{code: string(event.TokenBad), text: secretErr.Error()}
			return identified{}, &f
		}
		return s.fromSecret(secret), nil
	}
	claims, err := s.cfg.Auth.Verify(ctx, h.Token)
	if err != nil {
		f := tokenFailure(err)
		f.claimed.Room = cmp.Or(f.claimed.Room, h.Room)
		if f.code == string(event.TokenExpired) && secretErr == nil {
			return s.fromSecret(secret), nil
		}
		s.tellRefused(sfu.Person{}, &f, r, event.StageSocket)
		return identified{}, &f
	}
	if secretErr == nil && secret.Person.Room == claims.Person.Room && secret.Person.Identity == claims.Person.Identity {
		who := s.fromSecret(secret)
		who.Claims = claims
		return who, nil
	}
	return identified{Claims: claims}, nil
}

func (s *Server) fromSecret(c secretClaims) identified {
	return identified{
		Claims:  Claims{Person: c.Person, Grants: c.Grants},
		rejoin:  c.Session,
		consent: c.Consent,
		// While the server lives, the call itself knows whom it let in.
		admitted: c.Admitted && s.hub.precedes(c),
	}
}

// hello makes a session, or says why not.
func (s *Server) hello(r *http.Request, h *Hello) (*session, *failure) {
	ctx, cancel := context.WithTimeout(s.stop, s.cfg.Timing.Request)
	defer cancel()
	who, f := s.identify(ctx, r, h)
	if f != nil {
		return nil, f
	}
	x, f := s.welcomed(ctx, r, h, who)
	if f != nil {
		stage := event.StageSocket
		if f.code == string(event.ConsentDeclined) {
			stage = event.StagePage
		}
		s.tellRefused(who.Person, f, r, stage)
		return nil, f
	}
	s.metrics.joins.Add(1)
	if who.rejoin != "" {
		s.metrics.rejoins.Add(1)
	}
	s.hub.add(x)
	return x, nil
}

// welcomed makes a session for somebody who is known, or says why not.
func (s *Server) welcomed(ctx context.Context, r *http.Request, h *Hello, who identified) (*session, *failure) {
	if f := s.checkConsent(who, h.Consent); f != nil {
		return nil, f
	}
	if f := s.tooManyJoins(); f != nil {
		return nil, f
	}
	if !s.enter() {
		f := s.restarting()
		return nil, &f
	}
	agreed := h.Consent != nil && h.Consent.Recording
	x := newSession(s, who, who.consent || agreed)
	join := sfu.JoinRequest{
		Person:   who.Person,
		Mode:     sfu.Interactive,
		Rejoin:   who.rejoin,
		Admitted: who.admitted,
		Notify:   x.notices.put,
		Client:   clientData(r, h.Client),
	}
	if agreed {
		join.Consent = &sfu.Consent{Text: h.Consent.Text, Lang: h.Consent.Lang}
	}
	media, err := s.cfg.SFU.Join(ctx, join)
	if err != nil {
		s.wg.Done()
		return nil, s.joinFailure(who.Person, err)
	}
	if err := x.adopt(media); err != nil {
		s.wg.Done()
		s.cfg.Log.Error("open session", "err", err)
		return nil, &failure{code: problem.Internal, text: "internal error"}
	}
	return x, nil
}

func (s *Server) joinFailure(p sfu.Person, err error) *failure {
	if s.stop.Err() != nil {
		f := s.restarting()
		return &f
	}
	f, known := sfuFailure(err, s.cfg.Timing.Retry)
	if !known {
		s.cfg.Log.Error("join", "room", p.Room, "identity", p.Identity, "err", err)
	}
	return &f
}

// checkConsent lets nobody into a recorded call who did not agree to it.
func (s *Server) checkConsent(who identified, c *Consent) *failure {
	switch {
	case !s.cfg.Recording || (c == nil && who.consent):
		return nil
	case c == nil:
		return &failure{code: codeConsentRequired, text: "calls are recorded: hello needs consent"}
	case !c.Recording:
		s.emitRefusal(who.Person, c)
		return &failure{code: string(event.ConsentDeclined), text: "consent to recording was refused"}
	}
	return nil
}

// emitRefusal emits consent.refused, which belongs to no call: who refuses does
// not join. Consent that is given is told by the call.
func (s *Server) emitRefusal(p sfu.Person, c *Consent) {
	s.cfg.Events.Emit(event.Event{
		Type: event.ConsentRefused, Time: time.Now(), Room: p.Room, Participant: p.Identity,
		Data: map[string]any{"recording": false, "text": c.Text, "lang": c.Lang},
	})
}

// clientData describes the client for the journal.
func clientData(r *http.Request, c ClientInfo) map[string]any {
	agent := c.UserAgent
	if agent == "" {
		agent = r.UserAgent()
	}
	return map[string]any{
		"protocol": Subprotocol, "user_agent": agent, "version": c.Version,
		"lang": c.Lang, "screen": c.Screen, "network": c.Network,
	}
}

// resume gives a living session a new socket.
func (s *Server) resume(c *conn, r *Resume, unwatch func() bool) (*session, *failure) {
	x := s.hub.get(r.Session)
	if x == nil {
		return nil, &failure{code: codeSessionUnknown, text: "session is over or unknown: say hello with rejoin"}
	}
	if subtle.ConstantTimeCompare([]byte(x.secret), []byte(r.Secret)) != 1 {
		return nil, &failure{code: string(event.TokenBad), text: "wrong session secret"}
	}
	unwatch()
	if !x.attach(c, r.Ack) {
		return nil, &failure{code: codeSessionUnknown, text: "session is over: say hello with rejoin"}
	}
	return x, nil
}
