package recorder

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"consilium/internal/event"
	"consilium/internal/media"
	"consilium/internal/testmedia"
)

const second = time.Second

func TestFilesHoldEverythingThatWasSent(t *testing.T) {
	dir := t.TempDir()
	mic, cam := newSource(t, testmedia.Beep), newSource(t, testmedia.LargeCamera)
	micT, camT := micTrack("anna"), camTrack("anna")
	m := record(t, dir, map[*media.Track][]sent{&micT: mic.between(0, 20*second), &camT: cam.between(0, 20*second)})

	if m.State != Final || m.Call != testCall || m.Room != "room-1" || m.ExternalID != "visit-7" || m.Metadata["ward"] != "3" {
		t.Errorf("manifest says %+v", m)
	}
	for source, want := range map[media.Source]probed{
		media.Microphone: {codec: "opus", duration: 20, frames: mic.frames},
		media.Camera:     {codec: "vp8", duration: 20, frames: cam.frames, width: 640, height: 360},
	} {
		s := segmentOf(t, m, source)
		got := probe(t, filePath(dir, s))
		near(t, "duration of "+s.File, got.duration, want.duration, 0.05)
		got.duration = want.duration
		if got != want {
			t.Errorf("%s is %+v, not %+v", s.File, got, want)
		}
		data, err := os.ReadFile(filePath(dir, s))
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(data)
		if s.SHA256 != hex.EncodeToString(sum[:]) || s.Bytes != int64(len(data)) {
			t.Errorf("%s: checksum or size of the manifest are wrong", s.File)
		}
		if s.State != Final || s.PacketsLost != 0 || s.SilenceFilledMS != 0 || s.Frames != int64(want.frames) {
			t.Errorf("segment says %+v", s)
		}
		near(t, "t0", s.T0MS, 0, 5)
	}
	if left, _ := os.ReadDir(filepath.Join(dir, spoolDir)); len(left) > 0 {
		t.Errorf("spool is not empty: %v", left)
	}
}

func TestModesAreForTheServerOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	mic, track := newSource(t, testmedia.Beep), micTrack("anna")
	record(t, dir, map[*media.Track][]sent{&track: mic.between(0, second)})
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		want := fileMode
		if d.IsDir() {
			want = dirMode
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %o", name, info.Mode().Perm())
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// sameFrames compares two files frame by frame.
func sameFrames(t *testing.T, got, want string) {
	t.Helper()
	equal := func(a, b block) bool {
		return a.ms == b.ms && a.keyframe == b.keyframe && bytes.Equal(a.data, b.data)
	}
	if g, w := blocksOf(t, got), blocksOf(t, want); !slices.EqualFunc(g, w, equal) {
		t.Errorf("%d frames differ from the %d of the clean run", len(g), len(w))
	}
}

func TestDisorderLeavesNoTrace(t *testing.T) {
	tests := map[string]func(*source) []sent{
		"reordered by up to 200 ms": func(s *source) []sent {
			packets := s.between(0, 6*second)
			for i := range packets {
				if i%7 == 3 {
					packets[i].at += time.Duration(i%10) * 20 * time.Millisecond
				}
			}
			return inOrder(packets)
		},
		"duplicates": func(s *source) []sent {
			packets := s.between(0, 6*second)
			var twice []sent
			for i, p := range packets {
				if i%5 == 0 {
					twice = append(twice, sent{at: p.at + 50*time.Millisecond, packet: again(p.packet)})
				}
			}
			return inOrder(packets, twice)
		},
		"sequence and timestamp wrap in the first second": func(s *source) []sent {
			s.seq, s.rtp = 1<<16+65530, 1<<32-20_000
			return s.between(0, 6*second)
		},
		"padding that is lost": func(s *source) []sent {
			packets := s.between(0, 6*second)
			extra := int64(0)
			for i := range packets {
				packets[i].packet.Sequence += extra
				if s.clip.MimeType != testmedia.MimeOpus && packets[i].packet.Header.Marker && i%11 == 0 {
					extra += 3
				}
			}
			return packets
		},
		"padding-only packets": func(s *source) []sent { return padded(s.between(0, 6*second), 0) },
		"padding of which some is lost": func(s *source) []sent {
			if s.clip.MimeType == testmedia.MimeOpus { // audio is not padded
				return s.between(0, 6*second)
			}
			return padded(s.between(0, 6*second), 3)
		},
	}
	clean := t.TempDir()
	micT, camT := micTrack("anna"), camTrack("anna")
	want := record(t, clean, map[*media.Track][]sent{
		&micT: newSource(t, testmedia.Beep).between(0, 6*second), &camT: newSource(t, testmedia.Camera).between(0, 6*second),
	})
	for name, disturb := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			got := record(t, dir, map[*media.Track][]sent{
				&micT: disturb(newSource(t, testmedia.Beep)), &camT: disturb(newSource(t, testmedia.Camera)),
			})
			for _, source := range []media.Source{media.Microphone, media.Camera} {
				s := segmentOf(t, got, source)
				sameFrames(t, filePath(dir, s), filePath(clean, segmentOf(t, want, source)))
				if s.PacketsLost != 0 {
					t.Errorf("%d packets counted as lost", s.PacketsLost)
				}
			}
		})
	}
}

