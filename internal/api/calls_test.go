package api

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"consilium/internal/auth"
	"consilium/internal/event"
	"consilium/sfu"
)

func TestCreatingACallGivesEverybodyAJoinLink(t *testing.T) {
	s := newSite(t)
	a := s.send(t, "POST", "/v1/calls", `{
		"external_id": "visit-7", "metadata": {"ward": "3"}, "hold": true,
		"participants": [
			{"identity": "doc-1", "name": "Dr. Ivanova", "role": "doctor"},
			{"identity": "pat-1", "name": "Пётр", "role": "patient", "lang": "ru", "grants": ["publish.audio", "subscribe"], "ttl": 600}
		]}`)
	if a.status != http.StatusCreated {
		t.Fatalf("%d %s", a.status, a.text)
	}
	id, _ := a.json["id"].(string)
	room, _ := a.json["room"].(string)
	if a.header.Get("Location") != "/v1/calls/"+id || !auth.Ident(room) {
		t.Errorf("Location %q, room %q", a.header.Get("Location"), room)
	}
	participants, _ := a.json["participants"].([]any)
	if len(participants) != 2 {
		t.Fatalf("participants = %v", participants)
	}
	var patient auth.Claims
	for i, want := range []string{"doc-1", "pat-1"} {
		p, _ := participants[i].(map[string]any)
		token, _ := p["token"].(string)
		if p["url"] != "https://video.example/r/"+room+"#"+token || p["identity"] != want {
			t.Errorf("participant = %v", p)
		}
		claims, err := s.auth.VerifyJoin(token)
		if err != nil || claims.Room != room || claims.Subject != want {
			t.Errorf("claims = %+v, %v", claims, err)
		}
		patient = claims
	}
	if patient.Grants != auth.PublishAudio|auth.Subscribe || patient.Lang != "ru" || patient.Name != "Пётр" {
		t.Errorf("claims = %+v", patient)
	}
	if info, _ := s.calls.Call(id); !info.Hold || info.ExternalID != "visit-7" || info.Metadata["ward"] != "3" {
		t.Errorf("call = %+v", info)
	}
	invited := 0
	feed := s.send(t, "GET", "/v1/events", "")
	events, _ := feed.json["events"].([]any)
	for _, e := range events {
		if m, _ := e.(map[string]any); m["type"] == "participant.invited" && m["external_id"] == "visit-7" && m["call"] == id {
			invited++
		}
	}
	if invited != 2 {
		t.Errorf("%d participant.invited in %s", invited, feed.text)
	}
}

func TestACallIsShownWhileItLivesAndAfter(t *testing.T) {
	s := newSite(t)
	id := s.open(t, `{"room": "red", "external_id": "x"}`)
	s.calls.join(id, "anna")
	s.journal.Emit(event.Event{
		Type: event.ParticipantJoined, Call: id, Room: "red", Participant: "anna",
		Data: map[string]any{"name": "Anna", "role": "patient"},
	})
	other := s.open(t, `{"room": "blue"}`)

	live := s.send(t, "GET", "/v1/calls/"+id, "")
	if live.json["state"] != "live" || live.json["external_id"] != "x" || live.json["ended"] != nil {
		t.Errorf("live: %s", live.text)
	}
	one := s.send(t, "GET", "/v1/calls/"+id+"/participants/anna", "")
	tracks, _ := one.json["tracks"].([]any)
	if one.json["state"] != "joined" || one.json["joined"] == nil || len(tracks) != 1 {
		t.Errorf("participant: %s", one.text)
	}
	for range 2 {
		s.send(t, "DELETE", "/v1/calls/"+id, "")
	}
	if again := s.send(t, "DELETE", "/v1/calls/"+id, ""); again.status != http.StatusConflict {
		t.Errorf("ending an ended call: %d", again.status)
	}
	ended := s.send(t, "GET", "/v1/calls/"+id, "")
	participants, _ := ended.json["participants"].([]any)
	if ended.json["state"] != "ended" || ended.json["ended"] == nil || ended.json["room"] != "red" || len(participants) != 1 {
		t.Errorf("ended: %s", ended.text)
	}
	for query, want := range map[string][]string{
		"":                 {other, id},
		"?state=live":      {other},
		"?state=ended":     {id},
		"?room=red":        {id},
		"?external_id=x":   {id},
		"?limit=1":         {other},
		"?before=" + other: {id},
	} {
		list := s.send(t, "GET", "/v1/calls"+query, "")
		calls, _ := list.json["calls"].([]any)
		var got []string
		for _, c := range calls {
			m, _ := c.(map[string]any)
			got = append(got, m["id"].(string))
		}
		if !slices.Equal(got, want) {
			t.Errorf("list %q = %v, want %v", query, got, want)
		}
	}
}

