package server

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"consilium/internal/auth"
	"consilium/internal/bot"
	"consilium/internal/compose"
	"consilium/internal/config"
	"consilium/internal/event"
	"consilium/internal/export"
	"consilium/internal/media"
	"consilium/internal/testmedia"
)

// flashing is a participant whose picture flashes when his sound beeps.
func flashing(t *testing.T) func(*bot.Config) {
	t.Helper()
	flash, err := testmedia.Flash()
	if err != nil {
		t.Fatal(err)
	}
	beep, err := testmedia.Beep()
	if err != nil {
		t.Fatal(err)
	}
	return func(c *bot.Config) {
		c.Clips = map[media.Source]*testmedia.Clip{media.Camera: flash, media.Microphone: beep}
		c.KeepStep = true
	}
}

// recorded makes a call of two with flashes and beeps and returns its id.
func recorded(t *testing.T, s *instance) string {
	t.Helper()
	doctor := s.join("room", "doctor", auth.RoleDoctor, flashing(t))
	patient := s.join("room", "patient", auth.RolePatient, flashing(t))
	ctx := within(t, 60*time.Second)
	for _, source := range []media.Source{media.Microphone, media.Camera} {
		if err := doctor.WaitFrames(ctx, "patient", source, 90); err != nil {
			t.Fatal(err)
		}
	}
	for _, b := range []*bot.Bot{patient, doctor} {
		if err := b.Leave(ctx); err != nil {
			t.Error(err)
		}
	}
	return s.waitEvent(30*time.Second, event.RecordingReady, nil).Call
}

// export asks for a file and waits until it is there, or is not to be had.
func (i *instance) export(call, request string) export.Job {
	i.t.Helper()
	var job export.Job
	if code := i.api("POST", "/v1/recordings/"+call+"/exports", request, &job); code != http.StatusAccepted {
		i.t.Fatalf("export %s: %d", request, code)
	}
	ctx := within(i.t, 120*time.Second)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !job.State.Ended() {
		select {
		case <-ctx.Done():
			i.t.Fatalf("export %s: %+v", request, job)
		case <-tick.C:
		}
		if code := i.api("GET", "/v1/recordings/"+call+"/exports/"+job.ID, "", &job); code != http.StatusOK {
			i.t.Fatalf("job: %d", code)
		}
	}
	return job
}

// download gets a file of a recording and keeps it.
func (i *instance) download(call, name string) (file, contentType string) {
	i.t.Helper()
	req, err := http.NewRequestWithContext(i.t.Context(), "GET", i.URL+"/v1/recordings/"+call+"/files/"+name, nil)
	if err != nil {
		i.t.Fatal(err)
	}
	req.SetBasicAuth("devkey", "devsecretdevsecretdevsecretdevsecret")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		i.t.Fatal(err)
	}
	defer res.Body.Close()
	var body bytes.Buffer
	if _, err := body.ReadFrom(res.Body); err != nil || res.StatusCode != http.StatusOK {
		i.t.Fatalf("GET %s: %d, %v: %s", name, res.StatusCode, err, body.String()[:min(body.Len(), 300)])
	}
	file = filepath.Join(i.t.TempDir(), name)
	if err := os.WriteFile(file, body.Bytes(), 0o600); err != nil {
		i.t.Fatal(err)
	}
	return file, res.Header.Get("Content-Type")
}

