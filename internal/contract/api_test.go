package contract

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// adminPaths are the endpoints for administrators only.
func adminPaths() []string {
	return []string{
		"POST /v1/calls", "GET /v1/calls", "GET /v1/calls/x", "DELETE /v1/calls/x", "GET /v1/calls/x/journal",
		"GET /v1/calls/x/participants/y", "DELETE /v1/calls/x/participants/y",
		"POST /v1/calls/x/participants/y/mute", "POST /v1/calls/x/participants/y/admit",
		"GET /v1/events", "GET /v1/recordings", "GET /v1/recordings/x", "GET /v1/recordings/x/files/y.webm",
		"POST /v1/recordings/x/playback", "GET /v1/audit", "GET /metrics",
	}
}

func TestTheAPIIsForAdministratorsOnly(t *testing.T) {
	t.Parallel()
	c := serve(t, nil)
	for _, endpoint := range append(adminPaths(), "GET /v1/turn") {
		method, path, _ := strings.Cut(endpoint, " ")
		for name, bad := range map[string]struct{ authorization, codes string }{
			"no credentials":       {"", "unauthorized"},
			"empty bearer":         {"Bearer ", "unauthorized TOKEN_BAD"},
			"another scheme":       {"Digest abc", "unauthorized TOKEN_BAD"},
			"a wrong secret":       {basic(keyID, strings.Repeat("x", 40)), "TOKEN_BAD"},
			"an empty secret":      {basic(keyID, ""), "TOKEN_BAD unauthorized"},
			"an unknown key":       {basic("nobody", keySecret), "TOKEN_BAD"},
			"a forged admin token": {bearer(sign(t, claims{"role": "admin", "room": "*", "iss": "nobody"})), "TOKEN_BAD"},
			"an expired token":     {bearer(sign(t, claims{"role": "admin", "room": "*", "exp": time.Now().Add(-time.Minute).Unix()})), "TOKEN_EXPIRED"},
			"an early token":       {bearer(sign(t, claims{"role": "admin", "room": "*", "nbf": time.Now().Add(time.Minute).Unix()})), "TOKEN_EARLY"},
		} {
			c.ask(method, path, bad.authorization, "{}").
				wantProblem(t, endpoint+" with "+name, http.StatusUnauthorized, strings.Fields(bad.codes)...)
		}
		if path == "/v1/turn" {
			continue
		}
		c.ask(method, path, bearer(joinToken(t, "room", "doctor", "doctor")), "{}").
			wantProblem(t, endpoint+" with a join token", http.StatusForbidden, "forbidden")
	}
	for _, authorization := range []string{apiKey(), bearer(sign(t, claims{"role": "admin", "room": "*", "sub": "root"}))} {
		if a := c.ask("GET", "/v1/calls", authorization, ""); a.status != http.StatusOK {
			t.Errorf("an administrator gets %d %s", a.status, a.body)
		}
	}
}

func TestWhatIsOpenIsOpen(t *testing.T) {
	t.Parallel()
	c := serve(t, nil)
	for path, contentType := range map[string]string{
		"/": "text/html", "/r/room": "text/html", "/healthz": "application/json", "/readyz": "application/json",
		"/openapi.json": "application/json",
	} {
		a := c.ask("GET", path, "", "")
		if a.status != http.StatusOK || !strings.HasPrefix(a.header.Get("Content-Type"), contentType) {
			t.Errorf("GET %s: %d %s", path, a.status, a.header.Get("Content-Type"))
		}
		if a := c.ask("HEAD", path, "", ""); a.status != http.StatusOK || a.body != "" {
			t.Errorf("HEAD %s: %d", path, a.status)
		}
	}
	for _, path := range []string{"/", "/r/room"} {
		if csp := c.ask("GET", path, "", "").header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src") {
			t.Errorf("GET %s: Content-Security-Policy %q", path, csp)
		}
	}
}

func TestEveryEndpointOfTheContractExists(t *testing.T) {
	t.Parallel()
	c := serve(t, nil)
	for _, endpoint := range adminPaths() {
		method, path, _ := strings.Cut(endpoint, " ")
		body := "{}"
		if strings.HasSuffix(path, "/mute") {
			body = `{"source":"mic"}`
		}
		a := c.ask(method, path, apiKey(), body)
		want := 200
		switch {
		case endpoint == "POST /v1/calls":
			want = 201
		case strings.Contains(path, "/x"):
			want = 404
		}
		if want == 404 {
			a.wantProblem(t, endpoint, want, "not_found")
		} else if a.status != want {
			t.Errorf("%s: %d %s", endpoint, a.status, a.body)
		}
		c.ask("PUT", path, apiKey(), "{}").wantProblem(t, "PUT "+path, 405, "method_not_allowed")
	}
}

