package recorder

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"consilium/internal/media"
)

// observe gives n reports, a second apart, to a clock: the sender's clock says
// what ntp makes of the time since the first.
func observe(c *senderClock, from, n int, ntp func(at time.Duration) time.Duration, way func() time.Duration) {
	for i := from; i < from+n; i++ {
		at := time.Duration(i) * time.Second
		ns := ntpOfBegin + int64(ntp(at))
		r := media.SenderReport{NTP: uint64(ns/ntpSecond)<<32 | uint64(ns%ntpSecond)<<32/uint64(ntpSecond)}
		c.add(r, at, at+way())
	}
}

func steady() time.Duration { return 30 * time.Millisecond }

func TestDriftComesOutOfReports(t *testing.T) {
	for name, ppm := range map[string]float64{"fast": -200, "slow": 200, "right": 0} {
		t.Run(name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(7, 7))
			noise := func() time.Duration {
				return time.Duration(random.Int64N(int64(4*time.Millisecond))) - 2*time.Millisecond
			}
			var c senderClock
			observe(&c, 0, 600, func(at time.Duration) time.Duration {
				return at + time.Duration(ppm/1e6*float64(at)) + noise()
			}, func() time.Duration { return steady() + time.Duration(random.Int64N(int64(40*time.Millisecond))) })
			var got Clock
			c.describe(&got)
			near(t, "drift of the RTP clock", got.RTPPPM, ppm, 2)
			near(t, "both together", got.RTPPPM+got.SenderPPM, 0, 5) // here the media ran with the server
			near(t, "place of the first moment", got.ReportMS, 30, 5)
			if got.Steps != 0 {
				t.Errorf("%d steps", got.Steps)
			}
		})
	}
}

func TestReportsThatAreFarOffChangeNothing(t *testing.T) {
	clean, dirty := senderClock{}, senderClock{}
	straight := func(at time.Duration) time.Duration { return at }
	observe(&clean, 0, 100, straight, steady)
	observe(&dirty, 0, 100, func(at time.Duration) time.Duration {
		if n := int(at / time.Second); n == 2 || n%9 == 8 { // also among the first
			return at + 400*time.Millisecond
		}
		return at
	}, steady)
	var want, got Clock
	clean.describe(&want)
	dirty.describe(&got)
	near(t, "drift", got.RTPPPM, want.RTPPPM, 0.5)
	near(t, "first moment on the sender's clock", float64(got.NTP-want.NTP)/1e6, 0, 1)
	near(t, "first moment", got.ReportMS, want.ReportMS, 1)
	if got.Steps != 0 {
		t.Errorf("%d steps", got.Steps)
	}
}

func TestASenderClockThatIsSetKeepsItsRelation(t *testing.T) {
	for name, step := range map[string]time.Duration{
		"by years": -5 * 365 * 24 * time.Hour, "by an hour": time.Hour, "by 60 ms": 60 * time.Millisecond,
	} {
		t.Run(name, func(t *testing.T) {
			var c senderClock
			observe(&c, 0, 60, func(at time.Duration) time.Duration { return at }, steady)
			observe(&c, 60, 60, func(at time.Duration) time.Duration { return at + step }, steady)
			observe(&c, 120, 60, func(at time.Duration) time.Duration { return at }, steady) // and back
			var got Clock
			c.describe(&got)
			near(t, "first moment on the sender's clock", float64(got.NTP-ntpOfBegin)/1e6, 0, 1)
			near(t, "first moment", got.ReportMS, 30, 1)
			near(t, "drift", got.RTPPPM, 0, 5)
			near(t, "sum of the steps", got.StepMS, 0, 1)
			if got.Steps != 2 {
				t.Errorf("%d steps", got.Steps)
			}
		})
	}
}

func TestATrackThatBeganAfterTheClockWasSetIsInSync(t *testing.T) {
	const step = 300 // ms
	before := Clock{ArrivalMS: 1000, ReportMS: 980, NTP: 50e9, Reports: 90, Steps: 1, StepMS: step}
	after := Clock{ArrivalMS: 61_200, ReportMS: 61_010, NTP: 110e9 + step*1e6, Reports: 20}
	segments := []Segment{{Session: "s", Clock: &before, DurationMS: 90_000}, {Session: "s", Clock: &after, DurationMS: 30_000}}
	place(segments)
	near(t, "time between them", segments[1].T0MS-segments[0].T0MS, 60_000, 0.01)
}

func TestAnEnvelopeIsTheLowerEdge(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var e envelope
	for i := range 540_000 { // three hours of sound
		x := float64(i) * 0.02
		e.add(point{x: x, y: 0.030 + 200e-6*x + random.ExpFloat64()*0.02})
	}
	if len(e.points) > envelopePoints {
		t.Errorf("%d points are kept", len(e.points))
	}
	l, ok := e.line()
	near(t, "slope in ppm", l.slope*1e6, 200, 0.5)
	near(t, "start in ms", l.at0*1e3, 30, 1)
	if !ok {
		t.Error("no line")
	}
}

func TestAnEnvelopeOfLessThanAMinuteIsLevel(t *testing.T) {
	var e envelope
	if _, ok := e.line(); ok {
		t.Error("a line through nothing")
	}
	for i := range 50 {
		e.add(point{x: float64(i), y: 0.1 - float64(i)*0.001})
	}
	l, ok := e.line()
	if !ok || l.slope != 0 || math.Abs(l.at0-0.051) > 1e-9 {
		t.Errorf("line is %+v", l)
	}
}

// FuzzSenderClock feeds reports of any value.
func FuzzSenderClock(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, data []byte) {
		var c senderClock
		ntp, file, session := uint64(1)<<40, time.Duration(0), time.Duration(0)
		for ; len(data) >= 4; data = data[4:] {
			ntp += uint64(int64(int8(data[0]))) << (data[1] % 48)
			file += time.Duration(int8(data[2])) * 100 * time.Millisecond
			session += time.Duration(data[3]) * 20 * time.Millisecond
			c.add(media.SenderReport{NTP: ntp}, file, session)
		}
		if len(c.window) > reportsKept || len(c.fit) > reportsFit || len(c.delays.points) > envelopePoints {
			t.Fatalf("kept %d, %d and %d", len(c.window), len(c.fit), len(c.delays.points))
		}
		var got Clock
		c.describe(&got)
		for _, v := range []float64{got.ReportMS, got.RTPPPM, got.SenderPPM, got.StepMS} {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				t.Fatalf("clock is %+v", got)
			}
		}
		if math.Abs(got.RTPPPM) > maxDrift*1e6 || math.Abs(got.SenderPPM) > maxDrift*1e6 {
			t.Fatalf("drift of %+v", got)
		}
		place([]Segment{{Clock: &got, DurationMS: 1000}})
	})
}
