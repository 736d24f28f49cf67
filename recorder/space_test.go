package recorder

import (
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"consilium/internal/event"
	"consilium/internal/media"
	"consilium/internal/testmedia"
)

const mib = 1 << 20

func TestLevelsFollowTheFreeSpace(t *testing.T) {
	marks := Marks{Low: Mark{Percent: 15}, Hard: Mark{Percent: 5}, Critical: Mark{Percent: 1}}
	for name, tc := range map[string]struct {
		marks       Marks
		free, total uint64
		last, want  Level
	}{
		"plenty":                        {marks, 50_000, 100_000, LevelOK, LevelOK},
		"below low":                     {marks, 14_999, 100_000, LevelOK, LevelLow},
		"below hard":                    {marks, 4_999, 100_000, LevelOK, LevelHard},
		"below critical":                {marks, 999, 100_000, LevelLow, LevelCritical},
		"the last eighth":               {marks, 124, 100_000, LevelCritical, LevelFull},
		"nothing":                       {marks, 0, 100_000, LevelOK, LevelFull},
		"just above a mark stays":       {marks, 5_100, 100_000, LevelHard, LevelHard},
		"clearly above a mark":          {marks, 5_500, 100_000, LevelHard, LevelLow},
		"critical is 2 GiB at most":     {marks, 3 << 30, 1 << 40, LevelOK, LevelHard},
		"critical is no more than hard": {Marks{Hard: Mark{Bytes: 50}, Critical: Mark{Percent: 1}}, 60, 100_000, LevelOK, LevelOK},
		"low is no less than hard":      {Marks{Low: Mark{Bytes: 1}, Hard: Mark{Bytes: 50}}, 49, 100_000, LevelOK, LevelHard},
		"no marks, nothing free":        {Marks{}, 0, 100_000, LevelOK, LevelOK},
	} {
		t.Run(name, func(t *testing.T) {
			if got := tc.marks.level(tc.free, tc.total, tc.last); got != tc.want {
				t.Errorf("level is %v, not %v", got, tc.want)
			}
		})
	}
}

// disk is a disk whose free space the test says.
type disk struct{ free atomic.Uint64 }

// under puts the disk, of 1 GiB, under a recorder with marks of 150, 50 and 10
// MiB.
func (d *disk) under(free uint64) func(*Recorder) {
	d.free.Store(free)
	return func(r *Recorder) {
		r.volume.marks = Marks{Low: Mark{Bytes: 150 * mib}, Hard: Mark{Bytes: 50 * mib}, Critical: Mark{Bytes: 10 * mib}, Ballast: mib}
		r.volume.statfs = func(*os.Root) (free, total uint64, err error) { return d.free.Load(), 1 << 30, nil }
	}
}

// levels returns what the events recording.space said.
func (s *studio) levels() (levels []string) {
	for _, e := range s.count(event.RecordingSpace) {
		levels = append(levels, e.Data["level"].(string))
	}
	return levels
}

func TestAFillingDiskIsClimbedDownStepByStep(t *testing.T) {
	dir := t.TempDir()
	var d disk
	synctest.Test(t, func(t *testing.T) {
		s := newStudio(t, dir, d.under(500*mib))
		r := s.arm()
		begin := time.Now()
		for after, free := range map[time.Duration]uint64{
			10 * second: 100 * mib, 20 * second: 40 * mib, 30 * second: 5 * mib, 50 * second: 0, 70 * second: 500 * mib,
		} {
			time.AfterFunc(after, func() { d.free.Store(free) })
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			sink := r.Track(micTrack("anna"), nil)
			play(sink, newSource(t, testmedia.Beep).between(0, 100*second), begin)
			sink.End(media.EndLeft, time.Now())
		}()
		sink := r.Track(camTrack("anna"), nil)
		play(sink, newSource(t, testmedia.LargeCamera).between(0, 100*second), begin)
		sink.End(media.EndLeft, time.Now())
		<-done
		r.End(time.Now())
		s.close()
		if got, want := s.levels(), []string{"low", "hard", "critical", "full", "ok"}; !slices.Equal(got, want) {
			t.Errorf("levels are %v, not %v", got, want)
		}
		var lost, resumed []string
		for _, e := range s.count(event.RecordingFailed) {
			lost = append(lost, e.Data["source"].(string))
			if e.Code != event.DiskFull {
				t.Errorf("code %s", e.Code)
			}
		}
		for _, e := range s.count(event.RecordingStarted) {
			if e.Data["resumed"] == true {
				resumed = append(resumed, e.Data["source"].(string))
			}
		}
		slices.Sort(resumed)
		if !slices.Equal(lost, []string{"cam", "mic"}) || !slices.Equal(resumed, []string{"cam", "mic"}) {
			t.Errorf("lost %v, resumed %v", lost, resumed)
		}
	})
	m, err := Show(dir, testCall)
	if err != nil {
		t.Fatal(err)
	}
	if m.State != Final || len(m.Segments) != 4 {
		t.Fatalf("%s with %d segments", m.State, len(m.Segments))
	}
	for _, s := range m.Segments {
		probe(t, filePath(dir, s))
		first := s.T0MS < 1000
		if first != (s.Error == event.DiskFull) || s.State != Final {
			t.Errorf("%s at %.0f ms is %s with error %q", s.File, s.T0MS, s.State, s.Error)
		}
		switch { // the disk is measured every five seconds
		case first && s.Source == media.Camera:
			near(t, "end of the picture", float64(s.DurationMS), 32_500, 3000)
		case first:
			near(t, "end of the sound", float64(s.DurationMS), 52_500, 3000)
		default:
			near(t, "begin of "+string(s.Source), s.T0MS, 73_500, 4500)
		}
	}
}

