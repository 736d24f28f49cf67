package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"consilium/internal/auth"
	"consilium/internal/bot"
	"consilium/internal/config"
	"consilium/internal/event"
	"consilium/internal/media"
	"consilium/internal/testmedia"
	"consilium/recorder"
)

// finished is the manifest of the call that has just ended.
func (l *lab) finished() recorder.Manifest {
	l.t.Helper()
	call := l.waitEvent(event.RecordingReady, "", patience).Call
	m, err := recorder.Show(l.cfg.Data, call)
	l.must(err)
	return m
}

// filesOf lists somebody's files, in the order of their numbers.
func filesOf(m recorder.Manifest, identity string) (files []string) {
	for _, s := range m.Segments {
		if s.Participant == identity {
			files = append(files, s.File)
		}
	}
	slices.Sort(files)
	return files
}

func TestAReconnectStaysInItsFileAndARejoinBeginsTheNext(t *testing.T) {
	t.Parallel()
	l := start(t, nil)
	doctor := l.bot("room", "doctor", auth.RoleDoctor, nil)
	patient := l.bot("room", "patient", auth.RolePatient, nil)
	ctx := l.context(patience)
	l.must(doctor.WaitFrames(ctx, "patient", media.Camera, 20))
	l.must(patient.RestartICE(ctx))
	s := doctor.Snapshot()
	l.must(doctor.WaitFrames(ctx, "patient", media.Camera, s.From("patient", media.Camera).Frames+30))
	patient.Vanish()
	again := l.bot("room", "patient", auth.RolePatient, nil)
	l.must(again.WaitFrames(ctx, "doctor", media.Camera, 30))
	l.must(again.Leave(ctx))
	l.must(doctor.Leave(ctx))

	m := l.finished()
	i := slices.IndexFunc(m.Participants, func(p recorder.Participant) bool { return p.Identity == "patient" })
	var want []string
	for _, name := range []string{"cam-1", "cam-2", "mic-1", "mic-2"} {
		want = append(want, fmt.Sprintf("p%d-%s.webm", m.Participants[max(i, 0)].Number, name))
	}
	if got := filesOf(m, "patient"); !slices.Equal(got, want) {
		t.Errorf("files of the patient are %v, want %v", got, want)
	}
	if got := filesOf(m, "doctor"); len(got) != 2 {
		t.Errorf("files of the doctor are %v, want sound and picture", got)
	}
	if len(m.Participants) != 2 {
		t.Errorf("participants are %+v, want the patient once", m.Participants)
	}
	l.wholeFiles(m)
}

// wholeFiles checks that every file of a manifest is there, is final and holds
// frames.
func (l *lab) wholeFiles(m recorder.Manifest) {
	l.t.Helper()
	for _, s := range m.Segments {
		info, err := os.Stat(filepath.Join(l.cfg.Data, "recordings", m.Call, s.File))
		if err != nil || info.Size() == 0 || s.Frames == 0 || s.State != recorder.Final {
			l.t.Errorf("%s of %s is %s with %d frames: %v", s.File, s.Participant, s.State, s.Frames, err)
		}
	}
}

// Fifty people come and go in a call that one person holds. Some leave as soon
// as they are connected, some never send: of those there is a line in the
// manifest, and no file.
func TestFiftyShortVisitsLeaveNoEmptyFile(t *testing.T) {
	t.Parallel()
	const visits, atOnce = 50, 4
	l := start(t, func(c *config.Config) { c.Calls.LingerClean = 100 * time.Millisecond })
	host := l.bot("room", "host", auth.RoleDoctor, nil)
	ctx := l.context(3 * patience)
	l.must(host.WaitConnected(ctx))
	began := time.Now()
	next := make(chan int)
	var wg sync.WaitGroup
	for range atOnce {
		wg.Go(func() {
			for n := range next {
				if err := l.shortVisit(ctx, n); err != nil {
					t.Errorf("visit %d: %v", n, err)
				}
			}
		})
	}
	for n := range visits {
		next <- n
	}
	close(next)
	wg.Wait()
	t.Logf("%d visits in %v", visits, time.Since(began).Round(time.Millisecond))
	l.must(host.Leave(ctx))

	m := l.finished()
	l.wholeFiles(m)
	filed := map[string]bool{}
	for _, s := range m.Segments {
		filed[s.Track] = true
	}
	empty := 0
	for _, track := range m.Tracks {
		if track.Frames == 0 {
			empty++
		}
		if filed[track.Track] != (track.Frames > 0) {
			t.Errorf("%s of %s has %d frames and a file: %v", track.Source, track.Participant, track.Frames, filed[track.Track])
		}
	}
	t.Logf("%d tracks, %d without a frame, %d files", len(m.Tracks), empty, len(m.Segments))
	if len(m.Participants) != visits+1 || empty == 0 || len(m.Segments) < 4 {
		t.Errorf("%d participants, %d tracks without a frame, %d files", len(m.Participants), empty, len(m.Segments))
	}
}

