package recorder

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtp"

	"consilium/internal/codec"
	"consilium/internal/media"
	"consilium/internal/testmedia"
)

// pictures decodes a file and returns the hash of every picture, by its time
// in ms.
func pictures(t *testing.T, name string) map[string]string {
	t.Helper()
	out := run(t, "ffmpeg", "-v", "error", "-i", name, "-vsync", "passthrough", "-enc_time_base", "1:1000", "-f", "framemd5", "-")
	found := map[string]string{}
	for line := range strings.Lines(out) {
		if fields := strings.Split(line, ","); len(fields) == 6 && !strings.HasPrefix(line, "#") {
			found[strings.TrimSpace(fields[2])] = strings.TrimSpace(fields[5])
		}
	}
	return found
}

// samePictures fails unless every picture of got is the one that want shows at
// the same time, and returns how many there are.
func samePictures(t *testing.T, got, want map[string]string) int {
	t.Helper()
	wrong := 0
	for at, sum := range got {
		if want[at] != sum {
			wrong++
		}
	}
	if wrong > 0 || len(got) == 0 {
		t.Errorf("%d of %d pictures are not those that were sent", wrong, len(got))
	}
	return len(got)
}

// lossy loses packets at random. Those that are repaired come later.
func lossy(packets []sent, rate, repaired float64, seed uint64) (kept []sent, lost int) {
	random := rand.New(rand.NewPCG(seed, seed))
	for i, p := range packets {
		switch {
		case i == 0 || i == len(packets)-1 || random.Float64() >= rate:
		case random.Float64() >= repaired:
			lost++
			continue
		default:
			p.at += time.Duration(60+random.IntN(240)) * time.Millisecond
			p.packet.Repaired = true
		}
		kept = append(kept, p)
	}
	return inOrder(kept), lost
}

func TestThirtyPercentLossWithRepairLeavesNothingDamaged(t *testing.T) {
	const length = 30 * second
	clean, dir := t.TempDir(), t.TempDir()
	micT, camT := micTrack("anna"), camTrack("anna")
	want := record(t, clean, map[*media.Track][]sent{&camT: newSource(t, testmedia.Camera).between(0, length)})
	mic, micLost := lossy(newSource(t, testmedia.Beep).between(0, length), 0.3, 0.95, 1)
	cam, camLost := lossy(newSource(t, testmedia.Camera).between(0, length), 0.3, 0.98, 2)
	m := record(t, dir, map[*media.Track][]sent{&micT: mic, &camT: cam})

	sound, video := segmentOf(t, m, media.Microphone), segmentOf(t, m, media.Camera)
	if sound.PacketsLost != int64(micLost) || video.PacketsLost != int64(camLost) {
		t.Errorf("counted %d and %d lost, not %d and %d", sound.PacketsLost, video.PacketsLost, micLost, camLost)
	}
	near(t, "length of the sound", probe(t, filePath(dir, sound)).duration, length.Seconds(), 0.02)
	near(t, "silence for what was lost", float64(sound.SilenceFilledMS), float64(20*micLost), 1)
	n := samePictures(t, pictures(t, filePath(dir, video)), pictures(t, filePath(clean, segmentOf(t, want, media.Camera))))
	t.Logf("%d packets of sound lost for good, %d of video; %d of %d pictures kept, %d gaps", micLost, camLost, n, 15*30, len(video.Gaps))
	for _, g := range video.Gaps {
		end := g.MS + g.DurationMS
		if !slices.ContainsFunc(blocksOf(t, filePath(dir, video)), func(b block) bool { return b.keyframe && b.ms-end <= 1 && end-b.ms <= 1 }) {
			t.Errorf("the gap %+v does not end at a keyframe", g)
		}
	}
}

func TestThirtyPercentLossWithoutRepairOrKeyframesIsReported(t *testing.T) {
	const length = 64 * second
	dir := t.TempDir()
	var asked []time.Time
	var begin time.Time
	synctest.Test(t, func(t *testing.T) {
		s := newStudio(t, dir)
		r := s.arm()
		begin = time.Now()
		cam := newSource(t, testmedia.Camera)
		var sentFrames []sent
		for i, at := 0, time.Duration(0); at < length; i, at = i+1, at+67*time.Millisecond {
			f := cam.clip.Frames[i%len(cam.clip.Frames)]
			if f.Keyframe && at > 0 && at < 61*second {
				continue // none for a minute
			}
			sentFrames = append(sentFrames, cam.frame(f, at)...)
		}
		kept, _ := lossy(sentFrames[:len(sentFrames)-60], 0.3, 0, 3)
		sink := r.Track(camTrack("anna"), func() { asked = append(asked, time.Now()) })
		play(sink, append(kept, sentFrames[len(sentFrames)-60:]...), begin)
		sink.End(media.EndLeft, time.Now())
		r.End(time.Now())
		s.close()
	})
	for i := 1; i < len(asked); i++ {
		if d := asked[i].Sub(asked[i-1]); d < second {
			t.Errorf("a keyframe is asked for again after %v", d)
		}
	}
	if len(asked) < 50 {
		t.Errorf("asked %d times only", len(asked))
	}
	m, err := Show(dir, testCall)
	if err != nil {
		t.Fatal(err)
	}
	s := segmentOf(t, m, media.Camera)
	longest := int64(0)
	for _, g := range s.Gaps {
		if g.DurationMS > longest && g.Reason == GapLost {
			longest = g.DurationMS
		}
	}
	t.Logf("asked for a keyframe %d times in %v, longest gap %d ms", len(asked), length, longest)
	if longest < 50_000 {
		t.Errorf("the gap of a minute is not listed: %+v", s.Gaps)
	}
	if complaint := decode(t, filePath(dir, s)); complaint != "" {
		t.Errorf("the file does not decode: %s", complaint)
	}
}

