package e2e

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"consilium/internal/auth"
	"consilium/internal/browser"
	"consilium/internal/config"
	"consilium/internal/event"
)

func TestOtherCodecsAreForwardedAndRecorded(t *testing.T) {
	t.Parallel()
	b := browser.Start(t, browser.Options{})
	for codec, ending := range map[string]string{"vp9": ".webm", "av1": ".webm", "h264": ".mkv"} {
		t.Run(codec, func(t *testing.T) {
			l := start(t, func(c *config.Config) { c.Media.Codecs.Video = []string{codec} })
			doctor := l.enter(b, "room", "doctor", auth.RoleDoctor)
			patient := l.enter(b, "room", "patient", auth.RolePatient)
			doctor.sees("patient")
			patient.sees("doctor")
			patient.leave()
			doctor.leave()
			ready := l.waitEvent(event.RecordingReady, "", patience)
			for _, camera := range []string{"p1-cam-", "p2-cam-"} {
				// An encoder that a busy machine makes change its parameters
				// begins another file.
				files, err := filepath.Glob(filepath.Join(l.cfg.Data, "recordings", ready.Call, camera+"*"))
				l.must(err)
				if len(files) == 0 {
					t.Errorf("no file of %s", camera)
				}
				for _, file := range files {
					out, err := exec.CommandContext(t.Context(), "ffprobe", "-v", "error", "-select_streams", "v",
						"-show_entries", "stream=codec_name", "-of", "csv=p=0", file).CombinedOutput()
					if got := strings.TrimSpace(string(out)); err != nil || got != codec || filepath.Ext(file) != ending {
						t.Errorf("%s holds %q, want %s in %s: %v", file, got, codec, ending, err)
					}
				}
			}
		})
	}
}
