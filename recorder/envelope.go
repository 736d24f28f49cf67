package recorder

import (
	"math"
	"slices"
)

// Bounds of an envelope.
const (
	envelopePoints = 256
	envelopeBucket = 4.0  // s at first; doubled when there are too many points
	envelopeSpan   = 60.0 // s before a slope is believed
	maxDrift       = 1e-3 // 1000 ppm: no working oscillator is that far off
)

// point is an observation: at x seconds, y seconds of delay.
type point struct{ x, y float64 }

// line is y = at0 + slope*x.
type line struct{ at0, slope float64 }

func (l line) at(x float64) float64 { return l.at0 + l.slope*x }

// envelope finds the line under a cloud of delays. What travels through a
// network, a pacer or an encoder comes late or very late but never early, so
// the truth is the lower edge of what was seen, not its middle; and where two
// clocks differ in speed, that edge is tilted. Its memory is bounded.
type envelope struct {
	width  float64 // s, of a bucket; 0: none yet
	points []point // the least of each bucket, in order of x
}

// add takes an observation. One that is older than the newest bucket is left
// out.
func (e *envelope) add(p point) {
	if e.width == 0 {
		e.width = envelopeBucket
	}
	n := len(e.points)
	if n == 0 {
		e.points = append(e.points, p)
		return
	}
	last := &e.points[n-1]
	switch a, b := math.Floor(last.x/e.width), math.Floor(p.x/e.width); {
	case b < a:
	case b == a:
		if p.y < last.y {
			*last = p
		}
	case n < envelopePoints:
		e.points = append(e.points, p)
	default:
		e.widen()
		e.add(p)
	}
}

// widen doubles the buckets.
func (e *envelope) widen() {
	old := slices.Clone(e.points)
	e.points, e.width = e.points[:0], 2*e.width
	for _, p := range old {
		e.add(p)
	}
}

// line returns the line that lies below all points and nearest to them: the
// edge of their lower convex hull in the middle of the time observed (Moon,
// Skelly, Towsley: Estimation and removal of clock skew from network delay
// measurements, 1999). Before a minute was seen it is level.
func (e *envelope) line() (line, bool) {
	if len(e.points) == 0 {
		return line{}, false
	}
	first, last := e.points[0], e.points[len(e.points)-1]
	if last.x-first.x >= envelopeSpan {
		if l, ok := e.hullEdge((first.x + last.x) / 2); ok {
			return l, true
		}
	}
	least := first.y
	for _, p := range e.points {
		least = min(least, p.y)
	}
	return line{at0: least}, true
}

// hullEdge returns the edge of the lower convex hull above x, and false if no
// clock could be that far off.
func (e *envelope) hullEdge(x float64) (line, bool) {
	var hull []point
	for _, p := range e.points {
		for n := len(hull); n >= 2; n = len(hull) {
			a, b := hull[n-2], hull[n-1]
			if (b.x-a.x)*(p.y-a.y)-(b.y-a.y)*(p.x-a.x) > 0 {
				break // b lies below the line from a to p
			}
			hull = hull[:n-1]
		}
		hull = append(hull, p)
	}
	for i := 1; i < len(hull); i++ {
		a, b := hull[i-1], hull[i]
		if b.x < x || b.x <= a.x {
			continue
		}
		slope := (b.y - a.y) / (b.x - a.x)
		return line{at0: a.y - slope*a.x, slope: slope}, math.Abs(slope) <= maxDrift
	}
	return line{}, false
}

// leastSquares fits a line through points and returns the standard deviation
// of what remains. All at one x, it is level.
func leastSquares(points []point) (l line, deviation float64) {
	n := float64(len(points))
	if n == 0 {
		return line{}, 0
	}
	var meanX, meanY, xx, xy, rest float64
	for _, p := range points {
		meanX += p.x / n
		meanY += p.y / n
	}
	for _, p := range points {
		xx += (p.x - meanX) * (p.x - meanX)
		xy += (p.x - meanX) * (p.y - meanY)
	}
	if xx > 0 {
		l.slope = xy / xx
	}
	l.at0 = meanY - l.slope*meanX
	for _, p := range points {
		r := p.y - l.at(p.x)
		rest += r * r
	}
	return l, math.Sqrt(rest / n)
}