// lipSync decodes a file and returns the largest time, in seconds, between a
// flash and the beep next to it.
func lipSync(t *testing.T, file string) float64 {
	t.Helper()
	decode := func(args ...string) string {
		out, err := exec.CommandContext(t.Context(), "ffmpeg", append([]string{"-v", "error", "-i", file}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("ffmpeg: %v: %s", err, out)
		}
		return string(out)
	}
	var flashes, beeps []float64
	at, bright := 0.0, true // a flash that began before the file is none
	for line := range strings.Lines(decode("-an", "-vf",
		"scale=8:8,signalstats,metadata=print:key=lavfi.signalstats.YAVG:file=-", "-fps_mode", "passthrough", "-f", "null", "-")) {
		if _, rest, ok := strings.Cut(line, "pts_time:"); ok {
			at, _ = strconv.ParseFloat(strings.TrimSpace(rest), 64)
		}
		if _, rest, ok := strings.Cut(line, "YAVG="); ok {
			light, _ := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			if light > 128 && !bright {
				flashes = append(flashes, at)
			}
			bright = light > 128
		}
	}
	const rate = 8000
	quiet := 0
	for i, pcm := 0, decode("-vn", "-ac", "1", "-ar", strconv.Itoa(rate), "-f", "s16le", "-"); i+1 < len(pcm); i += 2 {
		if math.Abs(float64(int16(uint16(pcm[i])|uint16(pcm[i+1])<<8))) <= 1500 {
			quiet++
			continue
		}
		if quiet > rate/2 {
			beeps = append(beeps, float64(i/2)/rate)
		}
		quiet = 0
	}
	worst, pairs := 0.0, 0
	for _, f := range flashes {
		for _, b := range beeps {
			if d := math.Abs(f - b); d < 0.45 {
				worst, pairs = max(worst, d), pairs+1
			}
		}
	}
	if pairs < 2 {
		t.Fatalf("flashes at %v, beeps at %v", flashes, beeps)
	}
	return worst
}

func TestARecordedCallIsExportedWithLipsInSync(t *testing.T) {
	s := start(t, nil)
	call := recorded(t, s)
	job := s.export(call, `{"kind":"merged","participant":"patient"}`)
	if job.State != export.Done || len(job.Files) != 1 {
		t.Fatalf("merged: %+v", job)
	}
	file, contentType := s.download(call, job.Files[0].Name)
	if contentType != "video/webm" {
		t.Errorf("%s is %s", job.Files[0].Name, contentType)
	}
	worst := lipSync(t, file)
	if t.Logf("merged: a beep is at most %.0f ms from its flash", worst*1000); worst > 0.040 {
		t.Errorf("merged: %.3f s out of sync", worst)
	}
	for format, want := range map[string]string{"webm": "video/webm", "mp4": "video/mp4"} {
		job := s.export(call, fmt.Sprintf(`{"kind":"composed","format":%q}`, format))
		if job.State != export.Done || len(job.Files) != 1 || len(job.Files[0].Cells) != 2 {
			t.Fatalf("composed: %+v", job)
		}
		file, contentType := s.download(call, job.Files[0].Name)
		if contentType != want {
			t.Errorf("%s is %s", job.Files[0].Name, contentType)
		}
		if got := probe(t, file); math.Abs(got*1000-float64(job.Files[0].DurationMS)) > 100 {
			t.Errorf("%s lasts %.3f s, not %d ms", format, got, job.Files[0].DurationMS)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(s.cfg.Data, workDir, "*")); len(left) > 0 {
		t.Errorf("left of composing: %v", left)
	}
	if code := s.api("DELETE", "/v1/recordings/"+call+"/exports/"+job.ID, "", nil); code != http.StatusNoContent {
		t.Errorf("delete: %d", code)
	}
	if code := s.api("GET", "/v1/recordings/"+call+"/files/"+job.Files[0].Name, "", nil); code != http.StatusNotFound {
		t.Errorf("the file of a deleted export: %d", code)
	}
}

func TestWhatAKilledServerLeftOfComposingIsRemoved(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"compose-123.tmp", "somebody-elses.tmp"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("half a picture"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	m := exportMaker{work: dir}
	if err := m.clean(); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 || left[0].Name() != "somebody-elses.tmp" {
		t.Errorf("left are %v, %v", left, err)
	}
}

func TestAFullDiskIsTheReasonOfAFailedExport(t *testing.T) {
	for name, err := range map[string]error{
		"of the work directory": compose.ErrNoSpace,
		"of the recording":      &os.PathError{Op: "write", Path: "/secret/p1-cam-merged-1.webm", Err: syscall.ENOSPC},
	} {
		refused := (&exportMaker{}).refused(fmt.Errorf("place export: %w", err))
		if words, ok := errors.AsType[*export.Refusal](refused); !ok || !errors.Is(refused, export.ErrDiskLow) || strings.Contains(words.Words, "secret") {
			t.Errorf("%s: %v", name, refused)
		}
	}
}

func TestAnExportThatCanNotBeMadeIsRefusedInWords(t *testing.T) {
	s := start(t, func(c *config.Config) { c.Recording.FFmpeg = "no-such-program" })
	doctor := s.join("room", "doctor", auth.RoleDoctor, nil)
	ctx := within(t, 30*time.Second)
	armed := s.waitEvent(10*time.Second, event.RecordingStarted, nil)
	refused := func(call, request string, status int) {
		t.Helper()
		var p struct{ Detail string }
		if code := s.api("POST", "/v1/recordings/"+call+"/exports", request, &p); code != status || p.Detail == "" {
			t.Errorf("%s: %d %q, want %d", request, code, p.Detail, status)
		}
	}
	refused(armed.Call, `{"kind":"merged"}`, http.StatusConflict) // it still runs
	if err := doctor.Leave(ctx); err != nil {
		t.Error(err)
	}
	call := s.waitEvent(30*time.Second, event.RecordingReady, nil).Call
	refused(call, `{"kind":"composed"}`, http.StatusNotImplemented)
	refused(call, `{"kind":"merged","participant":"nobody"}`, http.StatusUnprocessableEntity)
	refused(call, `{"kind":"merged","format":"mp4"}`, http.StatusUnprocessableEntity)
	refused(call, `{"kind":"edited"}`, http.StatusUnprocessableEntity)
	refused("nothing", `{"kind":"merged"}`, http.StatusNotFound)
	if code := s.api("GET", "/v1/recordings/"+call+"/exports/none", "", nil); code != http.StatusNotFound {
		t.Errorf("a job that is not there: %d", code)
	}
	job := s.export(call, `{"kind":"merged"}`)
	if job.State != export.Done || len(job.Files) != 1 {
		t.Errorf("everybody merged: %+v", job)
	}
	if err := os.Remove(filepath.Join(s.cfg.Data, "recordings", call, "p1-mic-1.webm")); err != nil {
		t.Fatal(err)
	}
	refused(call, `{"kind":"merged"}`, http.StatusUnprocessableEntity) // a file is gone
}
