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
			files, err := filepath.Glob(filepath.Join(l.cfg.Data, "recordings", ready.Call, "*"+ending))
			l.must(err)
			pictures := 0
			for _, file := range files {
				out, err := exec.CommandContext(t.Context(), "ffprobe", "-v", "error", "-select_streams", "v",
					"-show_entries", "stream=codec_name", "-of", "csv=p=0", file).CombinedOutput()
				if err != nil {
					t.Errorf("ffprobe %s: %v: %s", file, err, out)
				}
				if strings.TrimSpace(string(out)) == codec {
					pictures++
				}
			}
			if pictures != 2 {
				t.Errorf("%d files of %s in %v, want 2", pictures, codec, files)
			}
		})
	}
}
