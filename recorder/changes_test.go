package recorder

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtp/codecs"

	"consilium/internal/media"
	"consilium/internal/testmedia"
)

// muted tells a sink that the track is muted, or the opposite.
func muted(on bool, at time.Duration) sent {
	return sent{at: at, tell: func(s media.Sink) { s.SetMuted(on, time.Now()) }}
}

func TestTenMinutesOfMuteAreTenMinutesInTheFile(t *testing.T) {
	for name, clockStops := range map[string]bool{"RTP clock runs": false, "RTP clock stops": true} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			mic, track := newSource(t, testmedia.Beep), micTrack("anna")
			packets := append(mic.between(0, 5*second), muted(true, 5*second))
			if clockStops {
				mic.stopped = 9*time.Minute + 50*second
			}
			back := 9*time.Minute + 55*second
			packets = append(append(packets, muted(false, back)), mic.between(back, back+5*second)...)
			m := record(t, dir, map[*media.Track][]sent{&track: packets})
			s := segmentOf(t, m, media.Microphone)
			near(t, "duration", probe(t, filePath(dir, s)).duration, 600, 0.05)
			if len(s.Gaps) != 1 || s.Gaps[0].Reason != GapMuted {
				t.Fatalf("gaps are %+v", s.Gaps)
			}
			near(t, "begin of the gap", float64(s.Gaps[0].MS), 5000, 20)
			near(t, "length of the gap", float64(s.Gaps[0].DurationMS), 590_000, 50)
			beeps := marks(t, filePath(dir, s), media.Microphone)
			beeps = slices.DeleteFunc(beeps, func(at float64) bool { return at > 599_900 }) // the end is no beep
			if len(beeps) != 10 {
				t.Fatalf("beeps at %v ms", beeps)
			}
			for i, at := range beeps {
				want := float64(i)*1000 + 506.5
				if i >= 5 {
					want += 590_000
				}
				near(t, "beep", at, want, 40)
			}
		})
	}
}

func TestAKillWhileMutedLosesNoTime(t *testing.T) {
	for name, tc := range map[string]struct {
		mute bool
		lag  float64 // s
	}{"muted": {true, 1}, "nothing sent, nobody knows why": {false, 5}} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				s := newStudio(t, dir)
				r := s.arm()
				begin := time.Now()
				sink := r.Track(micTrack("anna"), nil)
				play(sink, append(newSource(t, testmedia.Beep).between(0, 5*second), muted(tc.mute, 5*second)), begin)
				<-time.After(time.Until(begin.Add(60 * second)))
				synctest.Wait()
				// What a kill would leave is what is on the disk now.
				var last int64
				for _, b := range blocksOf(t, filepath.Join(dir, spoolPath(testCall, "p1-mic-1.webm"))) {
					last = b.ms + 20
				}
				t.Logf("60 s after its begin the spool holds %d ms", last)
				// A record more: it is written within half a second.
				near(t, "length of the spool in s", float64(last)/1000, 60-tc.lag-1, 1.1)
				sink.End(media.EndLeft, time.Now())
				r.End(time.Now())
				s.close()
			})
		})
	}
}

func TestTheCameraGoesAndAnotherComes(t *testing.T) {
	dir := t.TempDir()
	track := camTrack("anna")
	front, back := newSource(t, testmedia.LargeCamera), newSource(t, testmedia.Camera)
	packets := append(front.between(0, 6*second), muted(true, 6*second), muted(false, 15*second))
	back.seq, back.rtp = front.seq, front.rtp
	packets = append(packets, back.between(15*second, 21*second)...)
	m := record(t, dir, map[*media.Track][]sent{&track: packets})
	if len(m.Segments) != 1 || len(m.Tracks) != 1 {
		t.Fatalf("segments are %+v", m.Segments)
	}
	s := m.Segments[0]
	near(t, "duration", probe(t, filePath(dir, s)).duration, 21, 0.1)
	if len(s.Sizes) != 1 || s.Sizes[0].MS != 15_000 || s.Sizes[0].Width != 320 || s.Width != 640 {
		t.Errorf("sizes are %+v", s.Sizes)
	}
	if len(s.Gaps) != 1 || s.Gaps[0].Reason != GapMuted {
		t.Errorf("gaps are %+v", s.Gaps)
	}
}

