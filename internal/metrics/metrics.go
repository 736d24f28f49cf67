// Package metrics is a small registry of counters, gauges and histograms with
// the Prometheus text exposition (format 0.0.4).
//
// Every series is declared when the server starts: a label has a closed list
// of values, and what is not in the list counts as "other". So the number of
// series is fixed, nothing names a person, a room or a call, and counting
// takes no lock and allocates nothing. Registration is not meant for hot
// paths; everything is safe for concurrent use.
//
// The package imports nothing of ours but package event.
package metrics

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"sync"
)

// Other is the label value that stands for all values not declared.
const Other = "other"

// maxSeries bounds the series of one metric: more is a mistake in the code.
const maxSeries = 512

var validName = regexp.MustCompile(`^consilium_[a-z][a-z0-9_]*$`)

// Label is a label with the closed list of its values.
type Label struct {
	Name   string
	Values []string
}

// metric is what the registry knows of each kind.
type metric interface {
	describe() description
	write(*writer)
}

type description struct {
	name, help, kind string
}

// Registry holds metrics. The zero value is ready to use.
type Registry struct {
	mu      sync.Mutex
	metrics map[string]metric
	faults  []error
}

// New returns an empty registry.
func New() *Registry { return &Registry{} }

// Err reports what was registered wrongly: a name twice with different kinds,
// a name without the prefix consilium_, too many series. A server checks it
// once, at start; the metrics work all the same but are not exposed.
func (r *Registry) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return errors.Join(r.faults...)
}

// Names returns the names of all registered metrics, sorted.
func (r *Registry) Names() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	names := make([]string, 0, len(r.metrics))
	for name := range r.metrics {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// register adds m, or returns the metric of the same type that already has
// its name, so that two parts may share one.
func register[M metric](r *Registry, m M) M {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := m.describe()
	if !validName.MatchString(d.name) {
		r.faults = append(r.faults, fmt.Errorf("metric %q: not a name of the form consilium_...", d.name))
		return m
	}
	if old, ok := r.metrics[d.name]; ok {
		if same, ok := old.(M); ok {
			return same
		}
		r.faults = append(r.faults, fmt.Errorf("metric %q: registered twice, as different kinds", d.name))
		return m
	}
	if r.metrics == nil {
		r.metrics = make(map[string]metric)
	}
	r.metrics[d.name] = m
	return m
}

// Counter registers a counter without labels.
func (r *Registry) Counter(name, help string) *Counter {
	return r.CounterVec(name, help).With()
}

// CounterVec registers a counter with labels.
func (r *Registry) CounterVec(name, help string, labels ...Label) *CounterVec {
	n := r.seriesCount(name, labels)
	return register(r, &CounterVec{
		description: description{name, help, "counter"},
		labels:      completed(labels), series: make([]Counter, n),
	})
}

// Gauge registers a gauge without labels.
func (r *Registry) Gauge(name, help string) *Gauge {
	return r.GaugeVec(name, help).With()
}

// GaugeVec registers a gauge with labels.
func (r *Registry) GaugeVec(name, help string, labels ...Label) *GaugeVec {
	n := r.seriesCount(name, labels)
	return register(r, &GaugeVec{
		description: description{name, help, "gauge"},
		labels:      completed(labels), series: make([]Gauge, n),
	})
}

// GaugeFunc registers a gauge whose value is asked for at each scrape. value
// must be quick and safe for concurrent use.
func (r *Registry) GaugeFunc(name, help string, value func() float64) {
	register(r, &valueFunc{description{name, help, "gauge"}, value})
}

// CounterFunc registers a counter whose value is asked for at each scrape: it
// must never fall.
func (r *Registry) CounterFunc(name, help string, value func() float64) {
	register(r, &valueFunc{description{name, help, "counter"}, value})
}

// CounterMapFunc registers a counter with one label whose values are asked for
// at each scrape: none may ever fall. The label's values are the keys that
// values has now; what comes later under another key counts as "other".
func (r *Registry) CounterMapFunc(name, help, label string, values func() map[string]uint64) {
	labels := []Label{{label, slices.Sorted(maps.Keys(values()))}}
	r.seriesCount(name, labels)
	register(r, &mapFunc{description{name, help, "counter"}, completed(labels), values})
}

// Histogram registers a histogram. bounds are the upper bounds of its buckets,
// ascending, without +Inf; the unit belongs in the name (_seconds, _bytes).
func (r *Registry) Histogram(name, help string, bounds ...float64) *Histogram {
	if !slices.IsSorted(bounds) {
		r.fault(fmt.Errorf("metric %q: bounds of buckets are not ascending", name))
	}
	return register(r, newHistogram(description{name, help, "histogram"}, bounds))
}

func (r *Registry) fault(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults = append(r.faults, err)
}

// seriesCount is the product of the numbers of label values, "other" included.
func (r *Registry) seriesCount(name string, labels []Label) int {
	n := 1
	for _, label := range completed(labels) {
		n *= len(label.Values)
	}
	if n > maxSeries {
		r.fault(fmt.Errorf("metric %q: %d series, more than %d", name, n, maxSeries))
	}
	return n
}

// completed adds "other" to the values of every label.
func completed(labels []Label) []Label {
	out := make([]Label, len(labels))
	for i, label := range labels {
		values := slices.Clone(label.Values)
		if !slices.Contains(values, Other) {
			values = append(values, Other)
		}
		out[i] = Label{label.Name, values}
	}
	return out
}
