package recorder

import (
	"math"
	"slices"
	"time"

	"consilium/internal/media"
)

// Bounds of what is believed of sender reports.
const (
	reportsKept   = 20    // the regression that judges the next report
	reportsFit    = 128   // of a whole segment, for its drift; thinned out beyond
	reportsSettle = 4     // before they can be judged
	rejectsReset  = 5     // in a row: the sender's clock was set
	rejectSigmas  = 3     // standard deviations
	rejectFloor   = 0.010 // s; senders round to a few ms
	rejectSpan    = 10.0  // s of reports before their slope is used
	rejectDrift   = 3e-4  // s a second, further off with the time since the last report
	ntpSecond     = int64(1_000_000_000)
)

// ntpNanoseconds turns an NTP timestamp (RFC 5905, 6) into ns since 1900.
func ntpNanoseconds(ntp uint64) int64 {
	return int64(ntp>>32)*ntpSecond + int64((ntp&0xFFFFFFFF)*uint64(ntpSecond)>>32)
}

// senderClock relates the file time of one segment to the sender's clock, by
// linear regression over sender reports (RFC 3550, 6.4.1), and the sender's
// clock to the server's, by the report that was on its way for the shortest
// time. It never learns what time it is at the sender, only how his clock goes.
//
// A report further off than three standard deviations of the last twenty is
// left out. Five such reports in a row mean that the clock was set: then the
// step is taken off all that follow, so that the relation stays what it was.
type senderClock struct {
	ntp0     int64     // ns since 1900, of the first report
	window   []reading // accepted last
	rejected []reading // in a row
	fit      []point   // file time; sender's time less file time
	stride   int       // one report of so many is kept in fit
	skipped  int
	delays   envelope // sender's time; session time less it
	settled  bool
	moved    bool    // file time was corrected: the next report ties it again
	shift    float64 // s, of file time against the sender's clock, by such corrections
	step     float64 // s, by which the sender's clock was set, in sum
	steps    int
	reports  int // accepted
}

// reading is a report in seconds, with steps taken off.
type reading struct {
	file    float64 // file time
	sender  float64 // since ntp0
	session float64 // arrival in session time
}

// add takes a report; position is the file time of its RTP timestamp, session
// when it arrived, in session time.
func (c *senderClock) add(r media.SenderReport, position, session time.Duration) {
	if r.NTP == 0 {
		return
	}
	ntp := ntpNanoseconds(r.NTP)
	if c.ntp0 == 0 {
		c.ntp0 = ntp
	}
	v := reading{file: position.Seconds(), session: session.Seconds(), sender: float64(ntp-c.ntp0)/1e9 - c.step}
	if !c.settled {
		c.window = append(c.window, v)
		c.reports = len(c.window)
		if len(c.window) == reportsSettle {
			c.settle()
		}
		return
	}
	trend, tolerance := c.expected(v.file)
	off := c.point(v).y - trend.at(v.file)
	switch {
	case c.moved:
		c.shift, c.moved = c.shift+off, false
		c.accept(v)
	case math.Abs(off) <= tolerance:
		c.rejected = c.rejected[:0]
		c.accept(v)
	default:
		c.rejected = append(c.rejected, v)
		if len(c.rejected) >= rejectsReset {
			c.reset(trend)
		}
	}
}

// expected returns where the next report should lie, and how far it may be off.
func (c *senderClock) expected(file float64) (trend line, tolerance float64) {
	points := c.points(c.window)
	trend, deviation := leastSquares(points)
	last := points[len(points)-1].x
	if last-points[0].x < rejectSpan || math.Abs(trend.slope) > maxDrift {
		trend = line{at0: medianOf(points)} // too short to tell a slope from noise
	}
	return trend, max(rejectSigmas*deviation, rejectFloor) + math.Abs(file-last)*rejectDrift
}

// point is what the regression sees of a reading.
func (c *senderClock) point(v reading) point {
	return point{x: v.file, y: v.sender - v.file - c.shift}
}

func (c *senderClock) points(readings []reading) []point {
	points := make([]point, len(readings))
	for i, v := range readings {
		points[i] = c.point(v)
	}
	return points
}

// settle judges the first reports by their median.
func (c *senderClock) settle() {
	first := c.agreeing()
	c.settled, c.window, c.reports = true, nil, 0
	for _, v := range first {
		c.accept(v)
	}
}

// agreeing returns the readings of the window that are near their median.
func (c *senderClock) agreeing() []reading {
	middle := medianOf(c.points(c.window))
	return slices.DeleteFunc(slices.Clone(c.window), func(v reading) bool {
		return math.Abs(c.point(v).y-middle) > 2*rejectFloor
	})
}

func (c *senderClock) accept(v reading) {
	c.reports++
	if len(c.window) >= reportsKept {
		c.window = slices.Delete(c.window, 0, 1)
	}
	c.window = append(c.window, v)
	c.delays.add(point{x: v.sender, y: v.session - v.sender})
	if c.skipped++; c.skipped < c.stride {
		return
	}
	c.skipped = 0
	if c.fit = append(c.fit, c.point(v)); len(c.fit) >= reportsFit {
		c.stride = 2 * max(c.stride, 1)
		thin := c.fit[:0]
		for i := 0; i < len(c.fit); i += 2 {
			thin = append(thin, c.fit[i])
		}
		c.fit = thin
	}
}

// reset takes the rejected reports for what the clock says from now on.
func (c *senderClock) reset(trend line) {
	off := c.points(c.rejected)
	for i := range off {
		off[i].y -= trend.at(off[i].x)
	}
	step := medianOf(off)
	c.step += step
	c.steps++
	for _, v := range c.rejected {
		v.sender -= step
		if math.Abs(c.point(v).y-trend.at(v.file)) <= 2*rejectFloor {
			c.accept(v)
		}
	}
	c.rejected = nil
}

// medianOf returns the median of y.
func medianOf(points []point) float64 {
	ys := make([]float64, len(points))
	for i, p := range points {
		ys[i] = p.y
	}
	slices.Sort(ys)
	return ys[len(ys)/2]
}

// describe fills in what reports tell of the segment; nothing without any.
func (c *senderClock) describe(to *Clock) {
	if c.reports == 0 {
		return
	}
	relation, delays := c.relation()
	// The sender's time at file time 0, and what was on its way the shortest.
	start := relation.at0
	delay, _ := delays.line()
	to.NTP = c.ntp0 + int64(start*1e9)
	to.Reports, to.Steps = c.reports, c.steps
	to.StepMS = roundTo(c.step*1e3, 1e3)
	to.ReportMS = roundTo((start+delay.at(start))*1e3, 1e3)
	to.RTPPPM, to.SenderPPM = roundTo(relation.slope*1e6, 1e3), roundTo(delay.slope*1e6, 1e3)
}

// relation returns sender's time less file time as a line, and the delays.
func (c *senderClock) relation() (line, envelope) {
	if c.settled {
		l, _ := leastSquares(c.fit)
		if math.Abs(l.slope) > maxDrift || c.fit[len(c.fit)-1].x-c.fit[0].x < envelopeSpan/4 {
			l = line{at0: medianOf(c.fit)}
		}
		return l, c.delays
	}
	var delays envelope
	for _, v := range c.agreeing() {
		delays.add(point{x: v.sender, y: v.session - v.sender})
	}
	return line{at0: medianOf(c.points(c.window))}, delays
}

// roundTo keeps figures in the manifest short: parts in a unit.
func roundTo(v, parts float64) float64 { return math.Round(v*parts) / parts }
