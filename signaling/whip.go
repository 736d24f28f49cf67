package signaling

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/pion/sdp/v3"
	"golang.org/x/time/rate"

	"consilium/internal/event"
	"consilium/internal/media"
	"consilium/internal/problem"
	"consilium/sfu"
)

// joinOf says what session a POST asks for, or why it may not have it.
type joinOf func(r *http.Request, c Claims) (sfu.JoinRequest, *failure)

// serveEndpoint serves /whip/{room} and /whep/{room}/{identity}.
func (h *mediaHub) serveEndpoint(join joinOf) http.HandlerFunc {
	const methods = "POST, OPTIONS"
	return func(w http.ResponseWriter, r *http.Request) {
		allowOrigin(w)
		w.Header().Set("Accept-Post", sdpType)
		switch {
		case preflight(w, r, methods):
		case r.Method == http.MethodOptions:
			h.options(w, r)
		case r.Method == http.MethodPost:
			token, claims, f := h.authorize(r)
			if f == nil {
				f = h.post(w, r, join, token, claims)
			}
			if f != nil {
				h.tellRefused(r, claims.Person, f)
				f.write(w)
			}
		default:
			problem.Write(w, http.StatusMethodNotAllowed, problem.MethodNotAllowed,
				"only POST opens a session", problem.Allow(methods))
		}
	}
}

// options answers an OPTIONS request that is no preflight. Older clients ask
// for ICE servers this way: they get them for their token.
func (h *mediaHub) options(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "" {
		_, claims, f := h.authorize(r)
		if f != nil {
			f.write(w)
			return
		}
		h.linkICEServers(w, "", claims.Person.Identity)
	}
	w.Header().Set("Allow", "POST, OPTIONS")
	w.WriteHeader(http.StatusOK)
}

// whipRequest: publish, with the identity of the token.
func (h *mediaHub) whipRequest(_ *http.Request, c Claims) (sfu.JoinRequest, *failure) {
	g := c.Person.Grants
	if !g.PublishAudio && !g.PublishVideo && !g.PublishScreen {
		return sfu.JoinRequest{}, forbidden("the token does not allow to publish")
	}
	return sfu.JoinRequest{Person: c.Person, Mode: sfu.Publisher}, nil
}

// whepRequest: play what one participant publishes, now or later.
func (h *mediaHub) whepRequest(r *http.Request, c Claims) (sfu.JoinRequest, *failure) {
	if !c.Person.Grants.Subscribe {
		return sfu.JoinRequest{}, forbidden("the token does not allow to subscribe")
	}
	join := sfu.JoinRequest{Person: c.Person, Mode: sfu.Player, Target: r.PathValue("identity")}
	for _, s := range r.URL.Query()["source"] {
		source := media.Source(s)
		if !source.Valid() {
			return join, &failure{
				status: http.StatusBadRequest, code: problem.BadRequest, text: "source is mic, cam or screen",
			}
		}
		join.Sources = append(join.Sources, source)
	}
	return join, nil
}

func forbidden(text string) *failure {
	return &failure{status: http.StatusForbidden, code: problem.Forbidden, text: text}
}

// authorize verifies the bearer token of a request (RFC 6750, section 2.1).
func (h *mediaHub) authorize(r *http.Request) (token string, c Claims, f *failure) {
	token, ok := bearer(r)
	if !ok {
		return "", c, &failure{
			status: http.StatusUnauthorized, code: problem.Unauthorized, text: "a bearer token is needed",
		}
	}
	c, err := h.server.cfg.Auth.Verify(r.Context(), token)
	if err != nil {
		refused := tokenFailure(err)
		return token, c, &refused
	}
	return token, c, nil
}

func bearer(r *http.Request) (string, bool) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	token = strings.TrimSpace(token)
	return token, strings.EqualFold(scheme, "Bearer") && token != ""
}

// tellRefused tells of a publisher that was refused; a player is nobody in the
// call.
func (h *mediaHub) tellRefused(r *http.Request, who sfu.Person, f *failure) {
	if r.PathValue("identity") == "" {
		h.server.tellRefused(who, f, r, event.StageSocket)
	}
}

