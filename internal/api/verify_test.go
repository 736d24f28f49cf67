package api

import (
	"net/http"
	"testing"

	"consilium/internal/audit"
)

func TestARecordingIsVerifiedForWhoMaySeeItAndThatIsNoted(t *testing.T) {
	s, log := newWatchedSite(t)
	a := s.send(t, "POST", "/v1/recordings/rec1/verify", "", "Authorization", s.doctor(t))
	if a.status != http.StatusOK || a.json["state"] != "intact" || a.json["files"] != 2.0 {
		t.Errorf("a recording that is right: %d %s", a.status, a.text)
	}
	if a := s.send(t, "POST", "/v1/recordings/rec2/verify", ""); a.status != http.StatusOK || a.json["state"] != "changed" {
		t.Errorf("a recording that was changed: %d %s", a.status, a.text)
	}
	for name, test := range map[string]struct {
		path, who string
		want      int
	}{
		"nobody":       {"/v1/recordings/rec1/verify", "", http.StatusUnauthorized},
		"a stranger":   {"/v1/recordings/rec1/verify", "Bearer " + s.token(t, "eve", "red", "doctor"), http.StatusForbidden},
		"no recording": {"/v1/recordings/rec9/verify", basic(), http.StatusNotFound},
		"no such name": {"/v1/recordings/.hidden/verify", basic(), http.StatusNotFound},
	} {
		if a := s.send(t, "POST", test.path, "", "Authorization", test.who); a.status != test.want {
			t.Errorf("%s: %d %s", name, a.status, a.text)
		}
	}
	var noted []audit.Entry
	for _, e := range log.entries(t) {
		if e.Action == audit.Verified {
			noted = append(noted, e)
		}
	}
	if len(noted) != 2 || noted[0].Actor != "doc" || noted[0].Outcome != audit.Done || noted[1].Outcome != audit.Failed || noted[1].Data["first"] == nil {
		t.Errorf("noted: %+v", noted)
	}
}

func TestOneRecordingIsVerifiedAtATime(t *testing.T) {
	slow := make(chan struct{})
	s := newSite(t, func(c *Config) { c.Recordings = fakeRecordings{slow: slow} })
	first := make(chan answer)
	go func() { first <- s.send(t, "POST", "/v1/recordings/slow/verify", "") }()
	<-slow
	if a := s.send(t, "POST", "/v1/recordings/rec1/verify", ""); a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
		t.Errorf("while one is verified: %d %s", a.status, a.text)
	}
	slow <- struct{}{}
	if a := <-first; a.status != http.StatusOK || a.json["state"] != "unfinished" {
		t.Errorf("the first: %d %s", a.status, a.text)
	}
	if a := s.send(t, "POST", "/v1/recordings/rec1/verify", ""); a.status != http.StatusOK {
		t.Errorf("after it: %d %s", a.status, a.text)
	}
}
