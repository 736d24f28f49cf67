package compose

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// arguments returns ffmpeg's command line. Input i is pipe:3+i.
func (c *Composer) arguments(job Job) ([]string, error) {
	args := []string{"-hide_banner", "-nostdin", "-loglevel", "error", "-nostats", "-progress", "pipe:1", "-y",
		"-copyts", "-filter_complex_threads", "1"}
	for i, in := range job.Inputs {
		// The format is named: nothing in a file can make another program of
		// ffmpeg's read it, such as a playlist that opens other files.
		args = append(args, "-protocol_whitelist", "pipe", "-f", "matroska", "-threads", "1")
		if in.Picture {
			args = append(args, "-reinit_filter", "0") // a new size must not begin the graph anew
		}
		args = append(args, "-i", "pipe:"+strconv.Itoa(firstPipe+i))
	}
	args = append(args, "-filter_complex", c.graph(job), "-map", "[v]", "-map", "[a]",
		"-map_metadata", "-1", "-fflags", "+bitexact", "-flags:v", "+bitexact", "-flags:a", "+bitexact", "-threads", "1",
		"-g", strconv.Itoa(5*frameRate), "-fs", strconv.FormatInt(c.config.MaxBytes, 10))
	switch job.Format {
	case WebM:
		args = append(args, "-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "5", "-b:v", "1500k",
			"-c:a", "libopus", "-b:a", "64k", "-f", "webm")
	case MP4:
		// The index goes to the front, so that a player can begin at once.
		args = append(args, "-c:v", "libx264", "-preset", "veryfast", "-crf", "26", "-profile:v", "main",
			"-c:a", "aac", "-b:a", "96k", "-movflags", "+faststart", "-f", "mp4")
	default:
		return nil, fmt.Errorf("compose: format %q is not known", job.Format)
	}
	return append(args, "file:"+job.Output), nil
}

// graph is the filter graph. Pictures are laid over a black ground, each in
// its cell while it is shown; all sounds are mixed.
func (c *Composer) graph(job Job) string {
	total := seconds(job.Duration)
	cells := grid(job.Cells, c.config.Width, c.config.Height)
	var b strings.Builder
	fmt.Fprintf(&b, "color=c=black:s=%dx%d:r=%d:d=%s,format=yuv420p[g0];", c.config.Width, c.config.Height, frameRate, total)
	ground, sounds := 0, 0
	var mixed strings.Builder
	for i, in := range job.Inputs {
		if !in.Picture {
			// Sound is stamped with session time: resampling makes up for the
			// drift of the sender's clock. It must resample from the beginning
			// (+res): ffmpeg 5.1 makes seconds of silence when it begins later.
			fmt.Fprintf(&b, "[%d:a]aresample=48000:flags=+res:async=1000:first_pts=0,aformat=channel_layouts=stereo[s%d];", i, sounds)
			fmt.Fprintf(&mixed, "[s%d]", sounds)
			sounds++
			continue
		}
		r := cells[min(max(in.Cell, 0), len(cells)-1)]
		fmt.Fprintf(&b, "[%d:v]scale=%d:%d:force_original_aspect_ratio=decrease:force_divisible_by=2:eval=frame,"+
			"pad=%d:%d:(ow-iw)/2:(oh-ih)/2:eval=frame,setsar=1[p%d];", i, r.Width, r.Height, r.Width, r.Height, i)
		fmt.Fprintf(&b, "[g%d][p%d]overlay=x=%d:y=%d:eof_action=pass:enable='%s'[g%d];",
			ground, i, r.X, r.Y, shown(in.Shown), ground+1)
		ground++
	}
	fmt.Fprintf(&b, "[g%d]trim=end=%s,format=yuv420p[v];", ground, total)
	if sounds == 0 {
		fmt.Fprintf(&b, "anullsrc=r=48000:cl=stereo,atrim=end=%s[a]", total)
		return b.String()
	}
	fmt.Fprintf(&b, "%samix=inputs=%d:normalize=0:duration=longest,alimiter=level=disabled,apad,atrim=end=%s[a]",
		mixed.String(), sounds, total)
	return b.String()
}

// shown is the expression that is true while an input is shown.
func shown(intervals []Interval) string {
	terms := make([]string, 0, len(intervals))
	for _, i := range intervals {
		terms = append(terms, "between(t,"+seconds(i.From)+","+seconds(i.To)+")")
	}
	if len(terms) == 0 {
		return "0"
	}
	return strings.Join(terms, "+")
}

func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 3, 64) }

// Rectangle is a place in the picture, in pixels.
type Rectangle struct{ X, Y, Width, Height int }

// Grid returns the places of n cells, row by row; none for 0.
func (c *Composer) Grid(n int) []Rectangle { return grid(n, c.config.Width, c.config.Height) }

// grid divides a picture into n cells of even sizes.
func grid(n, width, height int) []Rectangle {
	if n == 0 {
		return nil
	}
	columns := int(math.Ceil(math.Sqrt(float64(n))))
	rows := (n + columns - 1) / columns
	w, h := width/columns&^1, height/rows&^1
	cells := make([]Rectangle, n)
	for i := range cells {
		cells[i] = Rectangle{X: i % columns * w, Y: i / columns * h, Width: w, Height: h}
	}
	return cells
}
