package api

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"
	"testing"

	"consilium/internal/audit"
	"consilium/internal/export"
)

// fakeExports knows the recording rec1 and one job of it.
type fakeExports struct {
	refuse error
	asked  []export.Request
}

var errSecret = errors.New("no such thing in /secret/path")

func (f *fakeExports) Start(_ context.Context, recording string, r export.Request) (export.Job, error) {
	f.asked = append(f.asked, r)
	if recording != "rec1" {
		return export.Job{}, fmt.Errorf("%w: %w", fs.ErrNotExist, errSecret)
	}
	return export.Job{ID: "job1", Request: r, State: export.Queued, Files: []export.File{}}, f.refuse
}

func (f *fakeExports) Jobs(recording string) ([]export.Job, error) {
	if recording != "rec1" {
		return nil, fmt.Errorf("%w: %w", fs.ErrNotExist, errSecret)
	}
	return nil, nil
}

func (f *fakeExports) Job(_, id string) (export.Job, error) {
	if id != "job1" {
		return export.Job{}, export.ErrNotFound
	}
	return export.Job{ID: id, State: export.Running, Progress: 0.5}, nil
}

func (f *fakeExports) Delete(recording, id string) error {
	_, err := f.Job(recording, id)
	return err
}

func TestExportsAreForWhoMaySeeTheRecordingAndAreNoted(t *testing.T) {
	f := &fakeExports{}
	s, log := newWatchedSite(t, func(c *Config) { c.Exports = f })
	doctor := s.doctor(t)
	const exports = "/v1/recordings/rec1/exports"
	a := s.send(t, "POST", exports, `{"kind":"merged","participant":"anna"}`, "Authorization", doctor)
	if a.status != http.StatusAccepted || a.json["id"] != "job1" || a.header.Get("Location") != exports+"/job1" {
		t.Errorf("start: %d %s", a.status, a.text)
	}
	if want := (export.Request{Kind: export.Merged, Format: "webm", Participant: "anna", Source: "cam"}); len(f.asked) != 1 || f.asked[0] != want {
		t.Errorf("asked for %+v", f.asked)
	}
	if a := s.send(t, "GET", exports, "", "Authorization", doctor); a.status != 200 || !strings.Contains(string(a.text), `"exports":[]`) {
		t.Errorf("list: %d %s", a.status, a.text)
	}
	if a := s.send(t, "GET", exports+"/job1", "", "Authorization", doctor); a.status != 200 || a.json["progress"] != 0.5 {
		t.Errorf("show: %d %s", a.status, a.text)
	}
	if a := s.send(t, "DELETE", exports+"/job1", "", "Authorization", doctor); a.status != http.StatusNoContent {
		t.Errorf("delete: %d %s", a.status, a.text)
	}
	for _, who := range []string{"anna", "eve"} {
		token := "Bearer " + s.token(t, who, "red", "patient")
		for _, endpoint := range []string{"POST ", "GET ", "GET /job1", "DELETE /job1"} {
			method, path, _ := strings.Cut(endpoint, " ")
			if a := s.send(t, method, exports+path, `{"kind":"merged"}`, "Authorization", token); a.status != http.StatusForbidden {
				t.Errorf("%s%s by %s: %d", method, path, who, a.status)
			}
		}
	}
	noted := 0
	for _, e := range log.entries(t) {
		if e.Action == audit.Exported && e.Actor == "doc" && e.Recording == "rec1" && e.Data["participant"] == "anna" {
			noted++
		}
	}
	if noted != 1 {
		t.Errorf("the log has %d exports", noted)
	}
}

func TestAPatientWhoMayLookRemovesNoExport(t *testing.T) {
	s, _ := newWatchedSite(t, func(c *Config) { c.Exports, c.PatientPlayback = &fakeExports{}, true })
	token := "Bearer " + s.token(t, "anna", "red", "patient")
	for method, want := range map[string]int{"GET": http.StatusOK, "DELETE": http.StatusForbidden} {
		if a := s.send(t, method, "/v1/recordings/rec1/exports/job1", "", "Authorization", token); a.status != want {
			t.Errorf("%s: %d %s, want %d", method, a.status, a.text, want)
		}
	}
}

func TestAnExportThatCanNotBeHasAStatusAndWords(t *testing.T) {
	for name, c := range map[string]struct {
		refuse error
		body   string
		status int
	}{
		"queue full":      {export.ErrFull, `{"kind":"merged"}`, 503},
		"stopping":        {export.ErrStopped, `{"kind":"merged"}`, 503},
		"disk low":        {export.ErrDiskLow, `{"kind":"merged"}`, 503},
		"still recorded":  {export.ErrNotFinal, `{"kind":"merged"}`, 409},
		"sealed":          {export.ErrSealed, `{"kind":"merged"}`, 409},
		"no ffmpeg":       {&export.Refusal{Words: "there is no ffmpeg", Err: export.ErrNoProgram}, `{"kind":"composed"}`, 501},
		"nothing there":   {&export.Refusal{Words: "nothing", Err: export.ErrUnusable}, `{"kind":"merged"}`, 422},
		"unforeseen":      {errSecret, `{"kind":"merged"}`, 500},
		"no kind":         {nil, `{}`, 422},
		"unknown field":   {nil, `{"kind":"merged","names":true}`, 422},
		"not JSON":        {nil, `kind=merged`, 400},
		"a number":        {nil, `{"kind":7}`, 422},
		"merged into mp4": {nil, `{"kind":"merged","format":"mp4"}`, 422},
	} {
		t.Run(name, func(t *testing.T) {
			s, log := newWatchedSite(t, func(cfg *Config) { cfg.Exports = &fakeExports{refuse: c.refuse} })
			a := s.send(t, "POST", "/v1/recordings/rec1/exports", c.body)
			if a.status != c.status || a.json["detail"] == "" || strings.Contains(string(a.text), "secret") {
				t.Errorf("%d %s, want %d", a.status, a.text, c.status)
			}
			if c.status == 503 && a.header.Get("Retry-After") == "" {
				t.Error("it does not say when to try again")
			}
			if c.refuse == nil {
				return
			}
			if entries := log.entries(t); len(entries) != 2 || entries[1].Outcome != audit.Failed {
				t.Errorf("the log has %+v", entries)
			}
		})
	}
	s, log := newWatchedSite(t, func(cfg *Config) { cfg.Exports = &fakeExports{} })
	for _, path := range []string{"/v1/recordings/guess/exports", "/v1/recordings/rec1/exports/none"} {
		if a := s.send(t, "GET", path, ""); a.status != 404 || strings.Contains(string(a.text), "secret") {
			t.Errorf("%s: %d %s", path, a.status, a.text)
		}
	}
	log.broken.Store(true)
	if a := s.send(t, "POST", "/v1/recordings/rec1/exports", `{"kind":"merged"}`); a.status != 503 {
		t.Errorf("an export that can't be noted: %d %s", a.status, a.text)
	}
	if a := newSite(t).send(t, "GET", "/v1/recordings/rec1/exports", ""); a.status != 404 {
		t.Errorf("a server that exports nothing: %d", a.status)
	}
}