func TestEndpointsThatAreNotBuiltSaySo(t *testing.T) {
	t.Parallel()
	c := serve(t, nil)
	var call struct{ ID string }
	c.ask("POST", "/v1/calls", apiKey(), "{}").decode(t, &call)
	for _, path := range []string{"/admin", "/selftest", "/recordings/" + call.ID} {
		a := c.ask("GET", path, apiKey(), "")
		if a.status != http.StatusOK || a.header.Get("Content-Type") == "application/problem+json" {
			a.wantProblem(t, path, http.StatusNotImplemented, "not_implemented")
		}
	}
	for _, path := range []string{"/v1/nothing", "/v1/", "/recordings/a/b", "/whip/", "/whep/room"} {
		c.ask("GET", path, apiKey(), "").wantProblem(t, path, http.StatusNotFound, "not_found")
	}
}

func TestBadRequestsHaveTheStatusOfTheTable(t *testing.T) {
	t.Parallel()
	c := serve(t, nil)
	big := `{"external_id":"` + strings.Repeat("x", 70<<10) + `"}`
	for name, r := range map[string]struct {
		endpoint, body string
		status         int
	}{
		"no JSON":                 {"POST /v1/calls", "room=1", 400},
		"nothing":                 {"POST /v1/calls", "", 400},
		"two values":              {"POST /v1/calls", "{}{}", 400},
		"not UTF-8":               {"POST /v1/calls", "{\"room\":\"\xff\"}", 422},
		"a list":                  {"POST /v1/calls", "[]", 422},
		"unknown field":           {"POST /v1/calls", `{"rooom":"a"}`, 422},
		"wrong type":              {"POST /v1/calls", `{"room":1}`, 422},
		"unusable room":           {"POST /v1/calls", `{"room":"a/b"}`, 422},
		"all rooms":               {"POST /v1/calls", `{"room":"*"}`, 422},
		"admin as participant":    {"POST /v1/calls", `{"participants":[{"identity":"a","role":"admin"}]}`, 422},
		"unknown role":            {"POST /v1/calls", `{"participants":[{"identity":"a","role":"king"}]}`, 422},
		"no role":                 {"POST /v1/calls", `{"participants":[{"identity":"a"}]}`, 422},
		"grant beyond the role":   {"POST /v1/calls", `{"participants":[{"identity":"a","role":"patient","grants":["end"]}]}`, 422},
		"identity twice":          {"POST /v1/calls", `{"participants":[{"identity":"a","role":"patient"},{"identity":"a","role":"doctor"}]}`, 422},
		"metadata that is nested": {"POST /v1/calls", `{"metadata":{"a":{"b":1}}}`, 422},
		"too large":               {"POST /v1/calls", big, 413},
		"limit of letters":        {"GET /v1/events?limit=x", "", 400},
		"limit below one":         {"GET /v1/events?limit=0", "", 400},
		"negative limit":          {"GET /v1/calls?limit=-1", "", 400},
		"unknown state":           {"GET /v1/calls?state=odd", "", 400},
		"unknown format":          {"GET /v1/calls/x/journal?format=xml", "", 400},
		"diag without a token":    {"POST /v1/diag", "{}", 401},
	} {
		method, path, _ := strings.Cut(r.endpoint, " ")
		authorization := apiKey()
		if path == "/v1/diag" {
			authorization = ""
		}
		c.ask(method, path, authorization, r.body).wantProblem(t, name, r.status)
	}
}

func TestAClientLogIsLimitedAndReachesTheJournal(t *testing.T) {
	t.Parallel()
	c := serve(t, nil)
	token := bearer(joinToken(t, "room", "anna", "patient"))
	entry := `{"time":1790000000000,"stage":"socket","text":"no socket","code":"SIGNAL_LOST"}`
	if a := c.ask("POST", "/v1/diag", token, `{"entries":[`+entry+`]}`); a.status != http.StatusOK || !strings.Contains(string(a.body), `{"incidents":{"SIGNAL_LOST":"`) {
		t.Fatalf("%d %s", a.status, a.body)
	}
	failed := c.waitEvent(5*time.Second, "participant.failed", "room", "anna")
	if failed.Code != "SIGNAL_LOST" {
		t.Errorf("got code %q", failed.Code)
	}
	c.ask("POST", "/v1/diag", token, `{"entries":[]}`).wantProblem(t, "no entries", 422)
	c.ask("POST", "/v1/diag", token, `{"entries":[{"code":"ODD"}]}`).wantProblem(t, "unknown code", 422)
	many := `{"entries":[` + strings.TrimSuffix(strings.Repeat(entry+",", 200), ",") + `]}`
	for i := range 10 {
		a := c.ask("POST", "/v1/diag", token, many)
		if a.status == http.StatusTooManyRequests {
			a.wantProblem(t, "a flood of logs", 429, "rate_limited")
			return
		}
		if a.status != http.StatusOK {
			t.Fatalf("request %d: %d %s", i, a.status, a.body)
		}
	}
	t.Error("2000 entries at once were taken")
}

