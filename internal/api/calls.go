package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"consilium/internal/event"
	"consilium/internal/journal"
	"consilium/internal/media"
	"consilium/sfu"
)

// callView is a call as the API shows it.
type callView struct {
	ID         string            `json:"id"`
	Room       string            `json:"room"`
	ExternalID string            `json:"external_id,omitempty"`
	Metadata   map[string]string `json:"metadata,omitempty"`
	State      string            `json:"state"` // live or ended
	Started    string            `json:"started"`
	Ended      string            `json:"ended,omitempty"`
	Recording  bool              `json:"recording"` // just now
	Hold       bool              `json:"hold"`
	// Codes of what failed in it, each once, the first first.
	Codes        []event.Code      `json:"codes"`
	Participants []participantView `json:"participants"`
}

// participantView is a participant, present or gone.
type participantView struct {
	Identity string      `json:"identity"`
	Name     string      `json:"name,omitempty"`
	Role     string      `json:"role,omitempty"`
	State    string      `json:"state"`
	Joined   string      `json:"joined,omitempty"`
	Left     string      `json:"left,omitempty"`
	Sessions []string    `json:"sessions"`
	Tracks   []trackView `json:"tracks"`
}

// trackView is a published track.
type trackView struct {
	ID      string `json:"id"`
	Session string `json:"session"`
	Source  string `json:"source"`
	Codec   string `json:"codec"`
	Muted   bool   `json:"muted"`
	State   string `json:"state"`
}

// findCall looks for a call among the living, then in the journal.
func (a *API) findCall(ctx context.Context, id string) (callView, error) {
	info, live := a.config.Calls.Call(id)
	record, err := a.config.Journal.Call(ctx, id)
	if errors.Is(err, journal.ErrNotFound) && !live {
		return callView{}, notFound("there is no call with this id")
	}
	if err != nil && !live {
		return callView{}, err
	}
	return viewCall(record, info, live), nil
}

func (a *API) showCall(w http.ResponseWriter, r *request) error {
	view, err := a.findCall(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, view)
}

// endCall ends a call for everybody.
func (a *API) endCall(w http.ResponseWriter, r *request) error {
	ctx, cancel := detached(r)
	defer cancel()
	id := r.PathValue("id")
	if err := a.config.Calls.EndCall(ctx, id, r.caller.Subject); err != nil {
		return a.orEnded(ctx, id, fmt.Errorf("end call: %w", err))
	}
	return noContent(w)
}

// orEnded turns "not found" into a conflict where the call did exist.
func (a *API) orEnded(ctx context.Context, id string, err error) error {
	if !errors.Is(err, sfu.ErrNotFound) && !errors.Is(err, sfu.ErrClosed) {
		return err
	}
	if _, live := a.config.Calls.Call(id); live {
		return err
	}
	if _, known := a.config.Journal.Call(ctx, id); known == nil {
		return conflict("the call has ended")
	}
	return notFound("there is no call with this id")
}

// findParticipant looks for somebody in a call.
func (a *API) findParticipant(ctx context.Context, id, identity string) (participantView, error) {
	view, err := a.findCall(ctx, id)
	if err != nil {
		return participantView{}, err
	}
	at := slices.IndexFunc(view.Participants, func(p participantView) bool { return p.Identity == identity })
	if at < 0 {
		return participantView{}, notFound("the call has no participant with this identity")
	}
	return view.Participants[at], nil
}

func (a *API) showParticipant(w http.ResponseWriter, r *request) error {
	view, err := a.findParticipant(r.Context(), r.PathValue("id"), r.PathValue("identity"))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, view)
}

// removeParticipant ends every session of a participant.
func (a *API) removeParticipant(w http.ResponseWriter, r *request) error {
	return a.toParticipant(w, r, func(ctx context.Context, id, identity string) error {
		return a.config.Calls.Remove(ctx, id, identity, r.caller.Subject)
	})
}

// muteParticipant mutes a source; only the participant can unmute it.
func (a *API) muteParticipant(w http.ResponseWriter, r *request) error {
	var body struct {
		Source string `json:"source"`
	}
	if err := decode(r.body, &body); err != nil {
		return err
	}
	source := media.Source(body.Source)
	if !source.Valid() {
		return unusable("source: mic, cam or screen")
	}
	return a.toParticipant(w, r, func(ctx context.Context, id, identity string) error {
		return a.config.Calls.Mute(ctx, id, identity, source, r.caller.Subject)
	})
}

// admitParticipant lets somebody in who waits. The body may be empty.
func (a *API) admitParticipant(w http.ResponseWriter, r *request) error {
	if len(r.body) > 0 {
		if err := decode(r.body, &struct{}{}); err != nil {
			return err
		}
	}
	return a.toParticipant(w, r, func(ctx context.Context, id, identity string) error {
		return a.config.Calls.Admit(ctx, id, identity, r.caller.Subject)
	})
}

func (a *API) toParticipant(w http.ResponseWriter, r *request, do func(ctx context.Context, id, identity string) error) error {
	ctx, cancel := detached(r)
	defer cancel()
	id := r.PathValue("id")
	if err := do(ctx, id, r.PathValue("identity")); err != nil {
		return a.orEnded(ctx, id, err)
	}
	return noContent(w)
}

// viewCall joins what the SFU knows of a living call with its record.
func viewCall(record journal.Call, info sfu.CallInfo, live bool) callView {
	view := callView{
		ID: cmp.Or(info.ID, record.ID), Room: cmp.Or(info.Room, record.Room),
		ExternalID: cmp.Or(info.ExternalID, record.ExternalID), Metadata: record.Metadata,
		State: "ended", Started: formatTime(record.Started), Ended: formatTime(record.Ended),
		Codes: append([]event.Code{}, record.Codes...), Participants: []participantView{},
	}
	if live {
		view.State, view.Started, view.Ended = "live", formatTime(info.Started), ""
		view.Recording, view.Hold, view.Metadata = info.Recording.On, info.Hold, info.Metadata
	}
	present := make(map[string]sfu.ParticipantInfo)
	for _, p := range info.Participants {
		present[p.Identity] = p
	}
	identities := slices.Concat(slices.Collect(maps.Keys(record.Participants)), slices.Collect(maps.Keys(present)))
	slices.Sort(identities)
	for _, identity := range slices.Compact(identities) {
		view.Participants = append(view.Participants, viewParticipant(identity, record.Participants[identity], present))
	}
	return view
}

func viewParticipant(identity string, record *journal.Participant, present map[string]sfu.ParticipantInfo) participantView {
	view := participantView{Identity: identity, Sessions: []string{}, Tracks: []trackView{}}
	if record != nil {
		view.Name, view.Role, view.State = record.Name, record.Role, record.State
		view.Joined, view.Left = formatTime(record.Joined), formatTime(record.Left)
	}
	info, ok := present[identity]
	if !ok {
		return view
	}
	view.Name, view.Role, view.State, view.Left = info.Name, info.Role, string(info.State), ""
	view.Sessions = append(view.Sessions, info.Sessions...)
	for _, t := range info.Tracks {
		view.Tracks = append(view.Tracks, trackView{
			ID: t.ID, Session: t.Session, Source: string(t.Source), Codec: t.Codec, Muted: t.Muted, State: string(t.State),
		})
	}
	return view
}

// formatTime is RFC 3339 with microseconds in UTC, as in events; "" for zero.
func formatTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000000Z07:00")
}
