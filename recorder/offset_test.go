package recorder

import (
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"consilium/internal/media"
	"consilium/internal/testmedia"
)

// marks returns when, in file time, sound or light begins in a recorded file:
// it is decoded.
func marks(t *testing.T, name string, source media.Source) []float64 {
	t.Helper()
	args, word := []string{"-af", "silencedetect=noise=-30dB:duration=0.3"}, "silence_end: "
	if source != media.Microphone {
		args, word = []string{"-vf", "blackdetect=d=0.3"}, "black_end:"
	}
	out := run(t, "ffmpeg", append(append([]string{"-nostats", "-i", name}, args...), "-f", "null", "-")...)
	var found []float64
	for line := range strings.Lines(out) {
		_, rest, ok := strings.Cut(line, word)
		if !ok {
			continue
		}
		seconds, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
		if err != nil {
			t.Fatalf("ffmpeg said %q", line)
		}
		found = append(found, seconds*1000)
	}
	return found
}

// TestBeepsAndFlashesAreTogetherOnTheSessionsAxis: two participants whose
// microphones and cameras run 200 ppm fast and slow, whose computers are off
// by years, whose encoders and networks take differently long.
func TestBeepsAndFlashesAreTogetherOnTheSessionsAxis(t *testing.T) {
	const length = 150 * second
	dir := t.TempDir()
	random := rand.New(rand.NewPCG(3, 4))
	tracks := map[*media.Track][]sent{}
	devices := map[string]*device{}
	for _, v := range []struct {
		track  media.Track
		load   func() (*testmedia.Clip, error)
		device device
		every  time.Duration // between reports
	}{
		{micTrack("anna"), testmedia.Beep, device{rtpPPM: 200, senderPPM: -20, encode: 20 * time.Millisecond}, 5 * second},
		{camTrack("anna"), testmedia.Flash, device{rtpPPM: -200, senderPPM: -20, encode: 180 * time.Millisecond}, second},
		{micTrack("boris"), testmedia.Beep, device{rtpPPM: -200, senderPPM: 30, encode: 40 * time.Millisecond}, 5 * second},
		{camTrack("boris"), testmedia.Flash, device{rtpPPM: 200, senderPPM: 30, encode: 90 * time.Millisecond}, second},
	} {
		d := v.device
		d.random, d.jitter, d.way = random, 40*time.Millisecond, 15*time.Millisecond
		if v.track.Participant == "boris" {
			d.way, d.wrong = 30*time.Millisecond, -4*365*24*time.Hour
		}
		s := newSource(t, v.load)
		s.ssrc = uint32(len(devices) + 1)
		tracks[&v.track] = inOrder(d.send(s.between(0, length)), d.reports(s, 700*time.Millisecond, length, v.every))
		devices[v.track.ID] = &d
	}
	m := record(t, dir, tracks)
	placed := map[string][]float64{} // where the manifest says that each mark is, less where it was
	for _, s := range m.Segments {
		found, d := marks(t, filePath(dir, s), s.Source), devices[s.Track]
		found = slices.DeleteFunc(found, func(at float64) bool { return at > float64(s.DurationMS-200) }) // the end is no mark
		if len(found) < 140 {
			t.Fatalf("%s holds %d marks", s.File, len(found))
		}
		for _, at := range found {
			if s.Source == media.Microphone {
				at -= 6.5 // Opus' look-ahead, see testmedia.Beep
			}
			n := math.Round((at - 500) / 1000)
			truth := d.now(time.Duration((n + 0.5) * float64(second)))
			placed[s.File] = append(placed[s.File], s.SessionMS(at)-float64(truth)/1e6)
		}
		t.Logf("%s: t0 %.1f ms, drift %+.1f ppm, marks %s ms from the truth", s.File, s.T0MS, s.DriftPPM, spread(placed[s.File]))
		near(t, "drift of "+s.File, s.DriftPPM, d.rtpPPM+d.senderPPM, 40)
	}
	for a := range placed {
		for b := range placed {
			low, high := limits(placed[a])
			lowB, highB := limits(placed[b])
			if off := max(high-lowB, highB-low); off > 40 {
				t.Errorf("%s and %s are up to %.1f ms apart", a, b, off)
			}
		}
	}
}

func limits(values []float64) (low, high float64) {
	low, high = math.Inf(1), math.Inf(-1)
	for _, v := range values {
		low, high = min(low, v), max(high, v)
	}
	return low, high
}

func spread(values []float64) string {
	low, high := limits(values)
	return strconv.FormatFloat(low, 'f', 1, 64) + " to " + strconv.FormatFloat(high, 'f', 1, 64)
}

