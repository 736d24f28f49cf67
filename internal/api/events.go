package api

import (
	"net/http"

	"consilium/internal/event"
)

// listEvents answers a page of the event feed, or everything with an incident
// number.
func (a *API) listEvents(w http.ResponseWriter, r *request) error {
	query := r.URL.Query()
	number, err := incidentNumber(query)
	if err != nil {
		return err
	}
	if number != "" {
		entries, err := a.config.Journal.Incident(r.Context(), number)
		if err != nil {
			return err
		}
		return writeJSON(w, http.StatusOK, map[string]any{"events": append([]event.Event{}, entries...), "next": ""})
	}
	limit, err := pageLimit(query.Get("limit"))
	if err != nil {
		return err
	}
	after := query.Get("after")
	if len(after) > 64 {
		return badRequest("after: the id of an event")
	}
	events, next, err := a.config.Journal.Events(r.Context(), after, limit)
	if err != nil {
		return err
	}
	if events == nil {
		events = []event.Event{}
	}
	return writeJSON(w, http.StatusOK, map[string]any{"events": events, "next": next})
}
