package recorder

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtp/codecs"

	"consilium/internal/media"
	"consilium/internal/testmedia"
)

// opener opens the files of the test's recording.
func opener(dir string) Opener {
	return func(file string) (io.ReadSeekCloser, error) { return OpenMedia(dir, testCall, file, nil) }
}

// merged writes the merged files of a participant into a directory.
func merged(t *testing.T, dir string, m Manifest, participant string, source media.Source) (into string, all []Merge) {
	t.Helper()
	all, err := Merges(m, participant, source, opener(dir))
	if err != nil {
		t.Fatal(err)
	}
	into = t.TempDir()
	for _, g := range all {
		_, err := WriteExport(into, g.Name, func(w io.Writer) error {
			_, err := g.Write(t.Context(), w, opener(dir))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return into, all
}

// flashesAndBeeps decodes a file with both and returns when, in seconds, the
// picture turns white and the sound begins.
func flashesAndBeeps(t *testing.T, name string) (flashes, beeps []float64) {
	t.Helper()
	out := run(t, "ffmpeg", "-v", "error", "-i", name, "-an", "-vf",
		"scale=8:8,signalstats,metadata=print:key=lavfi.signalstats.YAVG:file=-", "-fps_mode", "passthrough", "-f", "null", "-")
	at, white := 0.0, false
	for line := range strings.Lines(out) {
		if _, rest, ok := strings.Cut(line, "pts_time:"); ok {
			at, _ = strconv.ParseFloat(strings.TrimSpace(rest), 64)
		}
		if _, rest, ok := strings.Cut(line, "YAVG="); ok {
			light, _ := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			if light > 128 && !white {
				flashes = append(flashes, at)
			}
			white = light > 128
		}
	}
	const rate = 8000
	pcm := run(t, "ffmpeg", "-v", "error", "-i", name, "-vn", "-ac", "1", "-ar", strconv.Itoa(rate), "-f", "s16le", "-")
	quiet := rate
	for i := 0; i+1 < len(pcm); i += 2 {
		loud := math.Abs(float64(int16(uint16(pcm[i])|uint16(pcm[i+1])<<8))) > 1500
		if loud && quiet >= rate/2 {
			beeps = append(beeps, float64(i/2)/rate)
		}
		quiet++
		if loud {
			quiet = 0
		}
	}
	return flashes, beeps
}

// lipSync returns the largest offset between a flash and its beep.
func lipSync(t *testing.T, name string, least int) float64 {
	t.Helper()
	flashes, beeps := flashesAndBeeps(t, name)
	worst, pairs := 0.0, 0
	for _, f := range flashes {
		for _, b := range beeps {
			if math.Abs(f-b) < 0.45 {
				worst, pairs = max(worst, math.Abs(f-b)), pairs+1
			}
		}
	}
	if pairs < least {
		t.Fatalf("%s: %d flashes %v and %d beeps %v, only %d pairs", filepath.Base(name), len(flashes), flashes, len(beeps), beeps, pairs)
	}
	return worst
}

// clean fails the test when a checker of Matroska has something to say.
func clean(t *testing.T, name string, streams int) (duration float64) {
	t.Helper()
	out := run(t, "ffprobe", "-v", "error", "-show_entries", "format=duration:stream=codec_name", "-of", "json", name)
	var v struct {
		Streams []struct {
			CodecName string `json:"codec_name"`
		}
		Format struct{ Duration string }
	}
	if err := json.Unmarshal([]byte(out), &v); err != nil || len(v.Streams) != streams {
		t.Fatalf("ffprobe said %q: %v", out, err)
	}
	if complaint := decode(t, name); complaint != "" {
		t.Errorf("%s does not decode cleanly: %s", filepath.Base(name), complaint)
	}
	duration, _ = strconv.ParseFloat(v.Format.Duration, 64)
	return duration
}

func TestAMergedFileKeepsLipsInSyncHoweverFarTheSendersClocksDrift(t *testing.T) {
	// 200 ppm for 50 minutes are 600 ms; so are 20,000 ppm for 30 s.
	const scale = 100
	for name, c := range map[string]struct{ mic, cam float64 }{
		"both 200 ppm slow":               {200 * scale, 200 * scale},
		"microphone fast and camera slow": {-100 * scale, 100 * scale},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			mic, cam := micTrack("anna"), camTrack("anna")
			pictures := newSource(t, testmedia.Flash).between(0, 30*second)
			for i := range pictures {
				pictures[i].at += 700 * time.Millisecond // the camera comes later
			}
			m := record(t, dir, map[*media.Track][]sent{
				&mic: newSource(t, testmedia.Beep).between(0, 30*second), &cam: pictures,
			})
			drift(&m, c.mic, c.cam)
			into, all := merged(t, dir, m, "anna", media.Camera)
			if len(all) != 1 || all[0].Name != "p1-cam-merged-1.webm" {
				t.Fatalf("merged into %+v", all)
			}
			file := filepath.Join(into, all[0].Name)
			clean(t, file, 2)
			flashes, beeps := flashesAndBeeps(t, file)
			if len(flashes) < 29 || len(beeps) < 29 {
				t.Fatalf("%d flashes and %d beeps", len(flashes), len(beeps))
			}
			worst := 0.0
			for i, at := range flashes {
				session := 0.7 + (0.5+float64(i))*(1+c.cam/1e6) // when it was seen
				worst = max(worst, math.Abs(at-session/(1+c.mic/1e6)))
			}
			for i, at := range beeps {
				near(t, "beep", at, 0.5+float64(i), 0.010) // sound is never stretched
			}
			if t.Logf("pictures are at most %.1f ms from where the sound of their moment is", worst*1000); worst > 0.040 {
				t.Errorf("%.3f s out of sync", worst)
			}
		})
	}
}

// The whole way: a microphone 200 ppm fast, a camera 200 ppm slow with an
// encoder that takes 160 ms longer, jitter, sender reports, recorder, merge,
// decoder. Each device flashes or beeps by its own clock, so after four minutes
// the two really are 96 ms apart, and so they must be in the file.
func TestAMergedFileOfDevicesWhoseClocksDriftIsInSync(t *testing.T) {
	const length = 240 * second
	dir := t.TempDir()
	random := rand.New(rand.NewPCG(7, 8))
	jitter, way := 30*time.Millisecond, 15*time.Millisecond
	micD := &device{rtpPPM: 200, senderPPM: 20, encode: 20 * time.Millisecond, way: way, jitter: jitter, random: random}
	camD := &device{rtpPPM: -200, senderPPM: 20, encode: 180 * time.Millisecond, way: way, jitter: jitter, random: random}
	mic, cam := micTrack("anna"), camTrack("anna")
	sound, pictures := newSource(t, testmedia.Beep), newSource(t, testmedia.Flash)
	sound.ssrc, pictures.ssrc = 1, 2
	m := record(t, dir, map[*media.Track][]sent{
		&mic: inOrder(micD.send(sound.between(0, length)), micD.reports(sound, 700*time.Millisecond, length, 2*second)),
		&cam: inOrder(camD.send(pictures.between(0, length)), camD.reports(pictures, 700*time.Millisecond, length, 2*second)),
	})
	// off returns by how much flashes and beeps are further apart than they
	// were, at worst.
	off := func() (worst float64) {
		into, all := merged(t, dir, m, "anna", media.Camera)
		flashes, beeps := flashesAndBeeps(t, filepath.Join(into, all[0].Name))
		if len(flashes) < 235 || len(beeps) < 235 {
			t.Fatalf("%d flashes and %d beeps", len(flashes), len(beeps))
		}
		for i := range min(len(flashes), len(beeps)) {
			clip := time.Duration(i)*second + second/2
			truth := (camD.now(clip) - micD.now(clip)).Seconds()
			worst = max(worst, math.Abs(flashes[i]-beeps[i]-truth))
		}
		return worst
	}
	corrected := off()
	drift(&m, 0, 0)
	ignored := off()
	t.Logf("flashes and beeps are at most %.0f ms off; %.0f ms if drift were ignored", corrected*1000, ignored*1000)
	if corrected > 0.040 {
		t.Errorf("%.3f s out of sync", corrected)
	}
	if ignored < 0.060 {
		t.Errorf("the clocks did not drift: %.3f s", ignored)
	}
}

// drift gives the segments of a manifest a drift.
func drift(m *Manifest, mic, cam float64) {
	for i := range m.Segments {
		s := &m.Segments[i]
		s.DriftPPM = cam
		if s.Source == media.Microphone {
			s.DriftPPM = mic
		}
	}
}

// An hour of two clocks 400 ppm apart, on the axis alone: pictures and sound
// that belong together in session time are together in the file.
func TestDriftOverAnHourStaysBelowAFrame(t *testing.T) {
	mic := Segment{T0MS: 1000, DriftPPM: -200, DurationMS: 3_600_720}
	cam := Segment{T0MS: 1500, DriftPPM: 200, DurationMS: 3_599_280}
	a := newAxis(1000, clipsOf([]Segment{mic}, 0, maxSession))
	for minute := range 60 {
		session := 2000 + float64(minute)*60_000
		near(t, "file time", a.at(cam.SessionMS(cam.FileMS(session))), mic.FileMS(session), 0.001)
	}
	if got := a.at(mic.SessionMS(float64(mic.DurationMS))); math.Abs(got-float64(mic.DurationMS)) > 0.001 {
		t.Errorf("the last of the sound is at %v, not where its samples end", got)
	}
}

func TestSegmentsOfAMergedFileFollowEachOtherWithSilenceBetween(t *testing.T) {
	dir := t.TempDir()
	tracks := map[*media.Track][]sent{}
	for i, from := range []time.Duration{0, 10 * second} { // left, and came back after 4 s
		mic, cam := micTrack("anna"), camTrack("anna")
		mic.ID, cam.ID = mic.ID+strconv.Itoa(i), cam.ID+strconv.Itoa(i)
		mic.Session, cam.Session = mic.Session+strconv.Itoa(i), cam.Session+strconv.Itoa(i)
		tracks[&mic] = newSource(t, testmedia.Beep).between(from, from+6*second)
		tracks[&cam] = newSource(t, testmedia.Flash).between(from, from+6*second)
	}
	m := record(t, dir, tracks)
	if len(m.Segments) != 4 {
		t.Fatalf("segments are %+v", m.Segments)
	}
	into, all := merged(t, dir, m, "anna", media.Camera)
	if len(all) != 1 {
		t.Fatalf("%d files", len(all))
	}
	file := filepath.Join(into, all[0].Name)
	near(t, "duration", clean(t, file, 2), 16, 0.1)
	if worst := lipSync(t, file, 12); worst > 0.040 {
		t.Errorf("a beep is %.3f s from its flash", worst)
	}
	again, _ := merged(t, dir, m, "anna", media.Camera)
	first, err1 := os.ReadFile(file)
	second, err2 := os.ReadFile(filepath.Join(again, all[0].Name))
	if err1 != nil || err2 != nil || !bytes.Equal(first, second) {
		t.Error("the same recording gave other bytes")
	}
}

func TestCuesOfAMergedFilePointAtKeyframes(t *testing.T) {
	dir := t.TempDir()
	mic, cam := micTrack("anna"), camTrack("anna")
	m := record(t, dir, map[*media.Track][]sent{
		&mic: newSource(t, testmedia.Beep).between(0, 12*second), &cam: newSource(t, testmedia.Camera).between(0, 12*second),
	})
	all, err := Merges(m, "anna", media.Camera, opener(dir))
	if err != nil {
		t.Fatal(err)
	}
	blocks := all[0].blocks(opener(dir))
	layout := &mergeLayout{pictures: true, soundTrack: 2}
	var last block
	for {
		b, err := blocks.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if b.ms < last.ms || b.ms == last.ms && last.track == 1 && b.track == 2 {
			t.Fatalf("block of track %d at %d ms after one of track %d at %d ms", b.track, b.ms, last.track, last.ms)
		}
		layout.add(b)
		last = b
	}
	keyframes := 0
	for _, c := range layout.clusters {
		if c.keyframe {
			keyframes++
		}
	}
	if cues := layout.cues(0); keyframes < 4 || len(cues.CuePoint) != keyframes {
		t.Errorf("%d cues for %d clusters that begin with a keyframe", len(cues.CuePoint), keyframes)
	}
}

func TestMergedFilesAreCutWhereTheyMust(t *testing.T) {
	const hour = 3_600_000
	sound := Segment{File: "s", Source: media.Microphone, T0MS: 0, DurationMS: hour}
	vp8 := Segment{File: "v", Source: media.Camera, T0MS: 0, DurationMS: 1000_000}
	h264 := Segment{File: "h", Source: media.Camera, T0MS: 1000_500, DurationMS: 1000_000}
	late := Segment{File: "l", Source: media.Microphone, T0MS: hour + 11*60_000, DurationMS: 5000}
	formats := map[string]format{
		"s": {Codec: media.Opus}, "v": {Codec: media.VP8}, "h": {Codec: media.H264, CodecPrivate: []byte{1}}, "l": {Codec: media.Opus},
	}
	got := windows([]Segment{sound, late}, []Segment{vp8, h264}, formats)
	want := []window{{0, 1000_500}, {1000_500, late.T0MS}, {late.T0MS, math.Inf(1)}}
	if !slices.Equal(got, want) {
		t.Errorf("windows are %v, not %v", got, want)
	}
}

func TestAnotherCodecIsAnotherMergedFileAndTheSameCell(t *testing.T) {
	x264 := []string{"-profile:v", "baseline", "-preset", "ultrafast", "-x264-params", "aud=1:repeat-headers=1:scenecut=0:slices=1"}
	frames := encoded(t, "200x120", "libx264", x264...) // 3 s
	dir := t.TempDir()
	mic, first, second := micTrack("anna"), camTrack("anna"), camTrack("anna")
	second.ID, second.Codec = "t-anna-cam-2", media.H264
	m := record(t, dir, map[*media.Track][]sent{
		&mic: newSource(t, testmedia.Beep).between(0, 6*time.Second), &first: newSource(t, testmedia.Camera).between(0, 3*time.Second),
		&second: packets(&codecs.H264Payloader{}, frames, 3*time.Second, 70_000),
	})
	into, all := merged(t, dir, m, "anna", media.Camera)
	if len(all) != 2 || all[0].Name != "p1-cam-merged-1.webm" || all[1].Name != "p1-cam-merged-2.mkv" {
		t.Fatalf("merged into %+v", all)
	}
	for i, g := range all {
		near(t, "duration of "+g.Name, clean(t, filepath.Join(into, g.Name), 2), 3, 0.1)
		near(t, "session time of "+g.Name, g.T0MS, 3000*float64(i), 10)
	}
	streams, err := Streams(m, opener(dir))
	if err != nil || len(streams) != 3 {
		t.Fatalf("%d streams, %v", len(streams), err)
	}
	for i, s := range streams {
		if s.Source == media.Microphone {
			continue
		}
		near(t, "shown from", s.Shown[0].FromMS, 3000*float64(i-1), 50)
	}
	if _, err := Merges(m, "anna", media.Screen, opener(dir)); !errors.Is(err, ErrNothing) {
		t.Errorf("a screen that was not shared: %v", err)
	}
}

func TestALaterSegmentTakesThePlaceOfAnEarlierOne(t *testing.T) {
	clips := clipsOf([]Segment{
		{File: "new", T0MS: 5000, DurationMS: 4000}, {File: "old", T0MS: 0, DurationMS: 7000}, {File: "gone", T0MS: 5000, DurationMS: 0},
	}, 0, maxSession)
	if len(clips) != 2 || clips[0].to != 5000 || clips[1].from != 5000 || clips[1].to != 9000 {
		t.Errorf("clips are %+v", clips)
	}
}

func TestNothingToMergeIsSaid(t *testing.T) {
	dir := t.TempDir()
	mic := micTrack("anna")
	m := record(t, dir, map[*media.Track][]sent{&mic: newSource(t, testmedia.Beep).between(0, 3*second)})
	if _, err := Merges(m, "boris", media.Camera, opener(dir)); !errors.Is(err, ErrNothing) {
		t.Errorf("a participant that was not there: %v", err)
	}
	into, all := merged(t, dir, m, "anna", media.Camera) // sound alone is a file, too
	near(t, "duration", clean(t, filepath.Join(into, all[0].Name), 1), 3, 0.05)
}

func TestAMergeOfADamagedFileFailsAndLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	mic, cam := micTrack("anna"), camTrack("anna")
	m := record(t, dir, map[*media.Track][]sent{
		&mic: newSource(t, testmedia.Beep).between(0, 3*second), &cam: newSource(t, testmedia.Camera).between(0, 3*second),
	})
	name := filePath(dir, segmentOf(t, m, media.Camera))
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, append(data[:len(data)/2], bytes.Repeat([]byte{0xFF}, 200)...), 0o600); err != nil {
		t.Fatal(err)
	}
	all, err := Merges(m, "anna", media.Camera, opener(dir))
	if err != nil {
		t.Fatal(err)
	}
	_, err = PlaceExport(dir, testCall, all[0].Name, nil, func(w io.Writer) error {
		_, err := all[0].Write(t.Context(), w, opener(dir))
		return err
	})
	if !errors.Is(err, ErrDamaged) {
		t.Errorf("merge: %v", err)
	}
	if left, _ := os.ReadDir(filepath.Join(dir, recordingsDir, testCall, ExportsDir)); len(left) > 0 {
		t.Errorf("%v is left", left)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := all[0].Write(ctx, io.Discard, opener(dir)); !errors.Is(err, context.Canceled) {
		t.Errorf("a merge nobody waits for: %v", err)
	}
}

