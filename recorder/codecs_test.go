package recorder

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"

	"consilium/internal/media"
	"consilium/internal/testmedia"
)

// encoded makes three seconds of 25 fps with ffmpeg, a keyframe a second, and
// returns the frames.
func encoded(t *testing.T, size, encoder string, options ...string) [][]byte {
	t.Helper()
	if !strings.Contains(run(t, "ffmpeg", "-v", "error", "-encoders"), encoder) {
		t.Fatalf("this ffmpeg has no %s: install the ffmpeg package of Debian", encoder)
	}
	name := filepath.Join(t.TempDir(), "clip.ivf")
	if encoder == "libx264" {
		name = strings.TrimSuffix(name, "ivf") + "h264"
	}
	args := append([]string{"-v", "error", "-f", "lavfi", "-i", "testsrc=size=" + size + ":rate=25:duration=3",
		"-pix_fmt", "yuv420p", "-g", "25", "-c:v", encoder}, options...)
	run(t, "ffmpeg", append(args, name)...)
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if encoder == "libx264" { // access unit delimiters part the frames
		var frames [][]byte
		for _, f := range bytes.Split(data, []byte{0, 0, 0, 1, 9})[1:] {
			frames = append(frames, f[bytes.Index(f, []byte{0, 0, 1}):])
		}
		return frames
	}
	var frames [][]byte
	for data = data[32:]; len(data) > 12; {
		n := binary.LittleEndian.Uint32(data)
		frames = append(frames, data[12:12+n])
		data = data[12+n:]
	}
	return frames
}

// packets of frames at 25 fps, from an instant on.
func packets(payloader rtp.Payloader, frames [][]byte, from time.Duration, sequence int64) []sent {
	s := &source{payload: payloader, seq: sequence, clip: &testmedia.Clip{ClockRate: 90_000}}
	var out []sent
	for i, f := range frames {
		at := from + time.Duration(i)*40*time.Millisecond
		out = append(out, s.frame(testmedia.Frame{Data: f}, at)...)
	}
	return out
}

func TestEveryCodecIsRecorded(t *testing.T) {
	x264 := []string{"-profile:v", "baseline", "-preset", "ultrafast", "-x264-params", "aud=1:repeat-headers=1:scenecut=0:slices=1"}
	for name, tc := range map[string]struct {
		codec, encoder string
		options        []string
		payloader      rtp.Payloader
		extension      string
		codecName      string
	}{
		"VP9":   {media.VP9, "libvpx-vp9", []string{"-deadline", "realtime", "-cpu-used", "8", "-lag-in-frames", "0", "-auto-alt-ref", "0"}, &codecs.VP9Payloader{}, ".webm", "vp9"},
		"AV1":   {media.AV1, "libaom-av1", []string{"-cpu-used", "8", "-usage", "realtime", "-lag-in-frames", "0"}, &codecs.AV1Payloader{}, ".webm", "av1"},
		"H.264": {media.H264, "libx264", x264, &codecs.H264Payloader{}, ".mkv", "h264"},
	} {
		t.Run(name, func(t *testing.T) {
			frames := encoded(t, "200x120", tc.encoder, tc.options...)
			track := camTrack("anna")
			track.Codec = tc.codec
			dir := t.TempDir()
			m := record(t, dir, map[*media.Track][]sent{&track: padded(packets(tc.payloader, frames, 0, 70_000), 0)})
			s := segmentOf(t, m, media.Camera)
			if s.PacketsLost != 0 {
				t.Errorf("padding was taken for loss: %+v", s)
			}
			got := probe(t, filePath(dir, s))
			near(t, "duration", got.duration, 3, 0.05)
			got.duration = 0
			if want := (probed{codec: tc.codecName, frames: 75, width: 200, height: 120}); got != want || s.Width != 200 || s.Height != 120 {
				t.Errorf("file is %+v, not %+v; segment %+v", got, want, s)
			}
			if filepath.Ext(s.File) != tc.extension {
				t.Errorf("file is called %s", s.File)
			}
			keys := 0
			for _, b := range blocksOf(t, filePath(dir, s)) {
				if b.keyframe {
					keys++
				}
			}
			if keys != 3 {
				t.Errorf("%d keyframes", keys)
			}
		})
	}
}

func TestNewParameterSetsBeginANewSegment(t *testing.T) {
	x264 := []string{"-profile:v", "baseline", "-preset", "ultrafast", "-x264-params", "aud=1:repeat-headers=1:scenecut=0:slices=1"}
	first, second := encoded(t, "200x120", "libx264", x264...), encoded(t, "320x180", "libx264", x264...)
	track := camTrack("anna")
	track.Codec = media.H264
	dir := t.TempDir()
	p := packets(&codecs.H264Payloader{}, first, 0, 70_000)
	p = append(p, packets(&codecs.H264Payloader{}, second, 3*time.Second, p[len(p)-1].packet.Sequence+1)...)
	m := record(t, dir, map[*media.Track][]sent{&track: p})
	if len(m.Segments) != 2 {
		t.Fatalf("segments are %+v", m.Segments)
	}
	for i, width := range []int{200, 320} {
		s := m.Segments[i]
		got := probe(t, filePath(dir, s))
		if got.width != width || got.frames != 75 || s.Width != width {
			t.Errorf("%s is %+v", s.File, got)
		}
		near(t, "t0", s.T0MS, float64(3000*i), 5)
	}
}

func FuzzParameterSets(f *testing.F) {
	f.Add([]byte{0x67, 66, 0xC0, 30, 0xD9, 0x00, 0xA0, 0x47, 0xFE, 0x88})
	f.Add([]byte{0x0A, 0x0B, 0x00, 0x00, 0x00, 0x24, 0xCE, 0x3F, 0xFD, 0xF9, 0xBF, 0xF4})
	f.Fuzz(func(t *testing.T, data []byte) {
		if w, h, ok := spsDimensions(data); ok && (w <= 0 || h <= 0) {
			t.Fatalf("%dx%d", w, h)
		}
		parseSequenceHeader(data)
	})
}