// shortVisit joins and leaves: without having sent, at once, or after less than
// a second of media.
func (l *lab) shortVisit(ctx context.Context, n int) error {
	identity := fmt.Sprintf("visitor-%02d", n)
	b, err := bot.New(bot.Config{
		URL: l.url, Token: l.token("room", identity, auth.RoleCompanion),
		Silent: n%3 == 0, Persons: -1, Screens: -1,
	})
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	if err := b.WaitConnected(ctx); err != nil {
		return err
	}
	if n%3 == 2 {
		timer := time.NewTimer(800 * time.Millisecond)
		defer timer.Stop()
		<-timer.C
	}
	if err := b.Leave(ctx); err != nil {
		return err
	}
	return <-ended
}

// A telephone that is turned sends a picture of another shape, with its pixels
// turned, because the header extension that would say so instead is not
// negotiated (TestAnswersHaveNoOrientationNorRedundancy).
func TestATelephoneThatIsTurnedStaysOneFile(t *testing.T) {
	t.Parallel()
	wide, err := testmedia.Camera()
	if err != nil {
		t.Fatal(err)
	}
	turned := *wide
	turned.Frames = slices.Clone(wide.Frames)
	for i, f := range tallClip(t, wide.Duration).Frames {
		if i < len(turned.Frames) && i >= len(turned.Frames)/3 { // a third of the clip: a keyframe
			turned.Frames[i].Data, turned.Frames[i].Keyframe = f.Data, f.Keyframe
		}
	}
	l := start(t, nil)
	doctor := l.bot("room", "doctor", auth.RoleDoctor, nil)
	patient := l.bot("room", "patient", auth.RolePatient, func(c *bot.Config) {
		c.Clips = map[media.Source]*testmedia.Clip{media.Camera: &turned}
		c.KeepStep = true
	})
	ctx := l.context(patience)
	l.must(doctor.WaitFrames(ctx, "patient", media.Camera, 80))
	l.must(patient.Leave(ctx))
	l.must(doctor.Leave(ctx))
	m := l.finished()
	for _, s := range m.Segments {
		if s.Participant != "patient" || s.Source != media.Camera {
			continue
		}
		if len(s.Sizes) == 0 || s.Width != 320 || s.Height != 180 || s.Sizes[0].Width != 180 || s.Sizes[0].Height != 320 {
			t.Errorf("%s is %dx%d and then %+v, want 320x180 and then 180x320", s.File, s.Width, s.Height, s.Sizes)
		}
		l.wantDecoded(filepath.Join(l.cfg.Data, "recordings", m.Call, s.File), s.Frames)
	}
	if got := filesOf(m, "patient"); len(got) != 2 {
		t.Errorf("files of the patient are %v, want sound and picture", got)
	}
}

// tallClip is a picture that is higher than wide, with a keyframe every 3 s.
func tallClip(t *testing.T, d time.Duration) *testmedia.Clip {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "ffmpeg", "-v", "error", "-f", "lavfi", "-i",
		fmt.Sprintf("testsrc=size=180x320:rate=15:duration=%d", int(d.Seconds())),
		"-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-auto-alt-ref", "0", "-lag-in-frames", "0",
		"-g", "45", "-keyint_min", "45", "-b:v", "200k", "-f", "ivf", "-")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("ffmpeg: %v", err)
	}
	clip, err := testmedia.ReadIVF(bytes.NewReader(out))
	if err != nil {
		t.Fatal(err)
	}
	return clip
}

// wantDecoded decodes a file with ffmpeg, which must not complain and must give
// out every frame.
func (l *lab) wantDecoded(file string, frames int64) {
	l.t.Helper()
	out, err := exec.CommandContext(l.t.Context(), "ffprobe", "-v", "error", "-count_frames",
		"-show_entries", "stream=nb_read_frames", "-of", "csv=p=0", file).CombinedOutput()
	if err != nil || string(bytes.TrimSpace(out)) != fmt.Sprint(frames) {
		l.t.Errorf("%s: decoded %q frames of %d: %v", filepath.Base(file), bytes.TrimSpace(out), frames, err)
	}
}
