package api

import (
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"consilium/internal/auth"
	"consilium/internal/event"
	"consilium/internal/problem"
	"consilium/sfu"
)

// maxDiagEntries of one request.
const maxDiagEntries = 200

// diagnostics is the body of POST /v1/diag: the client's own log when the
// socket is what failed. An entry has the shape it has over the socket.
type diagnostics struct {
	Session string      `json:"session"` // if there ever was one
	Entries []diagEntry `json:"entries"`
	// Precheck is the outcome of a test of the device; there may then be no
	// entries.
	Precheck *precheckOutcome `json:"precheck"`
}

type diagEntry struct {
	Time  float64        `json:"time"` // client's clock, ms since 1970
	Stage event.Stage    `json:"stage"`
	Text  string         `json:"text"`
	Code  event.Code     `json:"code"`
	Data  map[string]any `json:"data"`
}

// takeDiagnostics puts a client's log in the journal. The token may have
// expired or not be good yet: who comes at the wrong time should still be heard.
// If an entry has a code and the participant is in no call, then nobody else
// will say that he failed, and participant.failed is emitted with the first
// cause. Where the server knows a better one, the client is told.
func (a *API) takeDiagnostics(w http.ResponseWriter, r *request) error {
	claims, err := a.config.Auth.VerifyIdentity(auth.BearerToken(r.Request))
	if err != nil {
		return err
	}
	var log diagnostics
	if err := decode(r.body, &log); err != nil {
		return err
	}
	if err := log.check(); err != nil {
		return err
	}
	if !a.diag.AllowN(time.Now(), max(1, len(log.Entries))) {
		return problem.New(http.StatusTooManyRequests, problem.RateLimited, "too many client logs at once")
	}
	about := event.Event{Room: claims.Room, Participant: claims.Subject, Session: log.Session}
	present := false
	for _, call := range a.config.Calls.Calls() {
		if call.Room == claims.Room {
			about.Call, about.ExternalID, about.Metadata = call.ID, call.ExternalID, call.Metadata
			present = slices.ContainsFunc(call.Participants, func(p sfu.ParticipantInfo) bool {
				return p.Identity == claims.Subject && p.State != sfu.Left
			})
		}
	}
	answer := diagnosis{Incidents: make(map[event.Code]string)}
	for _, e := range log.Entries {
		answer.number(a.emitNumbered(e.note(about)).Incident(), e.Code)
	}
	if log.Precheck != nil {
		a.config.Journal.Emit(log.Precheck.completed(about))
		return noContent(w) // what a test finds is no failure of a call
	}
	first := slices.IndexFunc(log.Entries, func(e diagEntry) bool { return e.Code != "" })
	if first < 0 {
		return noContent(w)
	}
	if !present {
		failed := log.Entries[first].failure(about)
		if a.explain(&failed, r.RemoteAddr) {
			answer.Code = failed.Code
		}
		// Under another name it is still the failure that the client told.
		failed.Data[event.IncidentKey] = answer.Incidents[log.Entries[first].Code]
		answer.number(a.emitNumbered(failed).Incident(), failed.Code)
	}
	return writeJSON(w, http.StatusOK, answer)
}

// emitNumbered emits an event and returns it as it went out, with the incident
// number of a failure.
func (a *API) emitNumbered(e event.Event) event.Event {
	e = a.config.Journal.Number(e)
	a.config.Journal.Emit(e)
	return e
}

// diagnosis is what the server answers to a log with failures.
type diagnosis struct {
	// Code is what the server knows better than the client; may be empty.
	Code event.Code `json:"code,omitempty"`
	// Incidents are the numbers of the failures, by code.
	Incidents map[event.Code]string `json:"incidents"`
}

func (d diagnosis) number(number string, code event.Code) {
	if number != "" {
		d.Incidents[code] = number
	}
}

// explain replaces the code of a failure where the server has seen its cause
// and the client can't: browsers hide from pages why a socket does not open.
func (a *API) explain(e *event.Event, remote string) bool {
	if e.Code != event.SignalLost || a.config.Untrusted == nil {
		return false
	}
	client, err := netip.ParseAddrPort(remote)
	if err != nil {
		return false
	}
	evidence, refused := a.config.Untrusted(client.Addr())
	if !refused {
		return false
	}
	maps.Copy(e.Evidence, evidence)
	e.Code = event.CertUntrusted
	return true
}

func (d diagnostics) check() error {
	switch {
	case len(d.Entries) == 0 && d.Precheck == nil || len(d.Entries) > maxDiagEntries:
		return unusable(fmt.Sprintf("entries: 1 to %d", maxDiagEntries))
	case d.Session != "" && !auth.Ident(d.Session):
		return unusable("session: not the id of a session")
	}
	for i, e := range d.Entries {
		switch {
		case e.Code != "" && !slices.Contains(event.Codes(), e.Code):
			return unusable(fmt.Sprintf("entries[%d]: code: not a known failure code", i))
		case e.Stage != "" && !slices.Contains(stages(), e.Stage):
			return unusable(fmt.Sprintf("entries[%d]: stage: not a known stage", i))
		}
	}
	if d.Precheck != nil {
		return d.Precheck.check()
	}
	return nil
}

func stages() []event.Stage {
	return []event.Stage{
		event.StagePage, event.StageSocket, event.StageDevices, event.StageNegotiate, event.StageICE,
		event.StageDTLS, event.StageFirstRTP, event.StageFirstFrame, event.StageFlowing,
	}
}

// note is the entry in the timeline, with the same keys as one that came over
// the socket.
func (e diagEntry) note(about event.Event) event.Event {
	about.Type = event.NoteClient
	about.Failure = event.Failure{Code: e.Code, Stage: e.Stage}
	about.Data = map[string]any{}
	maps.Copy(about.Data, e.Data)
	about.Data["text"], about.Data["via"] = e.Text, "https"
	about.Data["client_time"] = formatTime(time.UnixMilli(int64(e.Time)))
	return about
}

func (e diagEntry) failure(about event.Event) event.Event {
	about.Type = event.ParticipantFailed
	about.Failure = event.Failure{
		Code: e.Code, Stage: e.Stage,
		Evidence: map[string]any{"client_log": e.Text},
	}
	about.Data = map[string]any{"via": "https"}
	return about
}
