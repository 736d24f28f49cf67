package compose

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// program writes a shell script that stands for ffmpeg and returns its path.
func program(t *testing.T, script string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "ffmpeg")
	if err := os.WriteFile(name, []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return name
}

// clip makes a WebM file of a second of noise and a test picture.
func clip(t *testing.T, args ...string) []byte {
	t.Helper()
	cmd := exec.Command("ffmpeg", append([]string{"-v", "error", "-f", "lavfi"}, append(args, "-f", "webm", "-")...)...)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("this test needs ffmpeg (Debian package ffmpeg): %v", err)
	}
	return out
}

// plays is a Write that gives data, again and again if asked.
func plays(data []byte) func(context.Context, io.Writer) error {
	return func(_ context.Context, w io.Writer) error {
		_, err := w.Write(data)
		return err
	}
}

func newJob(t *testing.T, inputs ...Input) Job {
	t.Helper()
	output := filepath.Join(t.TempDir(), "out.webm")
	if err := os.WriteFile(output, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return Job{Inputs: inputs, Cells: 1, Duration: time.Second, Format: WebM, Output: output}
}

func compose(t *testing.T, c Config) *Composer {
	t.Helper()
	c.Width, c.Height = 64, 64
	composer, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return composer
}

func TestAMissingProgramIsSaidInWords(t *testing.T) {
	err := compose(t, Config{FFmpeg: "no-such-program"}).Run(t.Context(), newJob(t, Input{Write: plays(nil)}), nil)
	if !errors.Is(err, ErrNoProgram) {
		t.Errorf("run: %v", err)
	}
}

func TestWhatCanNotBeComposedIsRefused(t *testing.T) {
	ok := newJob(t, Input{Write: plays(nil)})
	for name, change := range map[string]func(*Job){
		"no inputs":      func(j *Job) { j.Inputs = nil },
		"no cells":       func(j *Job) { j.Cells = 0 },
		"no time":        func(j *Job) { j.Duration = 0 },
		"unknown format": func(j *Job) { j.Format = "avi" },
		"too many":       func(j *Job) { j.Inputs = slices.Repeat(j.Inputs, maxInputs+1) },
	} {
		t.Run(name, func(t *testing.T) {
			j := ok
			change(&j)
			if err := compose(t, Config{FFmpeg: "/bin/true"}).Run(t.Context(), j, nil); err == nil {
				t.Error("no error")
			}
		})
	}
	if _, err := New(Config{Width: 63, Height: 64}); err == nil {
		t.Error("an odd picture is taken")
	}
}

func TestAFailureHasWordsOfOurs(t *testing.T) {
	for name, c := range map[string]struct {
		script string
		want   error
	}{
		"gave up":    {"echo 'secret /path' >&2; exit 1", ErrFailed},
		"no encoder": {`echo "Unknown encoder 'libx264'" >&2; exit 1`, ErrNoEncoder},
		"disk full":  {`echo "av_interleaved_write_frame(): No space left on device" >&2; exit 1`, ErrNoSpace},
		"crashed":    {"kill -SEGV $$", ErrFailed},
	} {
		t.Run(name, func(t *testing.T) {
			composer := compose(t, Config{FFmpeg: program(t, c.script)})
			err := composer.Run(t.Context(), newJob(t, Input{Write: plays([]byte("x"))}), nil)
			if !errors.Is(err, c.want) {
				t.Errorf("run: %v", err)
			}
		})
	}
}

func TestGarbageIsNotComposed(t *testing.T) {
	for name, data := range map[string][]byte{
		"nothing":  {},
		"noise":    []byte(strings.Repeat("\x1a\x45\xdf\xa3\xff", 4000)),
		"playlist": []byte("#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"),
	} {
		t.Run(name, func(t *testing.T) {
			err := compose(t, Config{}).Run(t.Context(), newJob(t, Input{Write: plays(data)}), nil)
			if !errors.Is(err, ErrFailed) {
				t.Errorf("run: %v", err)
			}
		})
	}
}

var errDisk = errors.New("disk")

func TestAnInputThatFailsFailsTheJob(t *testing.T) {
	sound := clip(t, "-i", "sine=d=1", "-c:a", "libopus")
	fails := func(_ context.Context, w io.Writer) error {
		_, err := w.Write(sound[:len(sound)/2])
		return errors.Join(err, errDisk)
	}
	err := compose(t, Config{}).Run(t.Context(), newJob(t, Input{Write: fails}), nil)
	if !errors.Is(err, errDisk) {
		t.Errorf("half an input was taken for a whole one: %v", err)
	}
}

func TestAFileHasItsLimit(t *testing.T) {
	job := newJob(t, Input{Write: plays(clip(t, "-i", "anoisesrc=d=5", "-c:a", "libopus"))})
	job.Duration = 5 * time.Second
	if err := compose(t, Config{MaxBytes: 4 << 10}).Run(t.Context(), job, nil); !errors.Is(err, ErrTooLarge) {
		t.Errorf("run: %v", err)
	}
}

// Everything that was started is killed, what it started, too, and Run returns
// when all of it is gone.
func TestCancelKillsTheWholeGroup(t *testing.T) {
	pids := filepath.Join(t.TempDir(), "pids")
	if err := syscall.Mkfifo(pids, 0o600); err != nil {
		t.Fatal(err)
	}
	composer := compose(t, Config{FFmpeg: program(t, "sleep 1000 & (echo $$ $! >"+pids+"); cat /dev/fd/3 >/dev/null; wait")})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	blocked := func(ctx context.Context, w io.Writer) error {
		for {
			if _, err := w.Write(make([]byte, 4096)); err != nil {
				return err
			}
		}
	}
	job := newJob(t, Input{Write: blocked}) // before the process: t.TempDir is this goroutine's
	ended := make(chan error, 1)
	go func() { ended <- composer.Run(ctx, job, nil) }()
	text, err := os.ReadFile(pids) // waits for the writer
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("run: %v", err)
	}
	for field := range strings.FieldsSeq(string(text)) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		wantDead(t, pid)
	}
}

