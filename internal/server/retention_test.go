package server

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"consilium/internal/audit"
	"consilium/recorder"
)

// putRecording puts the recording of a call that is over into a data directory.
func putRecording(t *testing.T, dir, id string) {
	t.Helper()
	call := filepath.Join(dir, "recordings", id)
	if err := os.MkdirAll(call, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"manifest.json": `{"version": 1, "call": "` + id + `", "room": "r", "state": "final", "started": "2026-01-02T03:04:05Z",
			"ended": "2026-01-02T03:14:05Z", "segments": [{"file": "p1-mic-1.webm", "state": "final", "sha256": "ab", "bytes": 3}]}`,
		"p1-mic-1.webm": "abc",
	} {
		if err := os.WriteFile(filepath.Join(call, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestARecordingIsHeldReleasedAndErased(t *testing.T) {
	s := start(t, nil)
	putRecording(t, s.cfg.Data, "rec1")
	var stone recorder.Tombstone
	var gone struct{ Code, Detail string }
	for _, step := range []struct {
		method, path, body string
		into               any
		want               int
	}{
		{"GET", "/v1/recordings/rec1", "", nil, http.StatusOK},
		{"POST", "/v1/recordings/rec1/hold", `{}`, nil, http.StatusUnprocessableEntity},
		{"POST", "/v1/recordings/nobody/hold", `{"reason": "case 7"}`, nil, http.StatusNotFound},
		{"POST", "/v1/recordings/rec1/hold", `{"reason": "case 7"}`, nil, http.StatusOK},
		{"DELETE", "/v1/recordings/rec1?reason=space", "", nil, http.StatusConflict},
		{"GET", "/v1/recordings/rec1", "", nil, http.StatusOK},
		{"DELETE", "/v1/recordings/rec1/hold", "", nil, http.StatusNoContent},
		{"DELETE", "/v1/recordings/rec1", "", nil, http.StatusUnprocessableEntity},
		{"DELETE", "/v1/recordings/rec1?reason=asked+for", "", &stone, http.StatusOK},
		{"GET", "/v1/recordings/rec1", "", &gone, http.StatusGone},
		{"GET", "/v1/recordings/rec1/files/p1-mic-1.webm", "", nil, http.StatusGone},
		{"POST", "/v1/recordings/rec1/playback", "", nil, http.StatusGone},
		{"POST", "/v1/recordings/rec1/verify", "", nil, http.StatusGone},
		{"DELETE", "/v1/recordings/rec1?reason=again", "", nil, http.StatusConflict},
		{"POST", "/v1/recordings/rec1/hold", `{"reason": "late"}`, nil, http.StatusConflict},
	} {
		if got := s.api(step.method, step.path, step.body, step.into); got != step.want {
			t.Errorf("%s %s: %d, not %d", step.method, step.path, got, step.want)
		}
	}
	if stone.By != "devkey" || stone.Reason != "asked for" || len(stone.Files) != 1 || stone.Files[0].SHA256 != "ab" || stone.Done == nil {
		t.Errorf("tombstone is %+v", stone)
	}
	if gone.Code != "erased" || !strings.HasSuffix(gone.Detail, "by devkey: asked for") {
		t.Errorf("who asks for it is told %+v", gone)
	}
	if _, err := os.Stat(filepath.Join(s.cfg.Data, "recordings", "rec1", "p1-mic-1.webm")); err == nil {
		t.Error("the file is left")
	}
	var log struct{ Entries []audit.Entry }
	s.api("GET", "/v1/audit?recording=rec1&limit=100", "", &log)
	var noted []string
	for _, e := range log.Entries {
		if e.Actor == "devkey" && slices.Contains([]audit.Action{audit.Held, audit.Released, audit.Erased}, e.Action) {
			noted = append(noted, string(e.Action)+" "+string(e.Outcome))
		}
	}
	want := []string{
		"recording.held done", "recording.erased done", "recording.erased failed", "recording.released done",
		"recording.erased done", "recording.erased done", "recording.erased failed", "recording.held done", "recording.held failed",
	}
	if !slices.Equal(noted, want) {
		t.Errorf("the audit log has %q, not %q", noted, want)
	}
}