func TestAStreamBeginsAtTheCallsBeginning(t *testing.T) {
	dir := t.TempDir()
	mic, cam := micTrack("anna"), camTrack("anna")
	sound, pictures := newSource(t, testmedia.Beep).between(0, 4*second), newSource(t, testmedia.Flash).between(0, 4*second)
	for _, late := range [][]sent{sound, pictures} {
		for i := range late {
			late[i].at += 3 * second
		}
	}
	m := record(t, dir, map[*media.Track][]sent{&mic: sound, &cam: pictures})
	streams, err := Streams(m, opener(dir))
	if err != nil || len(streams) != 2 {
		t.Fatalf("%d streams, %v", len(streams), err)
	}
	for _, s := range streams {
		var out bytes.Buffer
		if err := s.Write(t.Context(), &out, opener(dir)); err != nil {
			t.Fatal(err)
		}
		near(t, "shown from", s.Shown[0].FromMS, 3000, 50)
		near(t, "shown to", s.Shown[0].ToMS, 7000, 50)
		r, err := newBlockReader(bytes.NewReader(out.Bytes()))
		if err != nil {
			t.Fatal(err)
		}
		b, err := r.next()
		if err != nil {
			t.Fatal(err)
		}
		if want := map[media.Source]float64{media.Microphone: 0, media.Camera: 3000}[s.Source]; math.Abs(float64(b.ms)-want) > 50 {
			t.Errorf("%s begins at %d ms, not %v", s.Source, b.ms, want)
		}
	}
}