func TestParticipantsAreRemovedMutedAndAdmitted(t *testing.T) {
	s := newSite(t)
	id := s.open(t, `{}`)
	s.calls.join(id, "anna")
	person := "/v1/calls/" + id + "/participants/anna"
	for _, step := range []struct{ method, path, body string }{
		{"POST", person + "/admit", ""},
		{"POST", person + "/admit", "{}"},
		{"POST", person + "/mute", `{"source": "mic"}`},
		{"DELETE", person, ""},
		{"DELETE", "/v1/calls/" + id, ""},
	} {
		if a := s.send(t, step.method, step.path, step.body); a.status != http.StatusNoContent {
			t.Errorf("%s %s: %d %s", step.method, step.path, a.status, a.text)
		}
	}
	want := []string{"admit anna by mis", "admit anna by mis", "mute mic anna by mis", "remove anna by mis", "end by mis"}
	if !slices.Equal(s.calls.done, want) {
		t.Errorf("done: %q", s.calls.done)
	}
}

func TestTheTimelineHasNotes(t *testing.T) {
	s := newSite(t)
	id := s.open(t, `{}`)
	s.journal.Emit(event.Event{Type: event.NoteCandidate, Call: id, Data: map[string]any{"text": "ignored: .local"}})
	a := s.send(t, "GET", "/v1/calls/"+id+"/journal", "")
	if a.status != http.StatusOK || !strings.Contains(string(a.text), "ignored: .local") {
		t.Errorf("%d %s", a.status, a.text)
	}
	if feed := s.send(t, "GET", "/v1/events", ""); strings.Contains(string(feed.text), "note.") {
		t.Errorf("the feed has notes: %s", feed.text)
	}
}

func TestTheFeedIsReadPageByPage(t *testing.T) {
	s := newSite(t)
	empty := s.send(t, "GET", "/v1/events", "")
	if string(empty.text) != "{\"events\":[],\"next\":\"\"}\n" {
		t.Errorf("empty feed: %s", empty.text)
	}
	for range 5 {
		s.journal.Emit(event.Event{Type: event.MediaFlowing})
	}
	seen, after := 0, ""
	for range 3 {
		page := s.send(t, "GET", "/v1/events?limit=2&after="+after, "")
		events, _ := page.json["events"].([]any)
		seen += len(events)
		after, _ = page.json["next"].(string)
	}
	if seen != 5 {
		t.Errorf("saw %d of 5 events", seen)
	}
	end := s.send(t, "GET", "/v1/events?after="+after, "")
	if end.json["next"] != after {
		t.Errorf("next at the end = %v, want %s", end.json["next"], after)
	}
}

func TestErrorsOfTheSFUHaveTheStatusOfTheContract(t *testing.T) {
	tests := map[error]struct {
		status int
		code   string
	}{
		sfu.ErrConflict:  {409, "conflict"},
		sfu.ErrWaiting:   {409, "conflict"},
		sfu.ErrBusy:      {503, "SERVER_BUSY"},
		sfu.ErrDraining:  {503, "SERVER_RESTART"},
		sfu.ErrRecording: {503, "RECORDER_FAILED"},
		sfu.ErrNoGrant:   {403, "forbidden"},
	}
	for err, want := range tests {
		t.Run(err.Error(), func(t *testing.T) {
			s := newSite(t)
			s.calls.refuse = err
			a := s.send(t, "POST", "/v1/calls", `{}`)
			if a.status != want.status || a.code() != want.code {
				t.Errorf("%d %s", a.status, a.text)
			}
			if want.status == 503 && a.header.Get("Retry-After") == "" {
				t.Error("503 without Retry-After")
			}
		})
	}
}

func TestLinksHaveTheSchemeThatTheUserSees(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*http.Request)
		want   string
	}{
		"plain":               {func(*http.Request) {}, "http://video.example"},
		"TLS":                 {func(r *http.Request) { r.TLS = &tls.ConnectionState{} }, "https://video.example"},
		"a proxy with TLS":    {func(r *http.Request) { r.URL.Scheme = "https" }, "https://video.example"},
		"a proxy without TLS": {func(r *http.Request) { r.URL.Scheme = "http" }, "http://video.example"},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			r.Host = "video.example"
			tc.change(r)
			if got := (&API{}).publicURL(r); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}