func TestAnotherCodecIsAnotherFileOfTheSameSource(t *testing.T) {
	x264 := []string{"-profile:v", "baseline", "-preset", "ultrafast", "-x264-params", "aud=1:repeat-headers=1:scenecut=0:slices=1"}
	frames := encoded(t, "200x120", "libx264", x264...)
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := newStudio(t, dir)
		r := s.arm()
		begin := time.Now()
		first := r.Track(camTrack("anna"), nil)
		play(first, newSource(t, testmedia.Camera).between(0, 3*second), begin)
		first.End(media.EndUnpublished, time.Now())
		track := camTrack("anna")
		track.ID, track.Codec = "t-anna-cam-2", media.H264
		second := r.Track(track, nil)
		play(second, packets(&codecs.H264Payloader{}, frames, 3*time.Second, 70_000), begin)
		second.End(media.EndLeft, time.Now())
		r.End(time.Now())
		s.close()
	})
	m, err := Show(dir, testCall)
	if err != nil || len(m.Segments) != 2 {
		t.Fatalf("segments are %+v (%v)", m.Segments, err)
	}
	for i, want := range []struct{ file, codec string }{{"p1-cam-1.webm", "vp8"}, {"p1-cam-2.mkv", "h264"}} {
		s := m.Segments[i]
		if got := probe(t, filePath(dir, s)); s.File != want.file || got.codec != want.codec {
			t.Errorf("%s holds %s, not %+v", s.File, got.codec, want)
		}
		near(t, "t0", s.T0MS, float64(3000*i), 5)
	}
}

// TestALayerThatGoesAndComesBackLeavesTimeAsItIs: three streams of other SSRCs
// and other RTP clocks follow each other. The way takes longer every time, so
// that arrival would put them in the wrong place.
func TestALayerThatGoesAndComesBackLeavesTimeAsItIs(t *testing.T) {
	dir := t.TempDir()
	track := camTrack("anna")
	var all []sent
	for i, load := range []func() (*testmedia.Clip, error){testmedia.LargeCamera, testmedia.Camera, testmedia.LargeCamera} {
		from := time.Duration(i) * 6 * second
		s := newSource(t, load)
		s.ssrc, s.rtp, s.seq = uint32(100+i), uint32(i)*3_000_000_000+77, int64(i*3+1)<<16+500
		d := device{way: time.Duration(20+80*i) * time.Millisecond}
		all = append(all, append(d.send(s.between(from, from+6*second)), d.reports(s, from+300*time.Millisecond, from+6*second, second)...)...)
	}
	m := record(t, dir, map[*media.Track][]sent{&track: inOrder(all)})
	if len(m.Segments) != 1 {
		t.Fatalf("segments are %+v", m.Segments)
	}
	s := m.Segments[0]
	blocks := blocksOf(t, filePath(dir, s))
	worst := int64(0)
	for i := 1; i < len(blocks); i++ {
		step := blocks[i].ms - blocks[i-1].ms
		worst = max(worst, max(step-67, 67-step))
	}
	t.Logf("%d pictures, steps between them differ by up to %d ms from a frame", len(blocks), worst)
	if worst > 2 || len(blocks) != 18*15 {
		t.Errorf("%d pictures, a step is %d ms off", len(blocks), worst)
	}
	if len(s.Sizes) != 2 {
		t.Fatalf("layers change at %+v", s.Sizes)
	}
	near(t, "change to the lower layer", float64(s.Sizes[0].MS), 6000, 2)
	near(t, "change to the higher layer", float64(s.Sizes[1].MS), 12_000, 2)
	if complaint := decode(t, filePath(dir, s)); complaint != "" {
		t.Error(complaint)
	}
}

func TestAnotherStreamWithoutReportsIsPlacedByArrival(t *testing.T) {
	dir := t.TempDir()
	track := micTrack("anna")
	first, second := newSource(t, testmedia.Beep), newSource(t, testmedia.Beep)
	first.ssrc, second.ssrc = 1, 2
	second.seq, second.rtp = 5<<16, 4_000_000_000
	packets := append(first.between(0, 5*time.Second), second.between(5*time.Second, 10*time.Second)...)
	m := record(t, dir, map[*media.Track][]sent{&track: packets})
	s := segmentOf(t, m, media.Microphone)
	near(t, "duration", probe(t, filePath(dir, s)).duration, 10, 0.03)
	if len(m.Segments) != 1 || s.SilenceFilledMS > 20 {
		t.Errorf("segments are %+v", m.Segments)
	}
}

