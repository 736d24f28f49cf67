package signaling

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"io"
	"net/http"
	"strings"
	"time"

	"consilium/internal/media"
	"consilium/internal/problem"
	"consilium/sfu"
)

const fragType = "application/trickle-ice-sdpfrag"

// serveSession serves the session URLs that Location headers name.
func (h *mediaHub) serveSession(w http.ResponseWriter, r *http.Request) {
	const methods = "PATCH, DELETE, OPTIONS"
	allowOrigin(w)
	w.Header().Set("Accept-Patch", fragType)
	switch {
	case preflight(w, r, methods):
	case r.Method == http.MethodOptions:
		w.Header().Set("Allow", methods)
		w.WriteHeader(http.StatusOK)
	case r.Method == http.MethodPatch, r.Method == http.MethodDelete:
		m, f := h.find(r)
		if f == nil && r.Method == http.MethodPatch {
			f = h.patch(w, r, m)
		} else if f == nil {
			f = h.delete(w, m)
		}
		if f != nil {
			f.write(w)
		}
	default:
		problem.Write(w, http.StatusMethodNotAllowed, problem.MethodNotAllowed,
			"a session takes PATCH and DELETE", problem.Allow(methods))
	}
}

// find returns the session of a request that may use it: by the token it was
// opened with, even if that has expired since, or by a valid one of the same
// person.
func (h *mediaHub) find(r *http.Request) (*mediaSession, *failure) {
	token, ok := bearer(r)
	if !ok {
		return nil, &failure{
			status: http.StatusUnauthorized, code: problem.Unauthorized, text: "a bearer token is needed",
		}
	}
	m := h.get(r.URL.EscapedPath())
	if m == nil {
		return nil, &failure{status: http.StatusNotFound, code: problem.NotFound, text: "no such session"}
	}
	hash := sha256.Sum256([]byte(token))
	if subtle.ConstantTimeCompare(hash[:], m.token[:]) == 1 {
		return m, nil
	}
	_, claims, f := h.authorize(r)
	if f != nil {
		return nil, f
	}
	if claims.Person.Room != m.person.Room || claims.Person.Identity != m.person.Identity {
		return nil, forbidden("the session belongs to somebody else")
	}
	return m, nil
}

// delete ends a session (RFC 9725, section 4.2); entity tags don't matter.
func (h *mediaHub) delete(w http.ResponseWriter, m *mediaSession) *failure {
	if !h.remove(m) {
		return &failure{status: http.StatusNotFound, code: problem.NotFound, text: "no such session"}
	}
	m.session.Leave(media.EndLeft)
	w.WriteHeader(http.StatusOK)
	return nil
}

// patch takes candidates or restarts ICE (RFC 9725, section 4.3).
func (h *mediaHub) patch(w http.ResponseWriter, r *http.Request, m *mediaSession) *failure {
	if !m.limiter.Allow() {
		return &failure{
			status: http.StatusTooManyRequests, code: problem.RateLimited, text: "too many requests", retry: time.Second,
		}
	}
	body, f := readBody(w, r, fragType, h.server.cfg.Limits.SDPBytes)
	if f != nil {
		return f
	}
	frag, err := parseSDPFrag(body)
	if err != nil {
		return &failure{status: http.StatusBadRequest, code: problem.NotSDP, text: "SDP fragment: " + err.Error()}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if f := m.precondition(r.Header.Get("If-Match")); f != nil {
		return f
	}
	for _, c := range frag.candidates {
		m.session.Candidate(c.candidate, c.mid)
	}
	ufrag, pwd := iceCredentials(m.offer)
	if frag.ufrag == "" || (frag.ufrag == ufrag && frag.pwd == pwd) {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	return h.restart(w, r, m, frag)
}

// precondition checks If-Match (RFC 9110, section 13.1.1), which WHIP demands.
func (m *mediaSession) precondition(ifMatch string) *failure {
	if ifMatch == "" {
		return &failure{
			status: http.StatusPreconditionRequired, code: problem.PreconditionNeed, text: "If-Match is missing",
		}
	}
	for tag := range strings.SplitSeq(ifMatch, ",") {
		if tag = strings.TrimSpace(tag); tag == "*" || tag == m.etag {
			return nil
		}
	}
	return &failure{
		status: http.StatusPreconditionFailed, code: problem.PreconditionFail,
		text: "If-Match names another generation of the session's ICE",
	}
}

// restart restarts ICE: the same offer again with the client's new credentials.
// If it fails the session goes on as it was.
func (h *mediaHub) restart(w http.ResponseWriter, r *http.Request, m *mediaSession, frag sdpFrag) *failure {
	ctx, cancel := context.WithTimeout(r.Context(), h.server.cfg.Timing.Request)
	defer cancel()
	offer := withICECredentials(m.offer, frag.ufrag, frag.pwd)
	answer, err := m.session.Offer(ctx, sfu.Offer{SDP: offer})
	if err != nil {
		return h.failed("restart ICE", m.person, err)
	}
	m.offer, m.etag = offer, newETag()
	header := w.Header()
	header.Set("Content-Type", fragType)
	header.Set("ETag", m.etag)
	h.linkICEServers(w, m.session.ID(), m.person.Identity)
	w.WriteHeader(http.StatusOK)
	// A client that has gone is noticed by ICE.
	_, _ = io.WriteString(w, fragOf(answer.SDP))
	return nil
}
