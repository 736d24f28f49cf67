package recorder

import (
	"testing"
	"time"
	"unsafe"

	"consilium/internal/event"
	"consilium/internal/media"
	"consilium/internal/testmedia"
)

// set returns the reading that t would be had the wall clock been set by d
// before, while the monotonic clock went on. Package time has no way to say
// that; the layout of its readings is that of Go's time.Time.
func set(t *testing.T, at time.Time, d time.Duration) time.Time {
	t.Helper()
	const monotonic, secondsShift = 1 << 63, 30
	reading := (*struct {
		wall uint64
		ext  int64
		loc  *time.Location
	})(unsafe.Pointer(&at))
	before := at.Round(0)
	if reading.wall&monotonic == 0 {
		t.Fatal("a time without a monotonic reading")
	}
	reading.wall += uint64(int64(d/time.Second)) << secondsShift
	if got := at.Round(0).Sub(before); got != d || reading.wall&monotonic == 0 {
		t.Fatalf("the wall clock was set by %v, not %v", got, d)
	}
	return at
}

func TestAStepOfTheWallClockIsNoticed(t *testing.T) {
	var c wallClock
	begin := time.Now()
	tests := []struct {
		passed, wall, want time.Duration
	}{
		{0, 0, 0},
		{2 * time.Second, 0, 0},
		{4 * time.Second, time.Hour, time.Hour},
		{6 * time.Second, time.Hour, 0},
		{8 * time.Second, -time.Hour, -2 * time.Hour},
	}
	for _, v := range tests {
		if got := c.stepped(set(t, begin.Add(v.passed), v.wall)); got != v.want {
			t.Errorf("after %v the step is %v, not %v", v.passed, got, v.want)
		}
	}
	if got := c.stepped(begin.Add(10 * time.Second)); got != time.Hour {
		t.Errorf("the step back is %v", got)
	}
}

func TestAStepOfTheServersClockMovesNothing(t *testing.T) {
	for name, step := range map[string]time.Duration{"an hour ahead": time.Hour, "an hour back": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := newStudio(t, dir)
			begin := time.Now().Add(-6 * second) // nothing needs to be waited for
			r, err := s.recorder.Arm(t.Context(), media.Call{ID: testCall, Started: begin})
			if err != nil {
				t.Fatal(err)
			}
			read := func(at time.Duration) time.Time { // the server's clock
				if at >= 3*second {
					return set(t, begin.Add(at), step)
				}
				return begin.Add(at)
			}
			for track, load := range map[media.Track]func() (*testmedia.Clip, error){
				micTrack("anna"): testmedia.Beep, camTrack("anna"): testmedia.Camera,
			} {
				sink := r.Track(track, nil)
				for _, p := range newSource(t, load).between(0, 6*second) {
					p.packet.Arrival = read(p.at)
					sink.WritePacket(p.packet)
				}
				sink.End(media.EndLeft, read(6*second))
			}
			s.recorder.noteClock(step)
			r.Note(event.Event{Type: event.ParticipantLeft, Participant: "anna", Time: read(6 * second)})
			r.End(read(6 * second))
			s.close()
			m, err := Show(dir, testCall)
			if err != nil {
				t.Fatal(err)
			}
			for _, source := range []media.Source{media.Microphone, media.Camera} {
				s := segmentOf(t, m, source)
				near(t, "t0 of "+s.File, s.T0MS, 0, 1)
				near(t, "length of "+s.File, float64(s.DurationMS), 6000, 70)
				if len(s.Gaps) > 0 || s.SilenceFilledMS > 0 {
					t.Errorf("gaps of %s are %+v, %d ms of silence", s.File, s.Gaps, s.SilenceFilledMS)
				}
			}
			last := map[event.Type]Entry{}
			for _, e := range m.Events {
				last[e.Type] = e
			}
			if e := last[event.NoteClock]; e.Data["step_ms"] != float64(step.Milliseconds()) {
				t.Errorf("the step is not listed: %+v", m.Events)
			}
			near(t, "leaving", float64(last[event.ParticipantLeft].MS), 6000, 1)
			near(t, "end", float64(m.Ended.Sub(m.Started).Milliseconds()), 6000, 1)
		})
	}
}
