package api

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"consilium/internal/event"
)

// fail emits a failure of a participant and returns its incident number.
func (s *site) fail(t testing.TB, call, room, participant string, code event.Code) string {
	t.Helper()
	e := s.journal.Number(event.Event{
		Type: event.ParticipantFailed, Call: call, Room: room, Participant: participant,
		Failure: event.Failure{Code: code, Stage: event.StageICE},
	})
	s.journal.Emit(e)
	return e.Incident()
}

func TestAnIncidentNumberFindsItsCall(t *testing.T) {
	s := newSite(t)
	id := s.open(t, `{"room": "red"}`)
	s.open(t, `{"room": "blue"}`)
	number := s.fail(t, id, "red", "anna", event.NoRoute)
	alone := s.fail(t, "", "green", "boris", event.TokenExpired) // in no call
	for name, typed := range map[string]string{
		"as shown": number, "as typed": strings.ToLower(strings.ReplaceAll(number, "-", " ")),
	} {
		t.Run(name, func(t *testing.T) {
			query := "?incident=" + url.QueryEscape(typed)
			calls, _ := s.send(t, "GET", "/v1/calls"+query, "").json["calls"].([]any)
			if len(calls) != 1 || calls[0].(map[string]any)["id"] != id {
				t.Errorf("calls = %v", calls)
			}
			events, _ := s.send(t, "GET", "/v1/events"+query, "").json["events"].([]any)
			if len(events) != 1 || events[0].(map[string]any)["participant"] != "anna" {
				t.Errorf("events = %v", events)
			}
		})
	}
	for path, want := range map[string]string{
		"/v1/calls?incident=" + alone:  `{"calls":[],"next":""}`,
		"/v1/calls?incident=000000":    `{"calls":[],"next":""}`,
		"/v1/events?incident=000000":   `{"events":[],"next":""}`,
		"/v1/events?incident=" + alone: `"participant":"boris"`,
	} {
		if a := s.send(t, "GET", path, ""); a.status != http.StatusOK || !strings.Contains(string(a.text), want) {
			t.Errorf("%s: %d %s, want %s", path, a.status, a.text, want)
		}
	}
	if a := s.send(t, "GET", "/v1/events?incident="+number, "", "Authorization", "Bearer "+s.token(t, "anna", "red", "patient")); a.status != http.StatusForbidden {
		t.Errorf("a patient: %d %s", a.status, a.text)
	}
}

func TestCallsAreSelectedByTimeAndCode(t *testing.T) {
	s := newSite(t)
	failed := s.open(t, `{"room": "red"}`)
	s.open(t, `{"room": "blue"}`)
	s.fail(t, failed, "red", "anna", event.NoRoute)
	past, future := time.Now().Add(-time.Hour).UTC().Format(time.RFC3339), time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	for query, want := range map[string]int{
		"": 2, "code=NO_ROUTE": 1, "code=CAM_DENIED": 0, "from=" + past: 2, "from=" + future: 0, "to=" + past: 0, "to=" + future: 2,
		"state=live&code=NO_ROUTE": 1, "state=live&from=" + future: 0, "state=live&to=" + past: 0, "state=ended&code=NO_ROUTE": 0,
		"from=" + past + "&to=" + future + "&code=NO_ROUTE": 1,
	} {
		t.Run(query, func(t *testing.T) {
			calls, _ := s.send(t, "GET", "/v1/calls?"+query, "").json["calls"].([]any)
			if len(calls) != want {
				t.Errorf("%d calls, want %d", len(calls), want)
			}
			for _, c := range calls {
				call := c.(map[string]any)
				if codes, ok := call["codes"].([]any); !ok || (call["id"] == failed) != (len(codes) == 1 && codes[0] == "NO_ROUTE") {
					t.Errorf("codes of %v = %v", call["id"], call["codes"])
				}
			}
		})
	}
}