func TestABlackoutIsOneGap(t *testing.T) {
	dir := t.TempDir()
	micT, camT := micTrack("anna"), camTrack("anna")
	cut := func(packets []sent) []sent {
		return slices.DeleteFunc(packets, func(p sent) bool { return p.at >= 5*second && p.at < 7*second })
	}
	m := record(t, dir, map[*media.Track][]sent{
		&micT: cut(newSource(t, testmedia.Beep).between(0, 15*second)), &camT: cut(newSource(t, testmedia.Camera).between(0, 15*second)),
	})
	sound, video := segmentOf(t, m, media.Microphone), segmentOf(t, m, media.Camera)
	near(t, "silence", float64(sound.SilenceFilledMS), 2000, 20)
	near(t, "length of the sound", probe(t, filePath(dir, sound)).duration, 15, 0.02)
	for _, s := range []Segment{sound, video} {
		if len(s.Gaps) != 1 || s.Gaps[0].Reason != GapLost {
			t.Fatalf("gaps of %s are %+v", s.File, s.Gaps)
		}
		near(t, "begin of the gap", float64(s.Gaps[0].MS), 5000, 70)
	}
	// The clip has a keyframe every 3 s; the next after 7 s is at 9 s.
	near(t, "end of the gap in the video", float64(video.Gaps[0].MS+video.Gaps[0].DurationMS), 9000, 10)
}

// layered packs frames of three temporal layers, 0 2 1 2: nothing refers to
// those of the highest; the first two behind the base layer's refer to it only.
func layered(frames [][]byte) []sent {
	var out []sent
	seq, tl0 := int64(70_000), uint8(250) // wraps
	for i, data := range frames {
		key, layer := data[0]&1 == 0, []uint8{0, 2, 1, 2}[i%4]
		if layer == 0 {
			tl0++
		}
		for begin := 0; begin < len(data); begin += 900 {
			d := codec.VP8{
				Start: begin == 0, HasPictureID: true, LongID: true, PictureID: uint16(0x7FF0+i) & 0x7FFF,
				HasTL0: true, TL0: tl0, HasTID: true, TID: layer, NonReference: layer == 2, Sync: i%4 == 1 || i%4 == 2,
			}
			end := min(begin+900, len(data))
			p := media.NewPacket(nil)
			p.Header = rtp.Header{Version: 2, Timestamp: uint32(i * 3600), Marker: end == len(data)}
			p.Payload, p.Sequence, p.Keyframe = append(d.AppendTo(nil), data[begin:end]...), seq, key && begin == 0
			out = append(out, sent{at: time.Duration(i) * 40 * time.Millisecond, packet: p})
			seq++
		}
	}
	return out
}

func TestALostPictureThatNothingRefersToCostsOnlyItself(t *testing.T) {
	frames := encoded(t, "320x180", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "600k", "-lag-in-frames", "0",
		"-auto-alt-ref", "0", "-error-resilient", "default", "-ts-parameters",
		"ts_number_layers=3:ts_target_bitrate=300,450,600:ts_rate_decimator=4,2,1:ts_periodicity=4:ts_layer_id=0,2,1,2:ts_layering_mode=3")
	// One keyframe only: whoever waited for the next would lose the rest.
	single := slices.IndexFunc(frames[1:], func(f []byte) bool { return f[0]&1 == 0 }) + 1
	frames = frames[:single]
	tests := map[string]struct {
		lose func(frame uint32, p *media.Packet) bool
		kept int // of 25 pictures
	}{
		"all packets of a picture": {func(i uint32, _ *media.Packet) bool { return i%6 == 5 }, 21},
		"the last packet of one":   {func(i uint32, p *media.Packet) bool { return i%6 == 5 && p.Header.Marker }, 21},
		"the first packet of one": {func(i uint32, p *media.Packet) bool {
			d, _ := codec.ParseVP8(p.Payload)
			return i%6 == 5 && d.Start
		}, 21},
		"a picture of the middle layer, which one refers to": {func(i uint32, _ *media.Packet) bool { return i == 6 }, 23},
		"a picture of the base layer, which all refer to":    {func(i uint32, _ *media.Packet) bool { return i == 8 }, 8},
	}
	track := camTrack("anna")
	clean := t.TempDir()
	want := record(t, clean, map[*media.Track][]sent{&track: layered(frames)})
	all := pictures(t, filePath(clean, segmentOf(t, want, media.Camera)))
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			kept := slices.DeleteFunc(layered(frames), func(p sent) bool { return tc.lose(p.packet.Header.Timestamp/3600, p.packet) })
			m := record(t, dir, map[*media.Track][]sent{&track: kept})
			n := samePictures(t, pictures(t, filePath(dir, segmentOf(t, m, media.Camera))), all)
			if n != tc.kept || len(all) != 25 {
				t.Errorf("%d of %d pictures are there, not %d", n, len(all), tc.kept)
			}
		})
	}
	for seed := range uint64(6) {
		t.Run(fmt.Sprintf("any packets, %d", seed), func(t *testing.T) {
			dir := t.TempDir()
			packets := layered(frames)
			begin := slices.IndexFunc(packets, func(p sent) bool { return p.packet.Header.Timestamp > 0 })
			kept, _ := lossy(packets[begin:], 0.15, 0.3, 100+seed)
			m := record(t, dir, map[*media.Track][]sent{&track: append(packets[:begin], kept...)})
			samePictures(t, pictures(t, filePath(dir, segmentOf(t, m, media.Camera))), all)
		})
	}
}
