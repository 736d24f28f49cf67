// Package compose makes one picture and one sound of a whole call with ffmpeg,
// a program of its own that need not be there: calls and recordings never wait
// for it. ffmpeg gets its input through pipes, already in the clear and on one
// time axis, and can open nothing else.
//
// The package is a leaf: it imports nothing of ours.
package compose

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"time"
)

// Format of a composed file.
type Format string

// Formats.
const (
	WebM Format = "webm" // VP8 and Opus
	MP4  Format = "mp4"  // H.264 and AAC: plays on iPhones
)

// Input is one stream of a participant as WebM, on the time axis of the
// composed file.
type Input struct {
	// Picture tells pictures from sound.
	Picture bool
	// Cell is where pictures go, from 0, row by row.
	Cell int
	// Shown is when the cell shows the input; it is black otherwise.
	Shown []Interval
	// Write writes the stream. It is called once, on a goroutine of its own,
	// and must return when ctx ends or w fails.
	Write func(ctx context.Context, w io.Writer) error
}

// Interval of time.
type Interval struct{ From, To time.Duration }

// Job is a file to compose.
type Job struct {
	Inputs   []Input
	Cells    int           // 1 at least
	Duration time.Duration // of the file
	Format   Format
	// Output is the file to write: it must exist, so that its mode is right,
	// and is overwritten.
	Output string
}

// Config of a Composer.
type Config struct {
	// FFmpeg is the program; "" looks for ffmpeg in $PATH.
	FFmpeg string
	// Width and Height of the picture in pixels, even; 0 means 1280x720.
	Width, Height int
	// MaxBytes is how large a file may get; 0 means 8 GiB.
	MaxBytes int64
	Log      *slog.Logger // nil: discard
}

// Errors of Run. Their words are for whoever asked for the file.
var (
	// ErrNoProgram says that there is no ffmpeg.
	ErrNoProgram = errors.New("there is no ffmpeg on this server: install it, or name it in recording.ffmpeg")
	// ErrNoEncoder says that ffmpeg was built without what the format needs.
	ErrNoEncoder = errors.New("this server's ffmpeg can't write the format: it was built without the encoder")
	// ErrTooLarge says that the file reached its limit.
	ErrTooLarge = errors.New("the file would be larger than is allowed")
	// ErrNoSpace says that the disk of the output became full.
	ErrNoSpace = errors.New("the disk became full before the file was done")
	// ErrFailed says that ffmpeg gave up; the server's log has its words.
	ErrFailed = errors.New("ffmpeg failed; the server's log says more")
)

const (
	frameRate       = 25
	defaultWidth    = 1280
	defaultHeight   = 720
	defaultMaxBytes = 8 << 30
	maxInputs       = 200
)

// Composer runs ffmpeg. It is safe for concurrent use.
type Composer struct {
	config Config
	log    *slog.Logger
}

// New returns a Composer. It opens and starts nothing.
func New(c Config) (*Composer, error) {
	if c.Width == 0 && c.Height == 0 {
		c.Width, c.Height = defaultWidth, defaultHeight
	}
	if c.Width < 2 || c.Height < 2 || c.Width%2 != 0 || c.Height%2 != 0 {
		return nil, fmt.Errorf("compose: a picture of %dx%d: want even numbers", c.Width, c.Height)
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = defaultMaxBytes
	}
	if c.FFmpeg == "" {
		c.FFmpeg = "ffmpeg"
	}
	log := c.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Composer{config: c, log: log}, nil
}

// Program returns the path of ffmpeg, or ErrNoProgram.
func (c *Composer) Program() (string, error) {
	path, err := exec.LookPath(c.config.FFmpeg)
	if err != nil {
		return "", ErrNoProgram
	}
	return path, nil
}

// Run composes a file and reports progress from 0 to 1. When ctx ends, ffmpeg
// is killed. What Output holds after an error is of no use.
func (c *Composer) Run(ctx context.Context, job Job, progress func(float64)) error {
	if len(job.Inputs) == 0 || len(job.Inputs) > maxInputs || job.Cells < 1 || job.Duration <= 0 {
		return fmt.Errorf("compose: %d inputs in %d cells for %v can't be composed", len(job.Inputs), job.Cells, job.Duration)
	}
	program, err := c.Program()
	if err != nil {
		return err
	}
	args, err := c.arguments(job)
	if err != nil {
		return err
	}
	p := &process{program: program, args: args, inputs: job.Inputs, total: job.Duration, progress: progress}
	if err := p.run(ctx); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		c.log.Error("ffmpeg failed", "error", err, "words", p.words.String())
		return p.explain(err)
	}
	info, err := os.Stat(job.Output)
	if err != nil {
		return fmt.Errorf("compose: %w", err)
	}
	if info.Size() >= c.config.MaxBytes {
		return ErrTooLarge
	}
	if progress != nil {
		progress(1)
	}
	return nil
}