// post opens a session for the bearer of a token.
func (h *mediaHub) post(w http.ResponseWriter, r *http.Request, join joinOf, token string, claims Claims) *failure {
	if claims.Person.Room != r.PathValue("room") {
		return forbidden("the token is for another room")
	}
	request, f := join(r, claims)
	if f != nil {
		return f
	}
	if !h.limiter.allow(claims.Person.Room + "/" + claims.Person.Identity) {
		return &failure{
			status: http.StatusTooManyRequests, code: problem.RateLimited,
			text: "too many sessions at once", retry: time.Second,
		}
	}
	offer, f := readBody(w, r, sdpType, h.server.cfg.Limits.SDPBytes)
	if f != nil {
		return f
	}
	if f := checkSDP(offer); f != nil {
		return f
	}
	if f := h.server.tooManyJoins(); f != nil {
		return f
	}
	m, answer, f := h.open(r, request, offer)
	if f != nil {
		return f
	}
	m.token = sha256.Sum256([]byte(token))
	m.path = r.URL.EscapedPath() + "/" + rand.Text() + rand.Text()
	header := w.Header()
	header.Set("Location", m.path)
	header.Set("ETag", m.etag)
	header.Set("Content-Type", sdpType)
	header.Set("Cache-Control", "no-store")
	h.linkICEServers(w, m.session.ID(), claims.Person.Identity)
	h.add(m)
	w.WriteHeader(http.StatusCreated)
	// A client that has gone is noticed by ICE.
	_, _ = io.WriteString(w, answer)
	return nil
}

// checkSDP refuses what is no SDP before anybody joins for it.
func checkSDP(offer string) *failure {
	err := new(sdp.SessionDescription).UnmarshalString(offer)
	if err == nil && !strings.HasPrefix(offer, "v=0") { // the parser takes an empty one
		err = errors.New("it does not begin with v=0")
	}
	if err != nil {
		return &failure{status: http.StatusBadRequest, code: problem.NotSDP, text: "body is not SDP: " + err.Error()}
	}
	return nil
}

// open joins and has the offer answered. It counts the watcher of the session
// in, which mediaHub.add starts.
func (h *mediaHub) open(r *http.Request, request sfu.JoinRequest, offer string) (*mediaSession, string, *failure) {
	s := h.server
	if !s.enter() {
		f := s.restarting()
		return nil, "", &f
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.cfg.Timing.Request)
	defer cancel()
	request.Client = map[string]any{"protocol": protocolOf(request.Mode), "user_agent": r.UserAgent()}
	request.Offer = &sfu.Offer{SDP: offer}
	session, err := s.cfg.SFU.Join(ctx, request)
	if err != nil {
		s.wg.Done()
		return nil, "", h.failed("join", request.Person, err)
	}
	answer, err := session.Offer(ctx, *request.Offer)
	if err != nil {
		session.Leave(media.EndLost)
		s.wg.Done()
		return nil, "", h.failed("answer offer", request.Person, err)
	}
	return &mediaSession{
		person:  request.Person,
		session: session,
		limiter: rate.NewLimiter(rate.Limit(s.cfg.Limits.MessageRate), s.cfg.Limits.MessageBurst),
		offer:   offer,
		etag:    newETag(),
	}, answer.SDP, nil
}

func protocolOf(m sfu.Mode) string {
	if m == sfu.Player {
		return "whep"
	}
	return "whip"
}

func (h *mediaHub) failed(what string, p sfu.Person, err error) *failure {
	f, known := sfuFailure(err, h.server.cfg.Timing.Retry)
	if !known && !errors.Is(err, context.Canceled) {
		h.server.cfg.Log.Error(what, "room", p.Room, "identity", p.Identity, "err", err)
	}
	if f.code == string(event.ServerBusy) {
		f.retry = max(f.retry, 5*time.Second)
	}
	return &f
}

// readBody reads a body of a content type, of at most limit bytes.
func readBody(w http.ResponseWriter, r *http.Request, contentType string, limit int) (string, *failure) {
	got, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || got != contentType {
		return "", &failure{
			status: http.StatusUnsupportedMediaType, code: problem.UnsupportedMedia, text: "body must be " + contentType,
		}
	}
	data, p := problem.ReadBody(w, r, limit, problem.BadRequest)
	if p != nil {
		return "", &failure{status: p.Status, code: p.Code, text: p.Detail}
	}
	return string(data), nil
}

// linkICEServers tells the client its ICE servers (RFC 9725, section 4.6).
func (h *mediaHub) linkICEServers(w http.ResponseWriter, session, identity string) {
	quote := strings.NewReplacer(`\`, `\\`, `"`, `\"`)
	for _, server := range h.server.cfg.ICEServers(session, identity) {
		for _, url := range server.URLs {
			link := "<" + url + `>; rel="ice-server"`
			if server.Username != "" {
				link += `; username="` + quote.Replace(server.Username) +
					`"; credential="` + quote.Replace(server.Credential) + `"; credential-type="password"`
			}
			w.Header().Add("Link", link)
		}
	}
}