func TestLossLeavesNothingUndecodable(t *testing.T) {
	dir := t.TempDir()
	lose := func(packets []sent) (kept []sent, lost int) {
		for i, p := range packets {
			if i > 0 && i < len(packets)-1 && i*2654435761%100 < 5 {
				lost++
				continue
			}
			kept = append(kept, p)
		}
		return kept, lost
	}
	micT, camT := micTrack("anna"), camTrack("anna")
	mic, micLost := lose(newSource(t, testmedia.Beep).between(0, 18*second))
	cam, camLost := lose(newSource(t, testmedia.LargeCamera).between(0, 18*second))
	m := record(t, dir, map[*media.Track][]sent{&micT: mic, &camT: cam})
	for source, lost := range map[media.Source]int{media.Microphone: micLost, media.Camera: camLost} {
		s := segmentOf(t, m, source)
		got := probe(t, filePath(dir, s)) // complains of a damaged picture
		if s.PacketsLost != int64(lost) {
			t.Errorf("%s: %d packets lost, counted %d", source, lost, s.PacketsLost)
		}
		if source == media.Microphone {
			near(t, "duration of sound", got.duration, 18, 0.05)
			near(t, "silence for lost packets", float64(s.SilenceFilledMS), float64(20*lost), 1)
		}
		if source == media.Camera && len(s.Gaps) == 0 {
			t.Error("no gap is listed")
		}
	}
}

func TestMuteKeepsFileTimeEqualToCallTime(t *testing.T) {
	for name, clockStops := range map[string]bool{"RTP clock runs": false, "RTP clock stops": true} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			tracks := map[*media.Track][]sent{}
			micT, camT := micTrack("anna"), camTrack("anna")
			for track, load := range map[*media.Track]func() (*testmedia.Clip, error){&micT: testmedia.Beep, &camT: testmedia.Flash} {
				s := newSource(t, load)
				before := s.between(0, 5*second)
				if clockStops {
					s.stopped = 10 * second
				}
				tracks[track] = append(before, s.between(15*second, 20*second)...)
			}
			m := record(t, dir, tracks)
			for _, source := range []media.Source{media.Microphone, media.Camera} {
				s := segmentOf(t, m, source)
				got := probe(t, filePath(dir, s))
				near(t, "duration", got.duration, 20, 0.1)
				if len(s.Gaps) != 1 {
					t.Fatalf("gaps are %+v", s.Gaps)
				}
				near(t, "begin of the gap", float64(s.Gaps[0].MS), 5000, 50)
				near(t, "length of the gap", float64(s.Gaps[0].DurationMS), 10000, 100)
			}
			near(t, "silence", float64(segmentOf(t, m, media.Microphone).SilenceFilledMS), 10000, 100)
		})
	}
}

