package server

import (
	"encoding/json"
	"io"
	"math"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"consilium/internal/auth"
	"consilium/internal/event"
	"consilium/internal/media"
	"consilium/recorder"
)

// api asks the REST interface with the key of --dev.
func (i *instance) api(method, path, body string, out any) int {
	i.t.Helper()
	req, err := http.NewRequestWithContext(i.t.Context(), method, i.URL+path, strings.NewReader(body))
	if err != nil {
		i.t.Fatal(err)
	}
	req.SetBasicAuth("devkey", "devsecretdevsecretdevsecretdevsecret")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		i.t.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		i.t.Fatal(err)
	}
	if out != nil {
		if err := json.Unmarshal(data, out); err != nil {
			i.t.Fatalf("%s %s: %v in %s", method, path, err, data)
		}
	}
	return res.StatusCode
}

// events returns everything in the feed.
func (i *instance) events() []event.Event {
	var all []event.Event
	after := ""
	for {
		var page struct {
			Events []event.Event `json:"events"`
			Next   string        `json:"next"`
		}
		if code := i.api("GET", "/v1/events?limit=1000&after="+after, "", &page); code != 200 {
			i.t.Fatalf("GET /v1/events: %d", code)
		}
		all = append(all, page.Events...)
		if len(page.Events) == 0 {
			return all
		}
		after = page.Next
	}
}

// waitEvent waits for an event of a type that matches.
func (i *instance) waitEvent(d time.Duration, typ event.Type, match func(event.Event) bool) event.Event {
	i.t.Helper()
	ctx := within(i.t, d)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		for _, e := range i.events() {
			if e.Type == typ && (match == nil || match(e)) {
				return e
			}
		}
		select {
		case <-ctx.Done():
			i.t.Fatalf("no %s within %v; got %s", typ, d, summary(i.events()))
		case <-tick.C:
		}
	}
}

func summary(events []event.Event) string {
	var b strings.Builder
	for _, e := range events {
		b.WriteString("\n  " + e.Time.Format("05.000") + " " + string(e.Type) + " " + e.Participant + " " + string(e.Code))
	}
	return b.String()
}

// probe returns the duration of a file in seconds as ffprobe sees it.
func probe(t *testing.T, file string) float64 {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", file).CombinedOutput()
	if err != nil {
		t.Fatalf("ffprobe %s: %v: %s", file, err, out)
	}
	d, err := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
	if err != nil {
		t.Fatalf("ffprobe %s says %q", file, out)
	}
	return d
}

func TestEveryTrackOfACallIsRecordedWithItsLength(t *testing.T) {
	s := start(t, nil)
	doctor := s.join("room", "doctor", auth.RoleDoctor, nil)
	patient := s.join("room", "patient", auth.RolePatient, nil)
	ctx := within(t, 60*time.Second)
	for _, source := range []media.Source{media.Microphone, media.Camera} {
		if err := doctor.WaitFrames(ctx, "patient", source, 60); err != nil {
			t.Fatal(err)
		}
	}
	if err := patient.Leave(ctx); err != nil {
		t.Error(err)
	}
	if err := doctor.Leave(ctx); err != nil {
		t.Error(err)
	}
	ready := s.waitEvent(30*time.Second, event.RecordingReady, nil)
	m, err := recorder.Show(s.cfg.Data, ready.Call)
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Segments) != 4 {
		t.Fatalf("%d segments, want 4: %+v", len(m.Segments), m.Segments)
	}
	journal := trackDurations(t, s, ready.Call)
	for _, seg := range m.Segments {
		got := probe(t, filepath.Join(s.cfg.Data, "recordings", ready.Call, seg.File))
		want := journal[seg.Track]
		t.Logf("%s %s %s: file %.3f s, journal %.3f s, manifest %d ms", seg.Participant, seg.Source, seg.State, got, want, seg.DurationMS)
		if math.Abs(got-want) > 0.2 {
			t.Errorf("%s %s: file lasts %.3f s, the journal says %.3f s", seg.Participant, seg.Source, got, want)
		}
	}
	var list []map[string]any
	var answer struct {
		Recordings []map[string]any `json:"recordings"`
	}
	if code := s.api("GET", "/v1/recordings", "", &answer); code != 200 || len(answer.Recordings) != 1 {
		t.Errorf("GET /v1/recordings: %d, %v", code, list)
	}
}

// trackDurations reads from a call's journal how long each track sent, in
// seconds.
func trackDurations(t *testing.T, s *instance, call string) map[string]float64 {
	t.Helper()
	var journal struct {
		Events []event.Event `json:"events"`
	}
	if code := s.api("GET", "/v1/calls/"+call+"/journal", "", &journal); code != 200 {
		t.Fatalf("journal: %d", code)
	}
	durations := map[string]float64{}
	for _, e := range journal.Events {
		if ms, ok := e.Data["duration_ms"].(float64); ok && e.Type == event.NoteTrack {
			durations[e.Track] = ms / 1000
		}
	}
	return durations
}
