package api

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"slices"
	"strings"

	"consilium/internal/audit"
	"consilium/internal/auth"
	"consilium/internal/problem"
)

// Attendance says who took part in a recorded call.
type Attendance struct {
	Room       string
	Identities []string
}

// AuditLog keeps who saw what; *audit.Log is one.
type AuditLog interface {
	Append(ctx context.Context, entries ...audit.Entry) error
	View(ctx context.Context, e audit.Entry) (*audit.Access, error)
	Refuse(e audit.Entry, why string)
	Entries(ctx context.Context, f audit.Filter) ([]audit.Entry, error)
}

// errNotYours is the answer to everybody who may not see a recording, whether
// there is one or not: ids can't be found out.
func errNotYours() error {
	return problem.New(http.StatusForbidden, problem.Forbidden,
		"recordings are for administrators and for those who took part in the call and have the grant record")
}

// viewer finds out who wants to see a recording: the owner of its cookie, an
// administrator, or somebody with the right to it.
func (a *API) viewer(w http.ResponseWriter, r *request, id string) (claims auth.Claims, cookie bool, err error) {
	if g, ok := a.playback.grant(r.Request, id); ok {
		r.caller = g.claims()
		a.renew(w, r, g)
		return r.caller, true, nil
	}
	claims, err = a.credentials(r, id)
	return claims, false, err
}

// credentials finds out by API key or token who wants to see a recording. Who
// took part in the call may, in whatever session, with a token for its room and
// the grant record, which doctors have; patients and companions only where the
// configuration says so.
func (a *API) credentials(r *request, id string) (auth.Claims, error) {
	claims, err := a.config.Auth.APICredentials(r.Request)
	if err == nil {
		r.caller = claims
		return claims, nil
	}
	if refused, ok := errors.AsType[*auth.Error](err); !ok || !refused.Forbidden() {
		return auth.Claims{}, err
	}
	// A good token of somebody who is no administrator.
	if claims, err = a.config.Auth.Verify(auth.BearerToken(r.Request)); err != nil {
		return auth.Claims{}, err
	}
	r.caller = claims
	patient := a.config.PatientPlayback && patientsSide(claims.Role)
	if a.config.Recordings == nil || !safeName(id, maxFileName) || !claims.Grants.Has(auth.Record) && !patient {
		return auth.Claims{}, errNotYours()
	}
	at, err := a.config.Recordings.Attendance(r.Context(), id)
	if errors.Is(err, fs.ErrNotExist) {
		return auth.Claims{}, errNotYours()
	}
	if err != nil {
		return auth.Claims{}, fmt.Errorf("who took part in %s: %w", id, err)
	}
	if at.Room != claims.Room || !slices.Contains(at.Identities, claims.Subject) {
		return auth.Claims{}, errNotYours()
	}
	return claims, nil
}

// audit writes an entry about who asks. An error means that what it tells must
// not be done.
func (a *API) audit(r *request, e audit.Entry) error {
	if a.config.Audit == nil {
		return nil
	}
	e.Address = clientAddress(r.Request)
	if err := a.config.Audit.Append(r.Context(), e); err != nil {
		return a.notAudited(err)
	}
	return nil
}

// notAudited is the answer when the audit log can't be written: nobody sees a
// recording unseen. One who went away before it was written tells nothing about
// the log.
func (a *API) notAudited(err error) error {
	if !errors.Is(err, context.Canceled) {
		a.log.Error("a recording is not shown: the audit log can't be written", "error", err)
	}
	return problem.New(http.StatusServiceUnavailable, problem.Unavailable, "who sees a recording can't be noted just now, so it is not shown")
}

// auditRefusal notes that somebody did not get what he asked for, where that is
// about recordings.
func (a *API) auditRefusal(r *request, p *problem.Problem) {
	if a.config.Audit == nil || !aboutRecordings(r.URL.Path) {
		return
	}
	switch {
	case p.Status == http.StatusUnauthorized, p.Status == http.StatusForbidden, p.Status == http.StatusNotFound, p.Status == http.StatusGone:
	case (p.Code == problem.Sealed || p.Code == problem.Damaged) && r.PathValue("name") != "": // a file
	default:
		return
	}
	e := audit.Entry{Actor: r.caller.Subject, Role: string(r.caller.Role), Address: clientAddress(r.Request)}
	if id := r.PathValue("id"); id != "" {
		e.Recording = shown(id)
	}
	if name := r.PathValue("name"); name != "" {
		e.File = shown(name)
	}
	a.config.Audit.Refuse(e, fmt.Sprintf("%s %d %s", r.Method, p.Status, p.Code))
}

// aboutRecordings reports whether a path leads to what is audited.
func aboutRecordings(path string) bool {
	for _, prefix := range []string{"/v1/recordings", "/v1/audit"} {
		if rest, ok := strings.CutPrefix(path, prefix); ok && (rest == "" || rest[0] == '/') {
			return true
		}
	}
	return false
}

// shown is a name as the log has it: one that nobody gives is quoted and cut.
func shown(name string) string {
	if safeName(name, maxFileName) {
		return name
	}
	return fmt.Sprintf("%.130q", name)
}

// clientAddress is where a request comes from, without port.
func clientAddress(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// patientsSide reports whether a role is the patient's or that of who came with
// him.
func patientsSide(role auth.Role) bool {
	return role == auth.RolePatient || role == auth.RoleCompanion
}
