package api

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"consilium/internal/event"
	"consilium/internal/incident"
	"consilium/internal/journal"
	"consilium/sfu"
)

// callQuery is what a list of calls is asked for.
type callQuery struct {
	journal.Filter
	state    string // all, live, ended, or empty
	incident string
}

func readCallQuery(query url.Values) (q callQuery, err error) {
	q.Room, q.ExternalID, q.Before = query.Get("room"), query.Get("external_id"), query.Get("before")
	if q.Limit, err = pageLimit(query.Get("limit")); err != nil {
		return q, err
	}
	if q.state = query.Get("state"); !slices.Contains([]string{"", "all", "live", "ended"}, q.state) {
		return q, badRequest("state: all, live or ended")
	}
	if q.Code = event.Code(query.Get("code")); q.Code != "" && !slices.Contains(event.Codes(), q.Code) {
		return q, badRequest("code: not a known failure code")
	}
	for name, into := range map[string]*time.Time{"from": &q.From, "to": &q.To} {
		if text := query.Get(name); text != "" {
			if *into, err = time.Parse(time.RFC3339, text); err != nil {
				return q, badRequest(name + ": a time such as 2026-11-23T08:00:00Z")
			}
		}
	}
	q.incident, err = incidentNumber(query)
	return q, err
}

// incidentNumber reads ?incident= as people type it; "" if it is not there.
func incidentNumber(query url.Values) (string, error) {
	if !query.Has("incident") {
		return "", nil
	}
	number, err := incident.Canonical(query.Get("incident"))
	if err != nil {
		return "", badRequest("incident: six letters and digits, such as K7M4-QX")
	}
	return number, nil
}

// listCalls answers living and ended calls, the latest first.
func (a *API) listCalls(w http.ResponseWriter, r *request) error {
	q, err := readCallQuery(r.URL.Query())
	if err != nil {
		return err
	}
	if q.incident != "" {
		return a.listIncident(w, r.Context(), q.incident)
	}
	living := make(map[string]sfu.CallInfo)
	for _, info := range a.config.Calls.Calls() {
		living[info.ID] = info
	}
	views, next := []callView{}, ""
	if q.state == "live" {
		if views, err = a.liveViews(r.Context(), living, q.Filter); err != nil {
			return err
		}
	} else {
		records, err := a.config.Journal.Calls(r.Context(), q.Filter)
		if err != nil {
			return err
		}
		if len(records) == q.Limit {
			next = records[q.Limit-1].ID
		}
		for _, record := range records {
			info, live := living[record.ID]
			if !live || q.state != "ended" {
				views = append(views, viewCall(record, info, live))
			}
		}
	}
	return writeJSON(w, http.StatusOK, map[string]any{"calls": views, "next": next})
}

// liveViews are the living calls that match, the latest first. There are few,
// so they come on one page.
func (a *API) liveViews(ctx context.Context, living map[string]sfu.CallInfo, f journal.Filter) ([]callView, error) {
	views := []callView{}
	for _, info := range slices.SortedFunc(maps.Values(living), func(a, b sfu.CallInfo) int {
		return cmp.Or(b.Started.Compare(a.Started), strings.Compare(b.ID, a.ID))
	}) {
		if f.Room != "" && f.Room != info.Room || f.ExternalID != "" && f.ExternalID != info.ExternalID ||
			info.Started.Before(f.From) || !f.To.IsZero() && !info.Started.Before(f.To) {
			continue
		}
		record, err := a.config.Journal.Call(ctx, info.ID)
		if err != nil && !errors.Is(err, journal.ErrNotFound) {
			return nil, err
		}
		if f.Code == "" || slices.Contains(record.Codes, f.Code) {
			views = append(views, viewCall(record, info, true))
		}
	}
	return views, nil
}

// listIncident answers the call of an incident, as a list of one or none.
func (a *API) listIncident(w http.ResponseWriter, ctx context.Context, number string) error {
	entries, err := a.config.Journal.Incident(ctx, number)
	if err != nil {
		return err
	}
	views := []callView{}
	for _, e := range entries {
		if e.Call == "" || slices.ContainsFunc(views, func(v callView) bool { return v.ID == e.Call }) {
			continue
		}
		view, err := a.findCall(ctx, e.Call)
		if err != nil {
			return err
		}
		views = append(views, view)
	}
	return writeJSON(w, http.StatusOK, map[string]any{"calls": views, "next": ""})
}

// pageLimit reads ?limit=: 100 unless given, at most 1000.
func pageLimit(text string) (int, error) {
	if text == "" {
		return 100, nil
	}
	limit, err := strconv.Atoi(text)
	if err != nil || limit < 1 {
		return 0, badRequest("limit: a number from 1 to 1000")
	}
	return min(limit, journal.MaxLimit), nil
}
