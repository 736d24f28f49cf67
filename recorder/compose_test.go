package recorder

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"consilium/internal/compose"
	"consilium/internal/media"
	"consilium/internal/testmedia"
)

// consult is a recording of three who come one after the other: their flashes
// and beeps fall on different tenths of a second.
func consult(t *testing.T) (dir string, m Manifest) {
	t.Helper()
	dir = t.TempDir()
	tracks := map[*media.Track][]sent{}
	for i, name := range []string{"anna", "boris", "vera"} {
		mic, cam := micTrack(name), camTrack(name)
		sound, pictures := newSource(t, testmedia.Beep).between(0, 5*second), newSource(t, testmedia.Flash).between(0, 5*second)
		for _, packets := range [][]sent{sound, pictures} {
			for n := range packets {
				packets[n].at += joined[i]
			}
		}
		tracks[&mic], tracks[&cam] = sound, pictures
	}
	return dir, record(t, dir, tracks)
}

// joined is when each of the three comes.
var joined = [...]time.Duration{0, 2300 * time.Millisecond, 3600 * time.Millisecond}

// composeJob puts the streams of a consult into cells, as a server does.
func composeJob(t *testing.T, dir string, m Manifest, format compose.Format) compose.Job {
	t.Helper()
	streams, err := Streams(m, opener(dir))
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range streams { // numbers are given in any order
		streams[i].Number = 1 + slices.Index([]string{"anna", "boris", "vera"}, m.Participants[s.Number-1].Identity)
	}
	return composeJobOf(t, dir, streams, format)
}

// composeJobOf gives every participant the cell of his number.
func composeJobOf(t *testing.T, dir string, streams []Stream, format compose.Format) compose.Job {
	t.Helper()
	output := filepath.Join(t.TempDir(), "composed."+string(format))
	if err := os.WriteFile(output, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	job := compose.Job{Format: format, Output: output}
	for _, s := range streams {
		in := compose.Input{Picture: s.Source != media.Microphone, Cell: s.Number - 1, Write: func(ctx context.Context, w io.Writer) error {
			return s.Write(ctx, w, opener(dir))
		}}
		for _, i := range s.Shown {
			to := time.Duration(i.ToMS) * time.Millisecond
			in.Shown = append(in.Shown, compose.Interval{From: time.Duration(i.FromMS) * time.Millisecond, To: to})
			job.Duration = max(job.Duration, to)
		}
		job.Cells = max(job.Cells, s.Number)
		job.Inputs = append(job.Inputs, in)
	}
	return job
}

// brightIn returns when, in seconds, a part of the picture turns bright.
func brightIn(t *testing.T, name string, r compose.Rectangle) (moments []float64) {
	t.Helper()
	out := run(t, "ffmpeg", "-v", "error", "-i", name, "-an", "-vf", fmt.Sprintf(
		"crop=%d:%d:%d:%d,scale=8:8,signalstats,metadata=print:key=lavfi.signalstats.YAVG:file=-", r.Width, r.Height, r.X, r.Y),
		"-fps_mode", "passthrough", "-f", "null", "-")
	at, bright := 0.0, false
	for line := range strings.Lines(out) {
		if _, rest, ok := strings.Cut(line, "pts_time:"); ok {
			at, _ = strconv.ParseFloat(strings.TrimSpace(rest), 64)
		}
		if _, rest, ok := strings.Cut(line, "YAVG="); ok {
			light, _ := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			if light > 128 && !bright {
				moments = append(moments, at)
			}
			bright = light > 128
		}
	}
	return moments
}

// loudIn returns when, in seconds, sound begins after a tenth of silence.
func loudIn(t *testing.T, name string) (moments []float64) {
	t.Helper()
	const rate = 8000
	pcm := run(t, "ffmpeg", "-v", "error", "-i", name, "-vn", "-ac", "1", "-ar", strconv.Itoa(rate), "-f", "s16le", "-")
	quiet := rate
	for i := 0; i+1 < len(pcm); i += 2 {
		if math.Abs(float64(int16(uint16(pcm[i])|uint16(pcm[i+1])<<8))) <= 1500 {
			quiet++
			continue
		}
		if quiet >= rate/10 {
			moments = append(moments, float64(i/2)/rate)
		}
		quiet = 0
	}
	return moments
}

func TestAComposedFileShowsEverybodyInACellAtTheRightTime(t *testing.T) {
	dir, m := consult(t)
	c, err := compose.New(compose.Config{Width: 640, Height: 360})
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]struct {
		format   compose.Format
		mic, cam float64 // drift; 20,000 ppm for 5 s are 200 ppm for 8 min
	}{
		"WebM": {compose.WebM, 0, 0}, "MP4": {compose.MP4, 0, 0},
		"WebM of clocks that drift apart": {compose.WebM, 20_000, -20_000},
	} {
		t.Run(name, func(t *testing.T) {
			drift(&m, v.mic, v.cam)
			job := composeJob(t, dir, m, v.format)
			near(t, "length of the call", job.Duration.Seconds(), 8.6, 0.15)
			last := -1.0
			err := c.Run(t.Context(), job, func(p float64) {
				if p < last || p > 1 {
					t.Errorf("progress went from %v to %v", last, p)
				}
				last = p
			})
			if err != nil {
				t.Fatal(err)
			}
			if last != 1 {
				t.Errorf("the last progress told was %v", last)
			}
			near(t, "duration", clean(t, job.Output, 2), job.Duration.Seconds(), 0.1)
			worst := 0.0
			for i, r := range c.Grid(3) {
				flashes := brightIn(t, job.Output, r)
				if len(flashes) != 5 {
					t.Errorf("cell %d flashes at %v", i, flashes)
					continue
				}
				for n, at := range flashes {
					worst = max(worst, math.Abs(at-joined[i].Seconds()-(0.5+float64(n))*(1+v.cam/1e6)))
				}
			}
			beeps := loudIn(t, job.Output)
			for i := range joined {
				for n := range 5 {
					want, nearest := joined[i].Seconds()+(0.5+float64(n))*(1+v.mic/1e6), math.Inf(1)
					for _, at := range beeps {
						nearest = min(nearest, math.Abs(at-want))
					}
					worst = max(worst, nearest)
				}
			}
			if t.Logf("flashes and beeps are at most %.0f ms off", worst*1000); worst > 0.050 { // a picture of 25/s lasts 40 ms
				t.Errorf("%.3f s off; beeps at %v", worst, beeps)
			}
		})
	}
}
