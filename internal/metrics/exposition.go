package metrics

import (
	"bytes"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
)

// ContentType is the media type of the exposition.
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// ServeHTTP answers a scrape. Who may scrape is for the caller to decide.
func (r *Registry) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", ContentType)
	w.Header().Set("Cache-Control", "no-store")
	// A scraper that has gone can't be told.
	_, _ = r.WriteTo(w)
}

// WriteTo writes all metrics, sorted by name.
func (r *Registry) WriteTo(out io.Writer) (int64, error) {
	var w writer
	for _, name := range r.Names() {
		r.mu.Lock()
		m := r.metrics[name]
		r.mu.Unlock()
		w.header(m.describe())
		m.write(&w)
	}
	return w.buf.WriteTo(out)
}

// writer builds the text format.
type writer struct{ buf bytes.Buffer }

func (w *writer) header(d description) {
	w.buf.WriteString("# HELP " + d.name + " " + helpEscapes.Replace(d.help) + "\n# TYPE " + d.name + " " + d.kind + "\n")
}

func (w *writer) sample(name, labels, value string) {
	w.buf.WriteString(name)
	if labels != "" {
		w.buf.WriteString("{" + labels + "}")
	}
	w.buf.WriteString(" " + value + "\n")
}

func (v *CounterVec) write(w *writer) {
	for i := range v.series {
		w.sample(v.name, labelsAt(v.labels, i), strconv.FormatUint(v.series[i].Value(), 10))
	}
}

func (v *GaugeVec) write(w *writer) {
	for i := range v.series {
		w.sample(v.name, labelsAt(v.labels, i), strconv.FormatInt(v.series[i].Value(), 10))
	}
}

func (v *valueFunc) write(w *writer) {
	w.sample(v.name, "", formatFloat(v.value()))
}

func (m *mapFunc) write(w *writer) {
	totals := make([]uint64, len(m.labels[0].Values))
	for value, n := range m.values() {
		totals[seriesIndex(m.labels, []string{value})] += n
	}
	for i, n := range totals {
		w.sample(m.name, labelsAt(m.labels, i), strconv.FormatUint(n, 10))
	}
}

// write gives cumulative buckets. The total is their sum, not a counter of its
// own, so that _count and the +Inf bucket never disagree.
func (h *Histogram) write(w *writer) {
	var total uint64
	for i := range h.counts {
		total += h.counts[i].Load()
		bound := math.Inf(1)
		if i < len(h.bounds) {
			bound = h.bounds[i]
		}
		w.sample(h.name+"_bucket", `le="`+formatFloat(bound)+`"`, strconv.FormatUint(total, 10))
	}
	w.sample(h.name+"_sum", "", formatFloat(math.Float64frombits(h.sum.Load())))
	w.sample(h.name+"_count", "", strconv.FormatUint(total, 10))
}

// labelsAt is the inverse of seriesIndex, in the text format.
func labelsAt(labels []Label, index int) string {
	parts := make([]string, len(labels))
	for i := len(labels) - 1; i >= 0; i-- {
		values := labels[i].Values
		parts[i] = labels[i].Name + "=" + quoteLabel(values[index%len(values)])
		index /= len(values)
	}
	return strings.Join(parts, ",")
}

// Escapes are made once: a scrape quotes hundreds of values.
var (
	helpEscapes  = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
	labelEscapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)
)

func quoteLabel(value string) string { return `"` + labelEscapes.Replace(value) + `"` }

func formatFloat(f float64) string {
	if math.IsInf(f, 1) {
		return "+Inf"
	}
	return strconv.FormatFloat(f, 'g', -1, 64)
}
