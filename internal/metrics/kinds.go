package metrics

import (
	"math"
	"slices"
	"sync/atomic"
)

// Counter counts upward. A nil Counter counts nothing.
type Counter struct{ n atomic.Uint64 }

// Inc adds one.
func (c *Counter) Inc() { c.Add(1) }

// Add adds n.
func (c *Counter) Add(n uint64) {
	if c != nil {
		c.n.Add(n)
	}
}

// Value returns the count.
func (c *Counter) Value() uint64 {
	if c == nil {
		return 0
	}
	return c.n.Load()
}

// CounterVec is a counter with labels.
type CounterVec struct {
	description
	labels []Label
	series []Counter
}

// With returns the counter of the given label values, in the order in which
// the labels were registered. A value that was not declared, or is missing,
// counts as "other".
func (v *CounterVec) With(values ...string) *Counter {
	if v == nil {
		return nil
	}
	return &v.series[seriesIndex(v.labels, values)]
}

// Gauge goes up and down. A nil Gauge keeps nothing.
type Gauge struct{ n atomic.Int64 }

// Set sets the value.
func (g *Gauge) Set(n int64) {
	if g != nil {
		g.n.Store(n)
	}
}

// Add adds n, which may be negative.
func (g *Gauge) Add(n int64) {
	if g != nil {
		g.n.Add(n)
	}
}

// Value returns the value.
func (g *Gauge) Value() int64 {
	if g == nil {
		return 0
	}
	return g.n.Load()
}

// GaugeVec is a gauge with labels.
type GaugeVec struct {
	description
	labels []Label
	series []Gauge
}

// With returns the gauge of the given label values, like CounterVec.With.
func (v *GaugeVec) With(values ...string) *Gauge {
	if v == nil {
		return nil
	}
	return &v.series[seriesIndex(v.labels, values)]
}

// valueFunc is a gauge or counter that lives elsewhere.
type valueFunc struct {
	description
	value func() float64
}

// mapFunc is a counter with a label that lives elsewhere.
type mapFunc struct {
	description
	labels []Label // one
	values func() map[string]uint64
}

// Histogram counts observations in fixed buckets. A nil Histogram keeps
// nothing.
type Histogram struct {
	description
	bounds []float64
	counts []atomic.Uint64 // one more than bounds: the last is +Inf
	sum    atomic.Uint64   // bits of a float64
}

func newHistogram(d description, bounds []float64) *Histogram {
	return &Histogram{description: d, bounds: slices.Clone(bounds), counts: make([]atomic.Uint64, len(bounds)+1)}
}

// Observe counts one value.
func (h *Histogram) Observe(value float64) {
	if h == nil || math.IsNaN(value) {
		return
	}
	i, _ := slices.BinarySearch(h.bounds, value)
	h.counts[i].Add(1)
	for {
		old := h.sum.Load()
		if h.sum.CompareAndSwap(old, math.Float64bits(math.Float64frombits(old)+value)) {
			return
		}
	}
}

// seriesIndex finds the series of label values in row-major order. "other" is
// the last value unless it was declared.
func seriesIndex(labels []Label, values []string) int {
	index := 0
	for i, label := range labels {
		at := -1
		if i < len(values) {
			at = slices.Index(label.Values, values[i])
		}
		if at < 0 {
			at = slices.Index(label.Values, Other)
		}
		index = index*len(label.Values) + at
	}
	return index
}

func (d description) describe() description { return d }