func TestANetworkThatStoodStillIsNotTakenForAStoppedClock(t *testing.T) {
	dir := t.TempDir()
	mic, track := newSource(t, testmedia.Beep), micTrack("anna")
	packets := mic.between(0, 15*second)
	for i := range packets {
		if at := packets[i].at; at > 5*second && at < 8*second {
			packets[i].at = 8*second + at/1000 // all at once
		}
	}
	m := record(t, dir, map[*media.Track][]sent{&track: packets})
	s := segmentOf(t, m, media.Microphone)
	near(t, "duration", probe(t, filePath(dir, s)).duration, 15, 0.05)
	if s.SilenceFilledMS != 0 {
		t.Errorf("%d ms of silence put in", s.SilenceFilledMS)
	}
}

func TestDiscontinuousTransmissionIsFilledWithSilence(t *testing.T) {
	dir := t.TempDir()
	mic, track := newSource(t, testmedia.Beep), micTrack("anna")
	var packets []sent
	for i, p := range mic.between(0, 20*second) {
		if i%20 != 0 && p.at > 2*second && p.at < 18*second {
			continue // one packet in 400 ms
		}
		p.packet.Sequence = 1<<16 + int64(len(packets))
		packets = append(packets, p)
	}
	m := record(t, dir, map[*media.Track][]sent{&track: packets})
	s := segmentOf(t, m, media.Microphone)
	got := probe(t, filePath(dir, s))
	near(t, "duration", got.duration, 20, 0.05)
	if got.frames != 1000 || s.PacketsLost != 0 || len(s.Gaps) != 0 {
		t.Errorf("%d frames, segment %+v", got.frames, s)
	}
	// Chromium counts samples and ignores timestamps: there must be no hole.
	end := int64(0)
	for _, b := range blocksOf(t, filePath(dir, s)) {
		if b.ms-end > 1 {
			t.Fatalf("hole from %d to %d ms", end, b.ms)
		}
		end = b.ms + opusDuration(b.data)/48
	}
}

func TestResolutionMayChangeInsideAFile(t *testing.T) {
	dir := t.TempDir()
	large, small, track := newSource(t, testmedia.LargeCamera), newSource(t, testmedia.Camera), camTrack("anna")
	packets := large.between(0, 6*second)
	small.seq = large.seq
	m := record(t, dir, map[*media.Track][]sent{&track: append(packets, small.between(6*second, 12*second)...)})
	s := segmentOf(t, m, media.Camera)
	got := probe(t, filePath(dir, s))
	near(t, "duration", got.duration, 12, 0.1)
	if len(m.Segments) != 1 || s.Width != 640 || len(s.Sizes) != 1 || s.Sizes[0].Width != 320 || s.Sizes[0].MS != 6000 {
		t.Errorf("segments are %+v", m.Segments)
	}
}

func TestATrackWithoutAFrameHasNoFile(t *testing.T) {
	dir := t.TempDir()
	cam, camT, micT := newSource(t, testmedia.Camera), camTrack("anna"), micTrack("boris")
	// No keyframe ever comes.
	m := record(t, dir, map[*media.Track][]sent{&camT: cam.between(0, 3*second)[1:40], &micT: nil})
	if len(m.Segments) != 0 || len(m.Tracks) != 2 || len(m.Participants) != 2 {
		t.Errorf("manifest says %+v", m)
	}
	for _, tr := range m.Tracks {
		if tr.EndedMS == nil || tr.EndReason != media.EndUnpublished || tr.Frames != 0 {
			t.Errorf("track says %+v", tr)
		}
	}
	entries, err := os.ReadDir(filepath.Join(dir, recordingsDir, testCall))
	if err != nil || len(entries) != 1 {
		t.Errorf("directory holds %v (%v)", entries, err)
	}
}