// TestThreeHoursOfSoundThatIsRarelySent: sound with discontinuous transmission
// and a still picture, from a microphone and a camera 200 ppm off, in a
// virtual clock.
func TestThreeHoursOfSoundThatIsRarelySent(t *testing.T) {
	const length = 3 * time.Hour
	dir := t.TempDir()
	random := rand.New(rand.NewPCG(5, 6))
	micT, camT := micTrack("anna"), camTrack("anna")
	mic, cam := newSource(t, testmedia.Beep), newSource(t, testmedia.Flash)
	mic.ssrc, cam.ssrc = 11, 12
	micD := device{rtpPPM: 200, senderPPM: 15, way: 20 * time.Millisecond, jitter: 40 * time.Millisecond, random: random}
	camD := micD
	camD.rtpPPM, camD.encode = -200, 120*time.Millisecond
	var sound, pictures []sent
	const heard = int(length / (400 * time.Millisecond)) // packets
	for at := time.Duration(0); at < length; at += 400 * time.Millisecond {
		sound = append(sound, mic.frame(mic.clip.Frames[0], at)...)
	}
	for at := time.Duration(0); at < length; at += 2 * second {
		pictures = append(pictures, cam.frame(cam.clip.Frames[0], at)...)
	}
	m := record(t, dir, map[*media.Track][]sent{
		&micT: inOrder(micD.send(sound), micD.reports(mic, 2*second, length, 5*second)),
		&camT: inOrder(camD.send(pictures), camD.reports(cam, second, length, 5*second)),
	})
	ends := map[media.Source]float64{}
	var filler, lasts int64
	worst := 0.0
	for _, s := range m.Segments {
		d := micD
		if s.Source == media.Camera {
			d = camD
		} else {
			lasts += s.DurationMS
			filler += s.Bytes - int64(heard*(len(mic.clip.Frames[0].Data)+6))/3
		}
		drift := ((1+d.rtpPPM/1e6)*(1+d.senderPPM/1e6) - 1) * 1e6
		worst = max(worst, math.Abs(s.DriftPPM-drift))
		near(t, "drift of "+s.File, s.DriftPPM, drift, 5)
		// Every file begins at a full hour of file time.
		hour := time.Duration(math.Round(s.T0MS/3.6e6)) * time.Hour
		ends[s.Source] = s.SessionMS(3.6e6) - float64(d.now(hour+time.Hour))/1e6
		near(t, "end of "+s.File, ends[s.Source], 20, 20)
	}
	t.Logf("%d files, drift wrong by up to %.2f ppm, %d ms of sound, %d bytes of silence, at the end %.1f ms apart",
		len(m.Segments), worst, lasts, filler, ends[media.Camera]-ends[media.Microphone])
	if len(m.Segments) != 6 {
		t.Fatalf("segments are %+v", m.Segments)
	}
	near(t, "camera against microphone after 3 h, in ms", ends[media.Camera]-ends[media.Microphone], 0, 20)
	near(t, "length of the sound in ms", float64(lasts), 3*3.6e6-380, 100) // the last packet begins 400 ms before
	// 2:59:50 of the session is 59:50 of the third file.
	out := run(t, "ffprobe", "-v", "error", "-read_intervals", "3590%+#1", "-show_entries", "packet=pts_time", "-of", "csv=p=0",
		filePath(dir, *m.segment("p1-mic-3.webm")))
	if at, err := strconv.ParseFloat(strings.Trim(out, ",\n"), 64); err != nil || math.Abs(at-3590) > 2 {
		t.Errorf("seeking to 3590 s ends at %q", out)
	}
	if filler > 6_000_000 {
		t.Errorf("the silence takes %d bytes", filler)
	}
}

// TestASenderClockSetInMidCallMovesNothing: a microphone and a camera run
// while the sender's clock is set; a screen is shared after that.
func TestASenderClockSetInMidCallMovesNothing(t *testing.T) {
	for name, step := range map[string]time.Duration{
		"by years": -6 * 365 * 24 * time.Hour, "by an hour": time.Hour, "by 400 ms": 400 * time.Millisecond,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			random := rand.New(rand.NewPCG(8, 8))
			tracks := map[*media.Track][]sent{}
			micT, camT, screenT := micTrack("anna"), camTrack("anna"), camTrack("anna")
			screenT.ID, screenT.Source = "t-anna-screen", media.Screen
			for _, v := range []struct {
				track  *media.Track
				load   func() (*testmedia.Clip, error)
				encode time.Duration
				from   time.Duration
			}{
				{&micT, testmedia.Beep, 20 * time.Millisecond, 0}, {&camT, testmedia.Flash, 150 * time.Millisecond, 0},
				{&screenT, testmedia.Flash, 250 * time.Millisecond, 42 * second},
			} {
				before := device{encode: v.encode, way: 25 * time.Millisecond, jitter: 30 * time.Millisecond, random: random}
				after := before
				after.wrong = step
				s := newSource(t, v.load)
				s.ssrc = uint32(v.encode)
				tracks[v.track] = inOrder(before.send(s.between(v.from, 60*second)),
					before.reports(s, v.from+second/3, 30*second, second), after.reports(s, max(v.from, 30*second)+second/2, 60*second, second))
			}
			m := record(t, dir, tracks)
			mic := segmentOf(t, m, media.Microphone)
			near(t, "t0 of the microphone", mic.T0MS, 25, 10)
			near(t, "camera against microphone", segmentOf(t, m, media.Camera).T0MS-mic.T0MS, 0, 5)
			near(t, "screen against microphone", segmentOf(t, m, media.Screen).T0MS-mic.T0MS, 42_000, 10)
			if mic.Clock.Steps != 1 || len(m.Segments) != 3 {
				t.Errorf("the microphone's clock is %+v, of %d files", mic.Clock, len(m.Segments))
			}
			t.Logf("t0 of microphone, camera, screen: %.1f %.1f %.1f", mic.T0MS, segmentOf(t, m, media.Camera).T0MS, segmentOf(t, m, media.Screen).T0MS)
		})
	}
}
