package testmedia

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// decodedRate of sound, in Hz: enough for every tone that is used.
const decodedRate = 16_000

// Mark is something that was recognised in a decoded file.
type Mark struct {
	At     time.Duration // file time
	Number int           // of NumberedPictures and NumberedBeeps; otherwise counted from 0
}

// ReadPictures decodes a file's NumberedPictures. Pictures without a credible
// number are left out; unreadable counts them.
func ReadPictures(ctx context.Context, file string) (marks []Mark, unreadable int, err error) {
	times, pictures, err := decodePictures(ctx, file, numberedWidth, numberedHeight)
	if err != nil {
		return nil, 0, err
	}
	for i, picture := range pictures {
		if n, ok := readNumber(picture); ok {
			marks = append(marks, Mark{times[i], n})
		} else {
			unreadable++
		}
	}
	return marks, unreadable, nil
}

// ReadFlashes decodes a file and returns when each picture turned bright, for
// Flash and everything like it.
func ReadFlashes(ctx context.Context, file string) ([]Mark, error) {
	const width, height = 16, 8
	times, pictures, err := decodePictures(ctx, file, width, height)
	if err != nil {
		return nil, err
	}
	var marks []Mark
	bright := true
	for i, picture := range pictures {
		sum := 0
		for _, shade := range picture {
			sum += int(shade)
		}
		now := sum > 128*len(picture)
		if now && !bright {
			marks = append(marks, Mark{times[i], len(marks)})
		}
		bright = now
	}
	return marks, nil
}

// ReadBeeps decodes a file's NumberedBeeps: a mark for each moment, 20 ms
// apart, at which a number is heard.
func ReadBeeps(ctx context.Context, file string) ([]Mark, error) {
	samples, err := decodeSound(ctx, file)
	if err != nil {
		return nil, err
	}
	const window, step = decodedRate * 6 / 100, decodedRate / 50
	var marks []Mark
	for begin := 0; begin+window <= len(samples); begin += step {
		low, okLow := loudest(samples[begin:begin+window], lowest, lowTones)
		high, okHigh := loudest(samples[begin:begin+window], highest, highTones)
		if okLow && okHigh {
			marks = append(marks, Mark{soundTime(begin + window/2), high*lowTones + low})
		}
	}
	return marks, nil
}

// ReadBeepOnsets decodes a file and returns when each beep of Beep, or of
// everything like it, began: to about a millisecond.
func ReadBeepOnsets(ctx context.Context, file string) ([]Mark, error) {
	samples, err := decodeSound(ctx, file)
	if err != nil {
		return nil, err
	}
	var marks []Mark
	const loud, pause = 0.1, decodedRate / 5
	last := -2 * pause
	for i, v := range samples {
		if math.Abs(float64(v)) < loud {
			continue
		}
		if i-last > pause && i > pause { // a beep that began before the file tells nothing
			marks = append(marks, Mark{soundTime(i), len(marks)})
		}
		last = i
	}
	return marks, nil
}

func soundTime(sample int) time.Duration {
	return time.Duration(sample) * time.Second / decodedRate
}

// decodePictures returns every picture in shades of grey, scaled, and its time.
func decodePictures(ctx context.Context, file string, width, height int) ([]time.Duration, [][]byte, error) {
	list, err := output(ctx, "ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", "packet=pts_time", "-of", "csv=p=0", file)
	if err != nil {
		return nil, nil, err
	}
	var times []time.Duration
	for line := range strings.Lines(string(list)) {
		seconds, err := strconv.ParseFloat(strings.Trim(line, ", \n"), 64)
		if err != nil {
			return nil, nil, fmt.Errorf("read the time of a picture of %s: %w", file, err)
		}
		times = append(times, time.Duration(seconds*float64(time.Second)))
	}
	raw, err := output(ctx, "ffmpeg", "-hide_banner", "-loglevel", "error", "-i", file, "-map", "0:v:0", "-vsync", "passthrough", "-enc_time_base", "-1",
		"-vf", fmt.Sprintf("scale=%d:%d:flags=area", width, height), "-f", "rawvideo", "-pix_fmt", "gray", "-")
	if err != nil {
		return nil, nil, err
	}
	size := width * height
	if len(raw) != size*len(times) {
		return nil, nil, fmt.Errorf("decode %s: %d pictures of %d packets", file, len(raw)/size, len(times))
	}
	pictures := make([][]byte, len(times))
	for i := range pictures {
		pictures[i] = raw[i*size : (i+1)*size]
	}
	return times, pictures, nil
}

// decodeSound returns the first track of sound, mixed to one channel.
func decodeSound(ctx context.Context, file string) ([]float32, error) {
	raw, err := output(ctx, "ffmpeg", "-hide_banner", "-loglevel", "error", "-i", file, "-map", "0:a:0",
		"-ac", "1", "-ar", strconv.Itoa(decodedRate), "-f", "f32le", "-")
	if err != nil {
		return nil, err
	}
	samples := make([]float32, len(raw)/4)
	for i := range samples {
		samples[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
	}
	return samples, nil
}

func output(ctx context.Context, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("run %s (Debian package ffmpeg): %w: %s", name, err, complaint.Bytes())
	}
	if complaint.Len() > 0 {
		return nil, fmt.Errorf("%s complains: %s", name, complaint.Bytes())
	}
	return out.Bytes(), nil
}

// readNumber reads the squares of a picture.
func readNumber(picture []byte) (n int, ok bool) {
	bits := 0
	for i := range numberBits + checkBits {
		sum, count := 0, 0
		for y := squareTop + 20; y < squareEnd-20; y += 4 { // away from the blurred rims
			for x := i*square + square/4; x < (i+1)*square-square/4; x++ {
				sum += int(picture[y*numberedWidth+x])
				count++
			}
		}
		bits <<= 1
		if sum > 128*count {
			bits |= 1
		}
	}
	n = bits >> checkBits
	return n, bitsOf(n) == bits
}

// loudest returns which of a row of tones is heard in a window, if one stands
// out and the window is not silent.
func loudest(window []float32, first float64, tones int) (tone int, ok bool) {
	powers := make([]float64, tones)
	for i := range powers {
		powers[i] = power(window, first+apart*float64(i))
		if powers[i] > powers[tone] {
			tone = i
		}
	}
	const silence = 1e-4 // of a tone at 0.3 of full scale, 0.02 is measured
	for i, p := range powers {
		if (i < tone-1 || i > tone+1) && p > powers[tone]/10 {
			return 0, false
		}
	}
	return tone, powers[tone] > silence
}

// power of a frequency in a window of Hann's shape.
func power(window []float32, frequency float64) float64 {
	var re, im float64
	n := float64(len(window))
	for i, v := range window {
		shaped := float64(v) * (1 - math.Cos(2*math.Pi*float64(i)/n))
		sin, cos := math.Sincos(2 * math.Pi * frequency * float64(i) / decodedRate)
		re += shaped * cos
		im += shaped * sin
	}
	return (re*re + im*im) / (n * n)
}