func TestTheFirstPacketsAndTheLastWordsAreInTheFile(t *testing.T) {
	dir := t.TempDir()
	mic, cam := newSource(t, testmedia.Beep), newSource(t, testmedia.Camera)
	micT, camT := micTrack("anna"), camTrack("anna")
	sound, pictures := mic.between(0, 4*second+700*time.Millisecond), cam.between(0, 4*second+700*time.Millisecond)
	if !pictures[0].packet.Keyframe {
		t.Fatal("the first packet is no keyframe")
	}
	m := record(t, dir, map[*media.Track][]sent{&micT: sound, &camT: pictures})
	for source, src := range map[media.Source]*source{media.Microphone: mic, media.Camera: cam} {
		s := segmentOf(t, m, source)
		blocks := blocksOf(t, filePath(dir, s))
		if len(blocks) != src.frames {
			t.Errorf("%s: %d frames of %d", s.File, len(blocks), src.frames)
			continue
		}
		last := src.clip.Frames[(src.frames-1)%len(src.clip.Frames)]
		if !slices.Equal(blocks[0].data, src.clip.Frames[0].Data) || !slices.Equal(blocks[len(blocks)-1].data, last.Data) {
			t.Errorf("%s: the first or the last frame is another one", s.File)
		}
	}
	near(t, "length of the sound in ms", float64(segmentOf(t, m, media.Microphone).DurationMS), 4700, 20)
}

// TestSevenHoursOfAStillScreen: a picture every ten seconds, through the wrap
// of sequence numbers and both halves of a 90 kHz clock.
func TestSevenHoursOfAStillScreen(t *testing.T) {
	const length, every = 7 * time.Hour, 10 * second
	dir := t.TempDir()
	cam, track := newSource(t, testmedia.Flash), camTrack("anna")
	track.Source = media.Screen
	cam.seq, cam.rtp = 1<<16+65_530, 1<<32-45_000
	var packets []sent
	for at := time.Duration(0); at < length; at += every {
		packets = append(packets, cam.frame(cam.clip.Frames[0], at)...)
	}
	m := record(t, dir, map[*media.Track][]sent{&track: packets})
	if len(m.Segments) != 7 {
		t.Fatalf("%d files", len(m.Segments))
	}
	for i, s := range m.Segments {
		near(t, "t0 of "+s.File, s.T0MS, float64(i)*3.6e6, 1)
		blocks := blocksOf(t, filePath(dir, s))
		for n, b := range blocks {
			if b.ms != int64(n)*every.Milliseconds() {
				t.Fatalf("%s: picture %d is at %d ms", s.File, n, b.ms)
			}
		}
		if len(blocks) != 360 {
			t.Errorf("%s holds %d pictures", s.File, len(blocks))
		}
	}
	// Every picture is a cluster and has a cue: seeking finds it.
	last := filePath(dir, m.Segments[6])
	near(t, "duration", probe(t, last).duration, 3590.1, 0.05)
	out := run(t, "ffprobe", "-v", "error", "-read_intervals", "3000%+#1", "-show_entries", "packet=pts_time,flags", "-of", "csv=p=0", last)
	if !strings.HasPrefix(out, "3000.000000,K") {
		t.Errorf("seeking to 3000 s ends at %q", out)
	}
}

func TestWhatIsNoPayloadOfTheCodecLeavesNoTrace(t *testing.T) {
	junk := map[string][]byte{
		"nothing but a header": {0x80}, "a long picture id cut off": {0x90, 0x80, 0x80},
		"redundant sound (RED)": {0xEF, 0x00, 0x00}, "noise": {0xA5, 0x5A, 0xFF, 0x00, 0x13, 0x37},
	}
	for name, payload := range junk {
		t.Run(name, func(t *testing.T) {
			dir, clean := t.TempDir(), t.TempDir()
			track := camTrack("anna")
			disturbed := func(dir string, disturb bool) Segment {
				packets, shift := newSource(t, testmedia.Camera).between(0, 4*second), int64(0)
				var all []sent
				for i, p := range packets {
					p.packet.Sequence += shift
					all = append(all, p)
					if disturb && i == len(packets)-1 { // behind the last picture: nothing can hide it
						c := again(p.packet)
						c.Sequence, c.Payload, c.Header.Marker = p.packet.Sequence+1, payload, false
						c.Header.Timestamp += 6000
						all = append(all, sent{at: p.at, packet: c})
					}
				}
				return segmentOf(t, record(t, dir, map[*media.Track][]sent{&track: all}), media.Camera)
			}
			sameFrames(t, filePath(dir, disturbed(dir, true)), filePath(clean, disturbed(clean, false)))
		})
	}
}
