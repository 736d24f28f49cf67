package api

import (
	"encoding/json"
	"maps"
	"net/http"
	"strings"
	"testing"

	"consilium/internal/problem"
)

// refusal is a request and how it is refused.
type refusal struct {
	method, path, body string
	status             int
	code               string
}

// badCalls are bodies of POST /v1/calls.
func badCalls() map[string]refusal {
	many := `{"participants": [` + strings.TrimSuffix(strings.Repeat(`{"identity": "a", "role": "doctor"},`, 65), ",") + `]}`
	return map[string]refusal{
		"empty body":               {"POST", "/v1/calls", "", 400, "bad_json"},
		"not JSON":                 {"POST", "/v1/calls", "{", 400, "bad_json"},
		"two values":               {"POST", "/v1/calls", "{}{}", 400, "bad_json"},
		"text after":               {"POST", "/v1/calls", "{} x", 400, "bad_json"},
		"null":                     {"POST", "/v1/calls", "null", 422, "unusable"},
		"an array":                 {"POST", "/v1/calls", "[]", 422, "unusable"},
		"nested too deep":          {"POST", "/v1/calls", strings.Repeat("[", 20_000), 400, "bad_json"},
		"unknown field":            {"POST", "/v1/calls", `{"rooom": "a"}`, 422, "unusable"},
		"unknown field inside":     {"POST", "/v1/calls", `{"participants": [{"identity": "a", "role": "doctor", "x": 1}]}`, 422, "unusable"},
		"room of a wrong type":     {"POST", "/v1/calls", `{"room": 7}`, 422, "unusable"},
		"metadata of a wrong type": {"POST", "/v1/calls", `{"metadata": {"a": 1}}`, 422, "unusable"},
		"room with a slash":        {"POST", "/v1/calls", `{"room": "a/b"}`, 422, "unusable"},
		"room of dots":             {"POST", "/v1/calls", `{"room": ".."}`, 422, "unusable"},
		"room too long":            {"POST", "/v1/calls", `{"room": "` + strings.Repeat("a", 65) + `"}`, 422, "unusable"},
		"control in external_id":   {"POST", "/v1/calls", `{"external_id": "a\u0000"}`, 422, "unusable"},
		"too much metadata":        {"POST", "/v1/calls", `{"metadata": {"a": "` + strings.Repeat("x", 5000) + `"}}`, 422, "unusable"},
		"too many participants":    {"POST", "/v1/calls", many, 422, "unusable"},
		"no identity":              {"POST", "/v1/calls", `{"participants": [{"role": "doctor"}]}`, 422, "unusable"},
		"unknown role":             {"POST", "/v1/calls", `{"participants": [{"identity": "a", "role": "nurse"}]}`, 422, "unusable"},
		"an admin":                 {"POST", "/v1/calls", `{"participants": [{"identity": "a", "role": "admin"}]}`, 422, "unusable"},
		"more than the role may":   {"POST", "/v1/calls", `{"participants": [{"identity": "a", "role": "patient", "grants": ["end"]}]}`, 422, "unusable"},
		"twice the same":           {"POST", "/v1/calls", `{"participants": [{"identity": "a", "role": "patient"}, {"identity": "a", "role": "doctor"}]}`, 422, "unusable"},
		"no lifetime":              {"POST", "/v1/calls", `{"participants": [{"identity": "a", "role": "patient", "ttl": 0}]}`, 422, "unusable"},
		"fraction of a second":     {"POST", "/v1/calls", `{"participants": [{"identity": "a", "role": "patient", "ttl": 0.5}]}`, 422, "unusable"},
		"name that turns around":   {"POST", "/v1/calls", `{"participants": [{"identity": "a", "role": "patient", "name": "\u202egnp"}]}`, 422, "unusable"},
		"64 KiB and more":          {"POST", "/v1/calls", `{"room": "` + strings.Repeat("a", 65<<10) + `"}`, 413, "too_large"},
		"1 MiB":                    {"POST", "/v1/calls", strings.Repeat(" ", 1<<20), 413, "too_large"},
	}
}