// wantDead waits for the end of a process that was sent a signal: it dies when
// the kernel gets to it, which may be after its parent was reaped.
func wantDead(t *testing.T, pid int) {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	ended := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := 0, error(unix.EINTR)
	for errors.Is(err, unix.EINTR) {
		n, err = unix.Poll(ended, 10_000)
	}
	if err != nil || n == 0 {
		t.Errorf("process %d lives (%v)", pid, err)
	}
}

func TestKillingTheProgramAmidItsWorkFailsTheJob(t *testing.T) {
	pid := filepath.Join(t.TempDir(), "pid")
	if err := syscall.Mkfifo(pid, 0o600); err != nil {
		t.Fatal(err)
	}
	composer := compose(t, Config{FFmpeg: program(t, "echo $$ >"+pid+`; exec ffmpeg "$@"`)})
	sound := clip(t, "-i", "sine=d=2", "-c:a", "libopus")
	killed := make(chan struct{})
	job := newJob(t, Input{Write: func(_ context.Context, w io.Writer) error {
		if _, err := w.Write(sound[:len(sound)/2]); err != nil {
			return err
		}
		<-killed
		_, err := w.Write(sound[len(sound)/2:])
		return err
	}})
	ended := make(chan error, 1)
	go func() { ended <- composer.Run(t.Context(), job, nil) }()
	text, err := os.ReadFile(pid)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(n, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	close(killed)
	if err := <-ended; !errors.Is(err, ErrFailed) {
		t.Errorf("run: %v", err)
	}
}

func TestCallsComeFirst(t *testing.T) {
	out := filepath.Join(t.TempDir(), "nice")
	composer := compose(t, Config{FFmpeg: program(t, "cut -d' ' -f19 /proc/self/stat >"+out+"; env >>"+out+"; cat /dev/fd/3 >/dev/null")})
	t.Setenv("SECRET_OF_THE_SERVER", "1")
	if err := composer.Run(t.Context(), newJob(t, Input{Write: plays([]byte("x"))}), nil); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(text), "19\n") {
		t.Errorf("it runs at nice %q", text)
	}
	if strings.Contains(string(text), "SECRET_OF_THE_SERVER") {
		t.Error("it has the server's environment")
	}
	if nice, err := syscall.Getpriority(syscall.PRIO_PROCESS, 0); err != nil || nice == 1 { // 20-19
		t.Errorf("our own priority is %d now, %v", nice, err)
	}
}