func TestWhoPublishesOnAFullDiskIsToldAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d disk
		s := newStudio(t, t.TempDir(), d.under(500*mib))
		r := s.arm()
		d.free.Store(5 * mib)
		<-time.After(2 * spaceInterval)
		sink := r.Track(camTrack("anna"), func() { t.Error("a keyframe was asked for that nobody writes") })
		play(sink, newSource(t, testmedia.Camera).between(0, 5*second), time.Now())
		sink.End(media.EndLeft, time.Now())
		r.End(time.Now())
		s.close()
		if e := s.count(event.RecordingFailed); len(e) != 1 || e[0].Code != event.DiskFull {
			t.Errorf("events are %+v", e)
		}
		if e := s.count(event.RecordingStarted); len(e) != 0 {
			t.Errorf("events are %+v", e)
		}
	})
}

func TestFilesAreFinalisedWhenThereIsSpaceForThem(t *testing.T) {
	dir := t.TempDir()
	var d disk
	synctest.Test(t, func(t *testing.T) {
		s := newStudio(t, dir, d.under(500*mib))
		r := s.arm()
		sink := r.Track(micTrack("anna"), nil)
		play(sink, newSource(t, testmedia.Beep).between(0, 5*second), time.Now())
		d.free.Store(10 * mib) // what running calls need
		<-time.After(2 * spaceInterval)
		sink.End(media.EndLeft, time.Now())
		r.End(time.Now())
		<-time.After(time.Minute)
		if n := len(s.count(event.RecordingReady)); n != 0 {
			t.Error("a file was finalised with what running calls need")
		}
		d.free.Store(500 * mib)
		<-time.After(2 * spaceInterval)
		synctest.Wait()
		if n := len(s.count(event.RecordingReady)); n != 1 {
			t.Errorf("%d recordings are ready", n)
		}
		s.close()
	})
	if m, err := Show(dir, testCall); err != nil || m.State != Final {
		t.Errorf("%s, %v", m.State, err)
	}
}

func TestAStopDoesNotWaitForSpace(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var d disk
		s := newStudio(t, dir, d.under(500*mib))
		r := s.arm()
		sink := r.Track(micTrack("anna"), nil)
		play(sink, newSource(t, testmedia.Beep).between(0, 5*second), time.Now())
		d.free.Store(10 * mib)
		<-time.After(2 * spaceInterval)
		begin := time.Now()
		s.close()
		if d := time.Since(begin); d > second {
			t.Errorf("the stop took %v", d)
		}
	})
	synctest.Test(t, func(t *testing.T) { // the next start finishes it
		s := newStudio(t, dir)
		<-time.After(second)
		s.close()
	})
	if m, err := Show(dir, testCall); err != nil || m.State != Recovered || len(m.Segments) != 1 || m.Segments[0].State != Recovered {
		t.Errorf("%+v, %v", m, err)
	}
}

func TestTheBallastGoesWhenTheDiskIsFullAndComesBack(t *testing.T) {
	dir := t.TempDir()
	size := func() int64 {
		info, err := os.Stat(filepath.Join(dir, ballastName))
		if err != nil {
			return 0
		}
		return info.Size()
	}
	synctest.Test(t, func(t *testing.T) {
		var d disk
		s := newStudio(t, dir, d.under(500*mib))
		defer s.close()
		for _, step := range []struct {
			free uint64
			want int64
		}{{500 * mib, mib}, {5 * mib, mib}, {mib, 0}, {30 * mib, 0}, {500 * mib, mib}} {
			d.free.Store(step.free)
			<-time.After(2 * spaceInterval)
			synctest.Wait()
			if got := size(); got != step.want {
				t.Errorf("with %d MiB free the ballast has %d bytes, not %d", step.free/mib, got, step.want)
			}
		}
	})
}

func TestTheBallastIsNotMoreThanASmallDiskCanSpare(t *testing.T) {
	marks := Marks{Ballast: 256 * mib}
	if got := marks.ballast(64 * mib); got != mib {
		t.Errorf("of 64 MiB it takes %d", got)
	}
	if got := marks.ballast(1 << 40); got != 256*mib {
		t.Errorf("of 1 TiB it takes %d", got)
	}
}
