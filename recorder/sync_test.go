package recorder

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"consilium/internal/media"
	"consilium/internal/testmedia"
)

// reports returns sender reports of a source, once a second: its wall clock is
// off by skew, its media are on their way for delay.
func reports(s *source, skew, delay, until time.Duration, begin time.Time) []media.SenderReport {
	var out []media.SenderReport
	const ntpOfBegin = int64(3_900_000_000) * int64(time.Second)
	for at := 500 * time.Millisecond; at < until; at += second {
		ns := ntpOfBegin + int64(skew+at)
		sec, frac := ns/int64(time.Second), ns%int64(time.Second)
		out = append(out, media.SenderReport{
			Arrival: begin.Add(at + delay),
			NTP:     uint64(sec)<<32 | uint64(frac)<<32/uint64(time.Second),
			RTP:     s.rtp + uint32(int64(at)*int64(s.clip.ClockRate)/int64(time.Second)),
		})
	}
	return out
}

func TestSenderReportsPutLipsInSync(t *testing.T) {
	for name, skew := range map[string]time.Duration{
		"right clock": 0, "clock off by years": -5 * 365 * 24 * time.Hour, "clock ahead": 90 * time.Minute,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				s := newStudio(t, dir)
				r := s.arm()
				begin := time.Now()
				var wg sync.WaitGroup
				// The camera's encoder and pacer take 180 ms longer.
				for track, v := range map[media.Track]struct {
					load  func() (*testmedia.Clip, error)
					delay time.Duration
				}{
					micTrack("anna"): {testmedia.Beep, 30 * time.Millisecond},
					camTrack("anna"): {testmedia.Flash, 210 * time.Millisecond},
				} {
					wg.Go(func() {
						src := newSource(t, v.load)
						packets := src.between(0, 6*second)
						for i := range packets {
							packets[i].at += v.delay
						}
						sink := r.Track(track, nil)
						for _, sr := range reports(src, skew, v.delay, 6*second, begin) {
							wg.Go(func() {
								<-time.After(time.Until(sr.Arrival))
								sink.WriteSenderReport(sr)
							})
						}
						play(sink, packets, begin)
						sink.End(media.EndLeft, time.Now())
					})
				}
				wg.Wait()
				r.End(time.Now())
				s.close()
			})
			m, err := Show(dir, testCall)
			if err != nil {
				t.Fatal(err)
			}
			mic, cam := segmentOf(t, m, media.Microphone), segmentOf(t, m, media.Camera)
			near(t, "arrival of the camera", cam.Clock.ArrivalMS-mic.Clock.ArrivalMS, 180, 2)
			near(t, "camera after microphone", cam.T0MS-mic.T0MS, 0, 2)
			near(t, "t0 on the server's clock", mic.T0MS, 30, 2)
			if mic.T0Source != T0SenderReport || cam.Clock.Reports == 0 {
				t.Errorf("segments are %+v and %+v", mic, cam)
			}
		})
	}
}

func TestAnInsaneSenderClockIsNotBelieved(t *testing.T) {
	segments := []Segment{
		{Session: "s", Clock: &Clock{ArrivalMS: 100, ReportMS: 90, NTP: 5e9, Reports: 3}},
		{Session: "s", Clock: &Clock{ArrivalMS: 120, ReportMS: 115, NTP: 90e9, Reports: 3}}, // stepped between the two
		{Session: "other", Clock: &Clock{ArrivalMS: 50}},
		{Session: "s"},
		{Session: "mad", Clock: &Clock{ArrivalMS: 9000, ReportMS: 200, NTP: 1e9, Reports: 9}},
	}
	place(segments)
	for i, want := range map[int]float64{0: 90, 1: 115} {
		if s := segments[i]; s.T0Source != T0SenderReport || s.T0MS != want {
			t.Errorf("placed at %v by %s, not by its own reports", s.T0MS, s.T0Source)
		}
	}
	if s := segments[4]; s.T0Source != T0Arrival || s.T0MS != 9000 {
		t.Errorf("placed at %v by %s against all arrivals", s.T0MS, s.T0Source)
	}
	if s := segments[2]; s.T0Source != T0Arrival || s.T0MS != 50 {
		t.Errorf("placed at %v by %s", s.T0MS, s.T0Source)
	}
}

func TestT0IsTheLeastDelayedArrival(t *testing.T) {
	dir := t.TempDir()
	mic, track := newSource(t, testmedia.Beep), micTrack("anna")
	packets := mic.between(0, 5*second)
	for i := range packets {
		packets[i].at += 40 * time.Millisecond
		if i%10 != 7 {
			packets[i].at += time.Duration(30+i%5*10) * time.Millisecond // jitter
		}
	}
	m := record(t, dir, map[*media.Track][]sent{&track: inOrder(packets)})
	near(t, "t0", segmentOf(t, m, media.Microphone).T0MS, 40, 1)
}

func TestSevenHoursOfVideoTimeDoNotOverflow(t *testing.T) {
	tl := timeline{rate: 90_000}
	begin := time.Now()
	var a assembler
	last := time.Duration(-1)
	for at := time.Duration(0); at < 30*time.Hour; at += 5 * time.Second {
		rtp := a.time.Unwrap(uint32(int64(at/time.Second)*90_000 + 1<<31))
		for _, p := range tl.push(frame{rtp: rtp, arrival: begin.Add(at)}) {
			if p.pos <= last || p.pos != at {
				t.Fatalf("frame at %v is placed at %v", at, p.pos)
			}
			last = p.pos
		}
	}
}

func TestANewStreamGoesOnInTheSameFile(t *testing.T) {
	dir := t.TempDir()
	tracks := map[*media.Track][]sent{}
	micT, camT := micTrack("anna"), camTrack("anna")
	for track, load := range map[*media.Track]func() (*testmedia.Clip, error){&micT: testmedia.Beep, &camT: testmedia.Camera} {
		s := newSource(t, load)
		packets := s.between(0, 6*second)
		s.seq, s.rtp = 5<<16+77, 3_000_000_000 // another SSRC: other numbers, other clock
		tracks[track] = append(packets, s.between(6*second, 12*second)...)
	}
	m := record(t, dir, tracks)
	if len(m.Segments) != 2 {
		t.Fatalf("segments are %+v", m.Segments)
	}
	for _, s := range m.Segments {
		near(t, "duration of "+s.File, probe(t, filePath(dir, s)).duration, 12, 0.1)
		if s.PacketsLost != 0 {
			t.Errorf("%d packets counted as lost", s.PacketsLost)
		}
	}
}
