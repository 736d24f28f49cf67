package api

import (
	"net/http"
	"strconv"

	"consilium/internal/audit"
)

// listAudit answers a page of the audit log, the oldest first.
func (a *API) listAudit(w http.ResponseWriter, r *request) error {
	query := r.URL.Query()
	f := audit.Filter{Recording: query.Get("recording")}
	var err error
	if f.Limit, err = pageLimit(query.Get("limit")); err != nil {
		return err
	}
	if len(f.Recording) > 2*maxFileName {
		return badRequest("recording: the id of a recording")
	}
	if text := query.Get("after"); text != "" {
		if f.After, err = strconv.ParseInt(text, 10, 64); err != nil || f.After < 0 {
			return badRequest("after: the sequence of an entry")
		}
	}
	entries := []audit.Entry{}
	if a.config.Audit != nil {
		if entries, err = a.config.Audit.Entries(r.Context(), f); err != nil {
			return err
		}
	}
	next := f.After
	if len(entries) > 0 {
		next = entries[len(entries)-1].Sequence
	}
	return writeJSON(w, http.StatusOK, map[string]any{"entries": entries, "next": next})
}