func TestIdempotencyKeyMakesARequestOnce(t *testing.T) {
	t.Parallel()
	c := serve(t, nil)
	key := "Idempotency-Key: k-1"
	first := c.ask("POST", "/v1/calls", apiKey(), `{"external_id":"a"}`, key)
	again := c.ask("POST", "/v1/calls", apiKey(), `{"external_id":"a"}`, key)
	if first.status != 201 || again.status != 201 || first.body != again.body ||
		again.header.Get("Location") != first.header.Get("Location") {
		t.Errorf("got %d %s, then %d %s", first.status, first.body, again.status, again.body)
	}
	c.ask("POST", "/v1/calls", apiKey(), `{"external_id":"b"}`, key).
		wantProblem(t, "the key with another body", 422, "idempotency_reused")
	c.ask("POST", "/v1/calls", apiKey(), `{}`, "Idempotency-Key: "+strings.Repeat("k", 256)).
		wantProblem(t, "a long key", 400, "bad_request")
	var list struct{ Calls []struct{ ID string } }
	c.get("/v1/calls", &list)
	if len(list.Calls) != 1 {
		t.Errorf("%d calls, want 1", len(list.Calls))
	}
	// At the same time: one is made, the others get its answer or are told.
	statuses := make(chan int, 8)
	for range cap(statuses) {
		go func() {
			a, err := c.tryAsk("POST", "/v1/calls", apiKey(), `{"external_id":"c"}`, "Idempotency-Key: k-2")
			if err != nil {
				a.status = 0
			}
			statuses <- a.status
		}()
	}
	for range cap(statuses) {
		if status := <-statuses; status != 201 && status != 409 {
			t.Errorf("status %d", status)
		}
	}
	c.get("/v1/calls?external_id=c", &list)
	if len(list.Calls) != 1 {
		t.Errorf("%d calls, want 1", len(list.Calls))
	}
}

func TestARoomHasOneCall(t *testing.T) {
	t.Parallel()
	c := serve(t, options{"calls.max_calls": "3"})
	for _, body := range []string{`{"room":"plain"}`, `{"room":"named","external_id":"x"}`} {
		if a := c.ask("POST", "/v1/calls", apiKey(), body); a.status != http.StatusCreated {
			t.Fatalf("%d %s", a.status, a.body)
		}
		c.ask("POST", "/v1/calls", apiKey(), body).wantProblem(t, "the room of a call: "+body, 409, "conflict")
	}
	if a := c.ask("POST", "/v1/calls", apiKey(), "{}"); a.status != http.StatusCreated {
		t.Fatalf("%d %s", a.status, a.body)
	}
	c.ask("POST", "/v1/calls", apiKey(), "{}").wantProblem(t, "a call beyond the limit", 503, "SERVER_BUSY")
}

func TestEventsComeInPages(t *testing.T) {
	t.Parallel()
	c := serve(t, nil)
	for i := range 7 {
		c.ask("POST", "/v1/calls", apiKey(), fmt.Sprintf(`{"external_id":"%d"}`, i))
	}
	eventually(t, 5*time.Second, "all that seven calls have to say so far", func() bool {
		said := map[string]int{}
		for _, e := range c.events() {
			said[e.Type]++
		}
		return said["call.started"] == 7 && said["recording.armed"] == 7
	})
	all := c.events()
	seen := 0
	for after := ""; ; {
		var p page
		c.get("/v1/events?limit=3&after="+after, &p)
		if len(p.Events) == 0 {
			if p.Next != after {
				t.Errorf("next of an empty page is %q, want %q: nothing must be skipped", p.Next, after)
			}
			break
		}
		if len(p.Events) > 3 || p.Next != p.Events[len(p.Events)-1].ID {
			t.Errorf("%d events, next %q", len(p.Events), p.Next)
		}
		for _, e := range p.Events {
			if e.ID != all[seen].ID || e.ID <= after {
				t.Errorf("event %d is %s after %s, want %s", seen, e.ID, after, all[seen].ID)
			}
			checkTime(t, e)
			seen++
		}
		after = p.Next
	}
	if seen != len(all) {
		t.Errorf("%d events in pages, %d at once", seen, len(all))
	}
	var p page
	c.get("/v1/events?limit=100000", &p)
	if len(p.Events) != len(all) {
		t.Errorf("a limit above the greatest gives %d events, want %d", len(p.Events), len(all))
	}
}

// checkTime checks RFC 3339 in UTC with microseconds.
func checkTime(t *testing.T, e event) {
	t.Helper()
	const layout = "2006-01-02T15:04:05.000000Z"
	if at, err := time.Parse(layout, e.Time); err != nil || at.Format(layout) != e.Time {
		t.Errorf("time of %s is %q, want RFC 3339 with microseconds", e.Type, e.Time)
	}
}
