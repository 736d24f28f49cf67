package api

import (
	"fmt"
	"mime"
	"net/http"

	"consilium/internal/timeline"
)

// showJournal answers the timeline of a call, or of one participant as an
// rtcstats dump.
func (a *API) showJournal(w http.ResponseWriter, r *request) error {
	format := r.URL.Query().Get("format")
	if format != "" && format != "json" && format != "rtcstats" {
		return badRequest("format: json or rtcstats")
	}
	view, err := a.findCall(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	events, err := a.config.Journal.Timeline(r.Context(), view.ID)
	if err != nil {
		return err
	}
	built := timeline.Build(events)
	if format == "rtcstats" {
		return a.serveDump(w, r, view, built)
	}
	return writeJSON(w, http.StatusOK, map[string]any{
		"call": view, "events": built.Entries, "participants": built.Participants,
	})
}

// serveDump answers the dump of ?participant=, which may be left out where
// there is only one.
func (a *API) serveDump(w http.ResponseWriter, r *request, view callView, built timeline.Timeline) error {
	who := r.URL.Query().Get("participant")
	if who == "" {
		if len(built.Participants) != 1 {
			return badRequest("participant: the identity of one of the call's participants")
		}
		who = built.Participants[0].Identity
	}
	entries := built.Of(who)
	if len(entries) == 0 {
		return notFound("the call has no participant with this identity")
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{
		"filename": fmt.Sprintf("%s-%s.rtcstats", view.ID, who),
	}))
	// A client that has gone can't be told.
	_ = timeline.Dump{Call: view.ID, Participant: who, Entries: entries}.Write(w)
	return nil
}