func TestProgressIsReadFromReports(t *testing.T) {
	var got []float64
	r := &reportReader{total: 10 * time.Second, report: func(p float64) { got = append(got, p) }}
	for _, part := range []string{
		"frame=1\nout_time_us=N/A\nout_time_us=-20000\nout_ti", "me_us=2500000\r\nprogress=continue\n",
		strings.Repeat("x", 5000) + "\nout_time_us=11000000\nprogress=end\n",
	} {
		if n, err := r.Write([]byte(part)); n != len(part) || err != nil {
			t.Errorf("write: %d, %v", n, err)
		}
	}
	if !slices.Equal(got, []float64{0.25, 1}) {
		t.Errorf("progress was %v", got)
	}
}

func TestCellsFillThePicture(t *testing.T) {
	for n, want := range map[int][]Rectangle{
		1: {{0, 0, 1280, 720}},
		2: {{0, 0, 640, 720}, {640, 0, 640, 720}},
		3: {{0, 0, 640, 360}, {640, 0, 640, 360}, {0, 360, 640, 360}},
		5: {{0, 0, 426, 360}, {426, 0, 426, 360}, {852, 0, 426, 360}, {0, 360, 426, 360}, {426, 360, 426, 360}},
	} {
		if got := grid(n, 1280, 720); !slices.Equal(got, want) {
			t.Errorf("%d cells are %v", n, got)
		}
	}
	if got := shown([]Interval{{time.Second, 2 * time.Second}, {3 * time.Second, 4500 * time.Millisecond}}); got !=
		"between(t,1.000,2.000)+between(t,3.000,4.500)" {
		t.Errorf("shown is %s", got)
	}
}

// A phone that is turned, and a codec that adapts, change the size in
// mid-stream.
func TestASizeThatChangesKeepsItsCell(t *testing.T) {
	first := clip(t, "-i", "color=c=white:s=64x32:d=1:r=10", "-c:v", "libvpx", "-g", "1")
	second := clip(t, "-i", "color=c=white:s=32x64:d=1:r=10", "-c:v", "libvpx", "-g", "1", "-output_ts_offset", "1")
	i := strings.Index(string(second), "\x1f\x43\xb6\x75") // its first cluster
	if i < 0 {
		t.Fatal("no cluster")
	}
	in := Input{Picture: true, Shown: []Interval{{0, 2 * time.Second}}, Write: func(_ context.Context, w io.Writer) error {
		_, err := w.Write(append(slices.Clone(first), second[i:]...))
		return err
	}}
	job := newJob(t, in)
	job.Duration = 2 * time.Second
	if err := compose(t, Config{}).Run(t.Context(), job, nil); err != nil {
		t.Fatal(err)
	}
	for at, want := range map[string][2]bool{ // is white: left edge, top edge
		"0.5": {true, false}, "1.5": {false, true},
	} {
		out, err := exec.Command("ffmpeg", "-v", "error", "-ss", at, "-i", job.Output, "-frames:v", "1",
			"-pix_fmt", "gray", "-f", "rawvideo", "-").Output()
		if err != nil || len(out) != 64*64 {
			t.Fatalf("%d bytes, %v", len(out), err)
		}
		if got := [2]bool{out[32*64+4] > 128, out[4*64+32] > 128}; got != want {
			t.Errorf("at %s s the left and the top are white: %v, want %v", at, got, want)
		}
	}
}
