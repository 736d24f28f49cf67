package e2e

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"consilium/internal/audit"
	"consilium/internal/auth"
	"consilium/internal/bot"
	"consilium/internal/browser"
	"consilium/internal/config"
	"consilium/internal/event"
	"consilium/internal/media"
	"consilium/recorder"
)

const kib = 1 << 10

// The disk of the server fills up under a call: people are told step by step
// what is not recorded any more, talk on, and everything is recorded again when
// there is space. What was recorded until then is whole.
func TestADiskThatFillsUpInMidCall(t *testing.T) {
	t.Parallel()
	disk := mountDisk(t, "256M")
	l, hook := startHooked(t, func(c *config.Config) {
		c.Data = disk.dir
		c.Recording.LowSpace, c.Recording.MinFree = config.Space{Bytes: 64 << 20}, config.Space{Bytes: 32 << 20}
		c.Recording.Critical, c.Recording.Ballast = config.Space{Bytes: 16 << 20}, config.Space{Bytes: 4 << 20}
	})
	patient := l.bot("room", "patient", auth.RolePatient, nil)
	page := l.enter(browser.Start(t, browser.Options{}), "room", "doctor", auth.RoleDoctor)
	page.sees("patient")
	page.hears()
	call := l.waitEvent(event.CallStarted, "", patience).Call
	alarm := func(code event.Code, extent string) string {
		return `(() => { const a = document.querySelector('[data-testid=recording-alarm]');
			return a && !a.hidden && a.dataset.code === '` + string(code) + `' && a.dataset.extent === '` + extent + `'; })()`
	}
	level := func(level string) {
		t.Helper()
		hook.wait(t, "recording.space "+level, func(e event.Event) bool {
			return e.Type == event.RecordingSpace && e.Data["level"] == level
		})
	}
	var hidden bool
	if page.Eval(`document.querySelector('[data-testid=recording-alarm]').hidden`, &hidden); !hidden {
		t.Error("there is an alarm before anything has happened")
	}

	disk.fill(12 << 20)
	level("critical")
	page.WaitFor("the banner: only sound is recorded", alarm(event.DiskFull, "part"))
	page.Screenshot(screenshots(t, "disk-nearly-full"))

	disk.fill(512 * kib)
	level("full")
	page.WaitFor("the banner: nothing is recorded", alarm(event.DiskFull, "all"))
	page.Screenshot(screenshots(t, "disk-full"))
	failed := hook.wait(t, "recording.failed", func(e event.Event) bool {
		return e.Type == event.RecordingFailed && e.Code == event.DiskFull && e.Call == call
	})
	if shown := page.Text("recording-incident"); shown != failed.Incident() {
		t.Errorf("the page says the number %q, the webhook %q", shown, failed.Incident())
	}
	var audited struct{ Entries []audit.Entry }
	l.get("/v1/audit?limit=1000&recording="+call, &audited)
	if !slices.ContainsFunc(audited.Entries, func(e audit.Entry) bool { return e.Action == audit.Action(event.RecordingFailed) }) {
		t.Errorf("the audit log knows nothing of it: %+v", audited.Entries)
	}
	if _, err := os.Stat(filepath.Join(disk.dir, "ballast")); err == nil {
		t.Error("the ballast was kept")
	}
	page.sees("patient")
	page.hears()
	before := len(patient.Snapshot().Received)
	if before == 0 {
		t.Error("the patient gets nothing")
	}
	refusedForSpace(t, l, call)

	l.must(os.Remove(disk.filler()))
	level("ok")
	page.WaitFor("the end of the alarm", `document.querySelector('[data-testid=recording-alarm]').hidden`)
	page.sees("patient")
	page.leave()
	l.must(patient.Leave(l.context(patience)))
	l.waitEvent(event.RecordingReady, "", patience)
	checkTornRecording(t, l, call)
}

// refusedForSpace tries a call that can't begin on a full disk: the refusal
// says why, and nothing half-made is left.
func refusedForSpace(t *testing.T, l *lab, running string) {
	t.Helper()
	other := l.bot("other", "nurse", auth.RoleDoctor, nil)
	select {
	case <-other.Done():
	case <-time.After(patience):
		t.Fatal("a call began on a full disk")
	}
	if refused, ok := errors.AsType[*bot.Error](other.Err()); !ok || refused.Code != string(event.DiskFull) {
		t.Errorf("the refusal was %v", other.Err())
	}
	dirs, err := os.ReadDir(filepath.Join(l.cfg.Data, "recordings"))
	l.must(err)
	for _, d := range dirs {
		if d.IsDir() && d.Name() != running {
			t.Errorf("%s is left of a call that did not begin", d.Name())
		}
	}
}

// checkTornRecording says what is wrong with the files of a call that was cut
// by a full disk and went on.
func checkTornRecording(t *testing.T, l *lab, call string) {
	t.Helper()
	m, err := recorder.Show(l.cfg.Data, call)
	l.must(err)
	cut := map[media.Source]int{}
	for _, s := range m.Segments {
		if s.State != recorder.Final {
			t.Errorf("%s is %s", s.File, s.State)
			continue
		}
		// A browser's pictures come at any millisecond: frames are counted in those.
		out, err := exec.CommandContext(t.Context(), "ffmpeg", "-v", "error", "-i",
			filepath.Join(l.cfg.Data, "recordings", call, s.File),
			"-fps_mode", "passthrough", "-enc_time_base", "1/1000", "-f", "null", "-").CombinedOutput()
		if err != nil || len(out) > 0 {
			t.Errorf("%s does not decode: %v %s", s.File, err, out)
		}
		if s.Error == event.DiskFull {
			cut[s.Source]++
		}
		t.Logf("%s: from %.1f s, %.1f s, %s", s.File, s.T0MS/1000, float64(s.DurationMS)/1000, s.Error)
	}
	if cut[media.Camera] != 2 || cut[media.Microphone] != 2 || len(m.Segments) != 8 {
		t.Errorf("%d files, cut were %v", len(m.Segments), cut)
	}
}