// badTargets name calls and participants; CALL stands for a call with anna in it.
func badTargets() map[string]refusal {
	return map[string]refusal{
		"unknown call":             {"GET", "/v1/calls/nobody", "", 404, "not_found"},
		"end of an unknown call":   {"DELETE", "/v1/calls/nobody", "", 404, "not_found"},
		"journal of unknown call":  {"GET", "/v1/calls/nobody/journal", "", 404, "not_found"},
		"unknown format":           {"GET", "CALL/journal?format=pcap", "", 400, "bad_request"},
		"unknown participant":      {"GET", "CALL/participants/boris", "", 404, "not_found"},
		"removal of nobody":        {"DELETE", "CALL/participants/boris", "", 404, "not_found"},
		"mute of nobody":           {"POST", "CALL/participants/boris/mute", `{"source": "mic"}`, 404, "not_found"},
		"mute in an unknown call":  {"POST", "/v1/calls/nobody/participants/anna/mute", `{"source": "mic"}`, 404, "not_found"},
		"mute of an unknown thing": {"POST", "CALL/participants/anna/mute", `{"source": "nose"}`, 422, "unusable"},
		"mute of nothing":          {"POST", "CALL/participants/anna/mute", `{}`, 422, "unusable"},
		"mute without a body":      {"POST", "CALL/participants/anna/mute", "", 400, "bad_json"},
		"admit with a body":        {"POST", "CALL/participants/anna/admit", `{"x": 1}`, 422, "unusable"},
	}
}

// badQueries have strange parameters.
func badQueries() map[string]refusal {
	return map[string]refusal{
		"limit of letters":      {"GET", "/v1/events?limit=x", "", 400, "bad_request"},
		"limit of nothing":      {"GET", "/v1/events?limit=0", "", 400, "bad_request"},
		"negative limit":        {"GET", "/v1/calls?limit=-1", "", 400, "bad_request"},
		"after of any length":   {"GET", "/v1/events?after=" + strings.Repeat("a", 100), "", 400, "bad_request"},
		"unknown state":         {"GET", "/v1/calls?state=asleep", "", 400, "bad_request"},
		"page before no call":   {"GET", "/v1/calls?before=nobody", "", 404, "not_found"},
		"TURN for a strange id": {"GET", "/v1/turn?username=a%20b", "", 422, "unusable"},
	}
}

// badFiles ask for recordings and files.
func badFiles() map[string]refusal {
	return map[string]refusal{
		"unknown recording":          {"GET", "/v1/recordings/nobody", "", 404, "not_found"},
		"unknown file":               {"GET", "/v1/recordings/rec1/files/other.webm", "", 404, "not_found"},
		"file above":                 {"GET", "/v1/recordings/rec1/files/..%2f..%2fconsilium.db", "", 404, "not_found"},
		"file of dots":               {"GET", "/v1/recordings/rec1/files/%2e%2e", "", 404, "not_found"},
		"hidden file":                {"GET", "/v1/recordings/rec1/files/.hidden", "", 404, "not_found"},
		"file with a NUL":            {"GET", "/v1/recordings/rec1/files/a%00b", "", 404, "not_found"},
		"file with a backslash":      {"GET", "/v1/recordings/rec1/files/..%5cx", "", 404, "not_found"},
		"recording above":            {"GET", "/v1/recordings/..%2f..", "", 404, "not_found"},
		"playback of unknown":        {"POST", "/v1/recordings/nobody/playback", "", 404, "not_found"},
		"file name that is too long": {"GET", "/v1/recordings/rec1/files/" + strings.Repeat("a", 200), "", 404, "not_found"},
	}
}

// badPaths are paths and methods that are not there.
func badPaths() map[string]refusal {
	return map[string]refusal{
		"nothing there":        {"GET", "/v1/nothing", "", 404, "not_found"},
		"the bare prefix":      {"GET", "/v1/", "", 404, "not_found"},
		"PUT of calls":         {"PUT", "/v1/calls", "{}", 405, "method_not_allowed"},
		"PATCH of a call":      {"PATCH", "CALL", "{}", 405, "method_not_allowed"},
		"GET of mute":          {"GET", "CALL/participants/anna/mute", "", 405, "method_not_allowed"},
		"POST of the feed":     {"POST", "/v1/events", "{}", 405, "method_not_allowed"},
		"DELETE of openapi":    {"DELETE", "/openapi.json", "", 405, "method_not_allowed"},
		"diag with an API key": {"POST", "/v1/diag", `{"entries": []}`, 401, "unauthorized"},
		"below a recording":    {"GET", "/recordings/rec1/x", "", 404, "not_found"},
	}
}

