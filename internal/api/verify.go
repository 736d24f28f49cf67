package api

import (
	"net/http"

	"consilium/internal/audit"
	"consilium/internal/problem"
)

// VerifyState sums up a Verification.
type VerifyState string

// States.
const (
	// Intact: signature and every file are as they were signed.
	Intact VerifyState = "intact"
	// Changed: the findings say what is not.
	Changed VerifyState = "changed"
	// Unfinished: nothing is signed yet.
	Unfinished VerifyState = "unfinished"
)

// Verification is what was found when a recording was compared with its signed
// manifest.
type Verification struct {
	State VerifyState `json:"state"`
	Files int         `json:"files"` // compared
	Bytes int64       `json:"bytes"`
	// Away are files that lie in another store, where they were verified before
	// they left.
	Away int `json:"away"`
	// Key is the fingerprint of the public key that must have signed.
	Key      string          `json:"key"`
	Findings []VerifyFinding `json:"findings"`
}

// VerifyFinding is one thing that is wrong, in English.
type VerifyFinding struct {
	File    string `json:"file,omitempty"`
	Problem string `json:"problem"`
}

// verifyRecording answers what recordings verify prints of one recording. All
// its files are read, so one is verified at a time.
func (a *API) verifyRecording(w http.ResponseWriter, r *request) error {
	id := r.PathValue("id")
	if _, _, err := a.viewer(w, r, id); err != nil {
		return err
	}
	if a.config.Recordings == nil || !safeName(id, maxFileName) {
		return notFound("there is no recording with this id")
	}
	select {
	case a.verifying <- struct{}{}:
		defer func() { <-a.verifying }()
	default:
		return problem.New(http.StatusServiceUnavailable, problem.Unavailable, "another recording is being verified: try again when that is done")
	}
	v, err := a.config.Recordings.Verify(r.Context(), id)
	if err != nil {
		return noRecording(err)
	}
	entry := audit.Entry{
		Action: audit.Verified, Recording: id, Actor: r.caller.Subject, Role: string(r.caller.Role),
		Data: map[string]any{"state": string(v.State), "files": v.Files, "findings": len(v.Findings)},
	}
	if len(v.Findings) > 0 {
		entry.Outcome = audit.Failed
		entry.Data["first"] = v.Findings[0]
	}
	if err := a.audit(r, entry); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, v)
}