func TestTheTimelineHasBothSidesOfEachParticipant(t *testing.T) {
	s := newSite(t)
	id := s.open(t, `{"room": "red"}`)
	s.journal.Emit(event.Event{Type: event.NoteClient, Call: id, Participant: "anna", Data: map[string]any{
		"text": "loaded", "device_ms": float64(time.Now().Add(-time.Hour).UnixMilli())}})
	s.journal.Emit(event.Event{Type: event.NoteState, Call: id, Participant: "anna", Data: map[string]any{"ice": "connected"}})
	a := s.send(t, "GET", "/v1/calls/"+id+"/journal", "")
	sides := make(map[any]int)
	for _, e := range a.json["events"].([]any) {
		entry := e.(map[string]any)
		sides[entry["side"]]++
		if at, err := time.Parse(time.RFC3339Nano, entry["at"].(string)); err != nil || time.Since(at) > time.Minute {
			t.Errorf("at = %v, %v", entry["at"], err)
		}
	}
	if sides["client"] != 1 || sides["server"] < 2 {
		t.Errorf("sides = %v", sides)
	}
	participants := a.json["participants"].([]any)
	if len(participants) != 1 || participants[0].(map[string]any)["identity"] != "anna" {
		t.Errorf("participants = %v", participants)
	}
}

func TestADumpIsServedAsAFile(t *testing.T) {
	s := newSite(t)
	id := s.open(t, `{"room": "red"}`)
	journal := "/v1/calls/" + id + "/journal?format=rtcstats"
	note := func(who string) {
		s.journal.Emit(event.Event{Type: event.NoteClient, Call: id, Participant: who, Data: map[string]any{
			"rtc": []any{"onconnectionstatechange", "PC_0", "connected"}}})
	}
	note("anna")
	a := s.send(t, "GET", journal, "")
	if a.status != 200 || !strings.HasPrefix(string(a.text), "RTCStatsDump\n{") || !strings.Contains(string(a.text), `["onconnectionstatechange","PC_0","connected",`) {
		t.Errorf("%d %s", a.status, a.text)
	}
	if got := a.header.Get("Content-Disposition"); got != "attachment; filename="+id+"-anna.rtcstats" {
		t.Errorf("Content-Disposition: %s", got)
	}
	note("boris")
	if a := s.send(t, "GET", journal+"&participant=boris", ""); a.status != 200 || !strings.Contains(string(a.text), `"participant":"boris"`) {
		t.Errorf("%d %s", a.status, a.text)
	}
	for name, test := range map[string]struct {
		path   string
		status int
	}{
		"which participant":   {journal, 400},
		"unknown participant": {journal + "&participant=eve", 404},
		"strange participant": {journal + "&participant=" + url.QueryEscape("\r\nX: y"), 404},
		"unknown format":      {"/v1/calls/" + id + "/journal?format=pcap", 400},
		"unknown call":        {"/v1/calls/nobody/journal?format=rtcstats", 404},
	} {
		t.Run(name, func(t *testing.T) {
			if a := s.send(t, "GET", test.path, ""); a.status != test.status {
				t.Errorf("%d %s, want %d", a.status, a.text, test.status)
			}
		})
	}
}

func TestBadQueriesAreRefused(t *testing.T) {
	s := newSite(t)
	for _, path := range []string{
		"/v1/calls?from=yesterday", "/v1/calls?to=2026-11-23", "/v1/calls?code=OOPS", "/v1/calls?code=no_route", "/v1/calls?state=dead",
		"/v1/calls?incident=", "/v1/calls?incident=U", "/v1/events?incident=K7M4", "/v1/events?incident=" + strings.Repeat("0", 5000),
		"/v1/calls?incident=" + url.QueryEscape("' OR 1=1 --"),
	} {
		if a := s.send(t, "GET", path, ""); a.status != http.StatusBadRequest || a.code() != "bad_request" {
			t.Errorf("%.60s: %d %s", path, a.status, a.text)
		}
	}
}