func TestBadRequestsAreRefusedWithACode(t *testing.T) {
	s := newSite(t)
	id := s.open(t, `{"room": "known"}`)
	s.calls.join(id, "anna")
	tests := make(map[string]refusal)
	for _, table := range []map[string]refusal{badCalls(), badTargets(), badQueries(), badFiles(), badPaths()} {
		maps.Copy(tests, table)
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			a := s.send(t, test.method, strings.Replace(test.path, "CALL", "/v1/calls/"+id, 1), test.body)
			if a.status != test.status || a.code() != test.code {
				t.Errorf("%d %s, want %d %s", a.status, a.text, test.status, test.code)
			}
			if got := a.header.Get("Content-Type"); got != problem.ContentType {
				t.Errorf("Content-Type = %q", got)
			}
			if a.json["status"] != float64(test.status) || a.json["detail"] == "" {
				t.Errorf("problem = %s", a.text)
			}
			if strings.Contains(string(a.text), "/secret/path") {
				t.Errorf("the answer tells the server's paths: %s", a.text)
			}
			if test.status == http.StatusMethodNotAllowed && a.header.Get("Allow") == "" {
				t.Error("405 without Allow")
			}
		})
	}
	if got := s.send(t, "GET", "/v1/calls", ""); got.status != http.StatusOK || len(s.calls.calls) != 1 {
		t.Errorf("bad requests left something behind: %s", got.text)
	}
}

func TestOnlyTheRightCredentialsOpenARoute(t *testing.T) {
	s := newSite(t)
	id := s.open(t, `{}`)
	foreign := "eyJhbGciOiJub25lIn0.eyJpc3MiOiJtaXMiLCJzdWIiOiJhIiwicm9vbSI6IioiLCJyb2xlIjoiYWRtaW4ifQ."
	tests := map[string]struct {
		authorization string
		status        int
		code          string
	}{
		"nothing":         {"", 401, "unauthorized"},
		"no scheme":       {"abc", 401, "unauthorized"},
		"garbage":         {"Bearer abc", 401, "TOKEN_BAD"},
		"alg none":        {"Bearer " + foreign, 401, "TOKEN_BAD"},
		"wrong secret":    {"Basic bWlzOndyb25n", 401, "TOKEN_BAD"},
		"unknown key":     {"Basic eDp5", 401, "TOKEN_BAD"},
		"a join token":    {"Bearer " + s.token(t, "anna", "red", "doctor"), 403, "forbidden"},
		"an admin's":      {"Bearer " + s.token(t, "root", "*", "admin"), 0, ""},
		"the API's key":   {basic(), 0, ""},
		"lower-case word": {"bearer " + s.token(t, "root", "*", "admin"), 0, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			for _, r := range routes() {
				if r.access == open || r.path == "/v1/diag" || r.path == "/v1/precheck" || (r.path == "/v1/turn" && name == "a join token") {
					continue
				}
				path := strings.NewReplacer("{id}", id, "{identity}", "anna", "{name}", "x.webm").Replace(r.path)
				if test.status == 0 && r.method != "GET" {
					continue // would change something
				}
				a := s.send(t, r.method, path, "{}", "Authorization", test.authorization)
				if test.status == 0 {
					if a.status == 401 || a.status == 403 {
						t.Errorf("%s %s: %d %s", r.method, path, a.status, a.text)
					}
					continue
				}
				if a.status != test.status || a.code() != test.code {
					t.Errorf("%s %s: %d %s, want %d %s", r.method, path, a.status, a.text, test.status, test.code)
				}
				if a.status == 401 && a.header.Get("WWW-Authenticate") == "" {
					t.Errorf("%s %s: 401 without WWW-Authenticate", r.method, path)
				}
			}
		})
	}
}

// FuzzDecode feeds the body of POST /v1/calls: whatever comes, the answer is a
// call that passes its own checks, or a 4xx.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{}`, `null`, `{"room":"a"}`, `{"participants":[{"identity":"a","role":"doctor","grants":["mute"],"ttl":5}]}`,
		`{"metadata":{"a":"b"},"hold":true}`, `{"room":"\ud800"}`, "\xff", `{"ttl":1e999}`, `[[[[`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var c newCall
		err := decode(body, &c)
		if err == nil {
			c.Room = "room"
			err = c.check()
		}
		if err != nil {
			if p := Of(err); p.Status != 400 && p.Status != 422 {
				t.Fatalf("status %d: %v", p.Status, err)
			}
			return
		}
		if !json.Valid(body) {
			t.Fatal("took what is not JSON")
		}
		if len(c.Participants) > maxParticipants || len(c.ExternalID) > maxExternalID {
			t.Fatalf("took too much: %d participants", len(c.Participants))
		}
	})
}
