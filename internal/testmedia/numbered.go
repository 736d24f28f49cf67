package testmedia

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os/exec"
	"time"
)

// Numbered media say which picture and which sound they are, so that a test
// finds out from the decoded file what is missing in it.
const (
	// NumberedFPS is how many pictures a second NumberedPictures has.
	NumberedFPS = 15
	// NumberedBeep is how long a beep of NumberedBeeps lasts; there is no pause
	// between two.
	NumberedBeep = 100 * time.Millisecond

	numberedWidth, numberedHeight = 320, 180
	// A number is a row of squares, white for 1: number, then check digits.
	numberBits, checkBits = 12, 4
	square                = numberedWidth / (numberBits + checkBits)
	squareTop, squareEnd  = 40, 140 // rows of pixels

	// A beep is two tones: its number's lower part and its higher part.
	lowTones, highTones    = 32, 40
	lowest, highest, apart = 500.0, 2100.0, 40.0 // Hz: of tone 0 of either part, and between two
	numberedRate           = 48_000
)

// MaxNumberedPictures and MaxNumberedBeeps bound the numbers there are.
const (
	MaxNumberedPictures = 1 << numberBits
	MaxNumberedBeeps    = lowTones * highTones
)

// NumberedPictures makes VP8 in which every picture shows its number, counted
// from 0, with a keyframe every second. It needs ffmpeg.
func NumberedPictures(ctx context.Context, d time.Duration) (*Clip, error) {
	count := int(d.Seconds() * NumberedFPS)
	if count < 1 || count > MaxNumberedPictures {
		return nil, fmt.Errorf("make numbered pictures: %d of them, at most %d can be numbered", count, MaxNumberedPictures)
	}
	var raw bytes.Buffer
	for n := range count {
		raw.Write(drawNumber(n))
	}
	encoded, err := encode(ctx, &raw, "-f", "rawvideo", "-pix_fmt", "gray",
		"-s", fmt.Sprintf("%dx%d", numberedWidth, numberedHeight), "-r", fmt.Sprint(NumberedFPS), "-i", "-",
		"-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-auto-alt-ref", "0", "-lag-in-frames", "0",
		"-pix_fmt", "yuv420p", "-g", fmt.Sprint(NumberedFPS), "-b:v", "250k", "-f", "ivf", "-")
	if err != nil {
		return nil, err
	}
	return readIVF(bytes.NewReader(encoded))
}

// NumberedBeeps makes Opus in which every tenth of a second sounds as its
// number, counted from 0. It needs ffmpeg.
func NumberedBeeps(ctx context.Context, d time.Duration) (*Clip, error) {
	count := int(d / NumberedBeep)
	if count < 1 || count > MaxNumberedBeeps {
		return nil, fmt.Errorf("make numbered beeps: %d of them, at most %d can be numbered", count, MaxNumberedBeeps)
	}
	encoded, err := encode(ctx, bytes.NewReader(drawBeeps(count)), "-f", "s16le", "-ar", fmt.Sprint(numberedRate), "-ac", "1", "-i", "-",
		"-c:a", "libopus", "-b:a", "48k", "-vbr", "off", "-frame_duration", "20", "-page_duration", "20000", "-application", "audio", "-f", "ogg", "-")
	if err != nil {
		return nil, err
	}
	return readOgg(bytes.NewReader(encoded))
}

// encode runs ffmpeg from its standard input to its standard output.
func encode(ctx context.Context, in io.Reader, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "ffmpeg", append([]string{"-hide_banner", "-loglevel", "error"}, args...)...)
	var out, complaint bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, &out, &complaint
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("run ffmpeg (Debian package ffmpeg): %w: %s", err, complaint.Bytes())
	}
	return out.Bytes(), nil
}

// bitsOf returns the squares of a number, the check digits last: the sum of
// its hexadecimal digits, so that a black or blurred picture has no number.
func bitsOf(n int) int {
	check := (n&15 + n>>4&15 + n>>8&15 + 5) & 15
	return n<<checkBits | check
}

func drawNumber(n int) []byte {
	picture := bytes.Repeat([]byte{64}, numberedWidth*numberedHeight)
	bits := bitsOf(n)
	for y := squareTop; y < squareEnd; y++ {
		for x := range numberedWidth {
			shade := byte(16)
			if bits>>(numberBits+checkBits-1-x/square)&1 == 1 {
				shade = 235
			}
			picture[y*numberedWidth+x] = shade
		}
	}
	return picture
}

func lowTone(n int) float64  { return lowest + apart*float64(n%lowTones) }
func highTone(n int) float64 { return highest + apart*float64(n/lowTones) }

func drawBeeps(count int) []byte {
	samples := int(NumberedBeep.Seconds() * numberedRate)
	out := make([]byte, 0, 2*samples*count)
	for n := range count {
		for i := range samples {
			t := float64(i) / numberedRate
			v := 0.3*math.Sin(2*math.Pi*lowTone(n)*t) + 0.3*math.Sin(2*math.Pi*highTone(n)*t)
			out = binary.LittleEndian.AppendUint16(out, uint16(int16(v*math.MaxInt16)))
		}
	}
	return out
}