func TestKeyframesAreAskedForAtMostOnceASecond(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := newStudio(t, dir)
		r := s.arm()
		var asked []time.Time
		begin := time.Now()
		cam := newSource(t, testmedia.Camera)
		packets := cam.between(0, 3*second)[1:] // without the keyframe
		sink := r.Track(camTrack("anna"), func() { asked = append(asked, time.Now()) })
		play(sink, packets, begin)
		sink.End(media.EndLeft, time.Now())
		r.End(time.Now())
		s.close()
		if len(asked) != 3 || asked[0].Sub(begin) > 500*time.Millisecond {
			t.Errorf("asked %d times: %v", len(asked), asked)
		}
		for i := 1; i < len(asked); i++ {
			if asked[i].Sub(asked[i-1]) < second {
				t.Errorf("asked again after %v", asked[i].Sub(asked[i-1]))
			}
		}
	})
}

func TestEventsTellTheLifeOfARecording(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := newStudio(t, dir)
		r := s.arm()
		r.Note(event.Event{Type: event.ConsentGiven, Participant: "anna", Time: time.Now(), Data: map[string]any{"text": "v1"}})
		r.Note(event.Event{Type: event.NoteCandidate, Participant: "anna", Time: time.Now()})
		sink := r.Track(micTrack("anna"), nil)
		play(sink, newSource(t, testmedia.Beep).between(0, 2*second), time.Now())
		sink.End(media.EndLeft, time.Now())
		ended := time.Now()
		r.End(ended)
		synctest.Wait()
		ready := s.count(event.RecordingReady)
		if len(s.count(event.RecordingArmed)) != 1 || len(s.count(event.RecordingStarted)) != 1 || len(ready) != 1 {
			t.Fatalf("events are %+v", s.events)
		}
		for _, e := range s.events {
			if e.Call != testCall || e.Room != "room-1" || e.ExternalID != "visit-7" || e.Metadata["ward"] != "3" || e.Time.IsZero() {
				t.Errorf("event lacks what every event has: %+v", e)
			}
		}
		files, _ := ready[0].Data["files"].([]map[string]any)
		if len(files) != 1 || files[0]["name"] != "p1-mic-1.webm" || files[0]["participant"] != "anna" || files[0]["duration_ms"] != int64(2000) {
			t.Errorf("files are %+v", files)
		}
		s.close()
	})
	m, err := Show(dir, testCall)
	if err != nil || len(m.Consents) != 1 || !m.Consents[0].Given || len(m.Events) != 1 {
		t.Errorf("manifest says %+v (%v)", m, err)
	}
}

func TestALongTrackIsCutIntoFilesThatFollowEachOther(t *testing.T) {
	dir := t.TempDir()
	mic, track := newSource(t, testmedia.Beep), micTrack("anna")
	var packets []sent
	for i := range 65 * 60 * 2 { // a packet every 500 ms
		at := time.Duration(i) * 500 * time.Millisecond
		packets = append(packets, mic.frame(mic.clip.Frames[i%50], at)...)
	}
	m := record(t, dir, map[*media.Track][]sent{&track: packets})
	if len(m.Segments) != 2 {
		t.Fatalf("segments are %+v", m.Segments)
	}
	near(t, "t0 of the second file", m.Segments[1].T0MS, 3_600_000, 10)
	near(t, "length of the first file", float64(m.Segments[0].DurationMS), 3_600_000, 10) // filled up to the next
	near(t, "length of the second file", probe(t, filePath(dir, m.Segments[1])).duration, 299.52, 0.05)
}

func TestAVeryLongSilenceEndsTheFile(t *testing.T) {
	dir := t.TempDir()
	mic, track := newSource(t, testmedia.Beep), micTrack("anna")
	packets := append(mic.between(0, 3*second), mic.between(18*time.Minute, 18*time.Minute+3*second)...)
	m := record(t, dir, map[*media.Track][]sent{&track: packets})
	if len(m.Segments) != 2 {
		t.Fatalf("segments are %+v", m.Segments)
	}
	for i, want := range []struct{ t0, length float64 }{{0, 603_000}, {18 * 60_000, 3000}} {
		near(t, "t0", m.Segments[i].T0MS, want.t0, 10)
		near(t, "length", float64(m.Segments[i].DurationMS), want.length, 10)
	}
}
