// Package testmedia replays short recordings of real VP8 and Opus as RTP, in
// real time: what a synthetic participant sends. It is used by tests, by the
// benchmarks and by the load generator.
//
// The package is a leaf: it imports nothing of ours but the embedded clips.
package testmedia

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/pion/webrtc/v4/pkg/media/ivfreader"
	"github.com/pion/webrtc/v4/pkg/media/oggreader"

	clips "consilium/testdata/media"
)

// MIME types and clock rates of the clips.
const (
	MimeVP8   = "video/VP8"
	MimeOpus  = "audio/opus"
	ClockVP8  = 90_000
	ClockOpus = 48_000
)

// opusFrame is how long a packet of the clips lasts.
const opusFrame = 20 * time.Millisecond

// Clip is a recording held in memory. It is immutable: any number of players
// may share one.
type Clip struct {
	MimeType  string
	ClockRate uint32 // Hz
	Channels  uint16 // as in the SDP; 0 for video
	Width     int    // of video, pixels
	Height    int
	// Duration is after which the clip repeats; all clips have the same.
	Duration time.Duration
	Frames   []Frame
}

// Frame is one encoded frame of video or one packet of audio.
type Frame struct {
	At       time.Duration // since the clip's begin
	Data     []byte        // must not be changed
	Keyframe bool          // always true for audio
}

// Camera returns the small camera picture: 320x180 at 15 fps, a keyframe every
// 3 s.
func Camera() (*Clip, error) { return loadIVF("camera-320x180.ivf") }

// LargeCamera returns a camera picture of 640x360.
func LargeCamera() (*Clip, error) { return loadIVF("camera-640x360.ivf") }

// Flash returns a black picture that turns white for 100 ms from half past
// every second on: in step with Beep.
func Flash() (*Clip, error) { return loadIVF("flash-320x180.ivf") }

// Beep returns sound with a beep of 100 ms from half past every second on.
// A decoder gives it out 6.5 ms later: that is Opus' own look-ahead.
func Beep() (*Clip, error) { return loadOgg("beep.ogg") }

// ReadIVF reads a clip of VP8 from an IVF file.
func ReadIVF(r io.Reader) (*Clip, error) {
	clip, err := readIVF(r)
	if err != nil {
		return nil, fmt.Errorf("read clip: %w", err)
	}
	return clip, nil
}

func loadIVF(name string) (*Clip, error) {
	file, err := clips.Files.Open(name)
	if err != nil {
		return nil, fmt.Errorf("open clip: %w", err)
	}
	defer file.Close()
	clip, err := readIVF(file)
	if err != nil {
		return nil, fmt.Errorf("read clip %s: %w", name, err)
	}
	return clip, nil
}

func readIVF(r io.Reader) (*Clip, error) {
	ivf, header, err := ivfreader.NewWith(r)
	if err != nil {
		return nil, fmt.Errorf("read IVF header: %w", err)
	}
	if header.FourCC != "VP80" {
		return nil, fmt.Errorf("codec is %q, want VP80", header.FourCC)
	}
	clip := &Clip{MimeType: MimeVP8, ClockRate: ClockVP8, Width: int(header.Width), Height: int(header.Height)}
	// due multiplies first: a thirtieth of a second is no whole number of nanoseconds.
	due := func(frame int) time.Duration {
		ticks := time.Duration(frame) * time.Duration(header.TimebaseNumerator)
		return ticks * time.Second / time.Duration(header.TimebaseDenominator)
	}
	for {
		data, _, err := ivf.ParseNextFrame()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read IVF frame %d: %w", len(clip.Frames), err)
		}
		if len(data) == 0 {
			return nil, fmt.Errorf("IVF frame %d is empty", len(clip.Frames))
		}
		clip.Frames = append(clip.Frames, Frame{
			At:       due(len(clip.Frames)),
			Data:     data,
			Keyframe: data[0]&1 == 0, // RFC 6386, section 9.1: bit 0 is the inverse key frame flag
		})
	}
	if len(clip.Frames) == 0 || !clip.Frames[0].Keyframe {
		return nil, errors.New("clip does not begin with a keyframe")
	}
	clip.Duration = due(len(clip.Frames))
	return clip, nil
}

func loadOgg(name string) (*Clip, error) {
	file, err := clips.Files.Open(name)
	if err != nil {
		return nil, fmt.Errorf("open clip: %w", err)
	}
	defer file.Close()
	clip, err := readOgg(file)
	if err != nil {
		return nil, fmt.Errorf("read clip %s: %w", name, err)
	}
	return clip, nil
}

func readOgg(r io.Reader) (*Clip, error) {
	ogg, _, err := oggreader.NewWith(r)
	if err != nil {
		return nil, fmt.Errorf("read Ogg header: %w", err)
	}
	// Two channels whatever the encoder made: RFC 7587, section 7.
	clip := &Clip{MimeType: MimeOpus, ClockRate: ClockOpus, Channels: 2}
	for {
		data, page, err := ogg.ParseNextPage()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read Ogg page %d: %w", len(clip.Frames), err)
		}
		if page.GranulePosition == 0 { // the comment header (RFC 7845, section 5.2)
			continue
		}
		at := time.Duration(len(clip.Frames)) * opusFrame
		clip.Frames = append(clip.Frames, Frame{At: at, Data: data, Keyframe: true})
	}
	// The encoder adds a packet to make up for its look-ahead; whole seconds
	// keep sound in step with pictures when both repeat.
	whole := (time.Duration(len(clip.Frames)) * opusFrame).Truncate(time.Second)
	if whole == 0 {
		return nil, errors.New("clip is shorter than a second")
	}
	clip.Frames = clip.Frames[:whole/opusFrame]
	clip.Duration = whole
	return clip, nil
}
