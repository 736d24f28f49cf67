package recorder

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"consilium/internal/event"
	"consilium/internal/media"
)

const testCall = "c0ffee"

// studio is a running recorder with its events. It lives in a synctest bubble:
// a minute of media takes a moment.
type studio struct {
	t        testing.TB
	dir      string
	recorder *Recorder
	stop     context.CancelFunc
	done     chan error

	mu     sync.Mutex
	events []event.Event
}

func newStudio(t testing.TB, dir string, change ...func(*Recorder)) *studio {
	t.Helper()
	s := &studio{t: t, dir: dir, done: make(chan error, 1)}
	r, err := New(Config{Dir: dir, Version: "test", Events: event.Func(func(e event.Event) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.events = append(s.events, e)
	}), Log: slog.New(slog.NewTextHandler(testLog{t}, nil))})
	if err != nil {
		t.Fatal(err)
	}
	r.volume.write = func() error { return nil } // hours of a bubble would try the disk for minutes
	for _, c := range change {
		c(r)
	}
	s.recorder = r
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	go func() { s.done <- r.Run(ctx) }()
	return s
}

type testLog struct{ t testing.TB }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Logf("%s", bytes.TrimSpace(p))
	return len(p), nil
}

func (s *studio) arm() *Recording {
	s.t.Helper()
	r, err := s.recorder.Arm(context.Background(), media.Call{
		ID: testCall, Room: "room-1", ExternalID: "visit-7", Metadata: map[string]string{"ward": "3"}, Started: time.Now(),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// close stops the recorder, which finalises everything.
func (s *studio) close() {
	s.t.Helper()
	s.stop()
	if err := <-s.done; err != nil {
		s.t.Errorf("Run: %v", err)
	}
}

// count returns the events of a type.
func (s *studio) count(t event.Type) []event.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []event.Event
	for _, e := range s.events {
		if e.Type == t {
			found = append(found, e)
		}
	}
	return found
}

// record plays packets into tracks of one call, all from one instant on, and
// returns the manifest.
func record(t *testing.T, dir string, tracks map[*media.Track][]sent) Manifest {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newStudio(t, dir)
		r := s.arm()
		begin := time.Now()
		var wg sync.WaitGroup
		for track, packets := range tracks {
			wg.Go(func() {
				sink := r.Track(*track, nil)
				play(sink, packets, begin)
				sink.End(media.EndUnpublished, time.Now())
			})
		}
		wg.Wait()
		r.End(time.Now())
		synctest.Wait()
		s.close()
		ready := s.count(event.RecordingReady)
		if len(ready) != 1 {
			t.Errorf("%d events recording.ready, not one", len(ready))
		}
	})
	m, err := Show(dir, testCall)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func segmentOf(t testing.TB, m Manifest, source media.Source) Segment {
	t.Helper()
	for _, s := range m.Segments {
		if s.Source == source {
			return s
		}
	}
	t.Fatalf("no segment of %s in %+v", source, m.Segments)
	return Segment{}
}

func filePath(dir string, s Segment) string {
	return filepath.Join(dir, recordingsDir, testCall, s.File)
}

// blocksOf reads the frames of a file.
func blocksOf(t testing.TB, name string) []block {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := newBlockReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var blocks []block
	for {
		b, err := r.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		blocks = append(blocks, b)
	}
	if r.damage > 0 {
		t.Errorf("%s: %d places damaged", name, r.damage)
	}
	return blocks
}

type probed struct {
	codec         string
	duration      float64 // s
	frames        int
	width, height int
}

// probe asks ffprobe about a file and decodes it: any complaint fails the test.
func probe(t testing.TB, name string) probed {
	t.Helper()
	out := run(t, "ffprobe", "-v", "error", "-count_packets", "-show_entries",
		"format=duration:stream=codec_name,nb_read_packets,width,height", "-of", "json", name)
	var v struct {
		Streams []struct {
			CodecName     string `json:"codec_name"`
			NbReadPackets string `json:"nb_read_packets"`
			Width, Height int
		}
		Format struct{ Duration string }
	}
	if err := json.Unmarshal([]byte(out), &v); err != nil || len(v.Streams) != 1 {
		t.Fatalf("ffprobe said %q: %v", out, err)
	}
	p := probed{codec: v.Streams[0].CodecName, width: v.Streams[0].Width, height: v.Streams[0].Height}
	p.duration, _ = strconv.ParseFloat(v.Format.Duration, 64)
	p.frames, _ = strconv.Atoi(v.Streams[0].NbReadPackets)
	if complaint := decode(t, name); complaint != "" {
		t.Errorf("%s does not decode cleanly: %s", filepath.Base(name), complaint)
	}
	return p
}

// decode decodes a file and returns what ffmpeg complained of.
func decode(t testing.TB, name string) string {
	return strings.TrimSpace(run(t, "ffmpeg", "-v", "error", "-i", name, "-f", "null", "-"))
}

func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		t.Fatalf("this test needs %s (Debian package ffmpeg)", name)
	}
	if err != nil {
		t.Fatalf("%s: %v: %s", name, err, out)
	}
	return string(out)
}

// often is how often something is tried at random: a tenth in short tests, which
// are for the race detector.
func often(n int) int {
	if testing.Short() {
		return n / 10
	}
	return n
}

func near(t testing.TB, what string, got, want, tolerance float64) {
	t.Helper()
	if math.Abs(got-want) > tolerance {
		t.Errorf("%s is %.3f, not %.3f +- %.3f", what, got, want, tolerance)
	}
}
