package metrics

import (
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"consilium/internal/event"
)

// text is the exposition of a registry.
func text(r *Registry) string {
	w := httptest.NewRecorder()
	r.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	return w.Body.String()
}

func TestExpositionIsThePrometheusTextFormat(t *testing.T) {
	r := New()
	r.Counter("consilium_b_total", "Counts \\ things\nin two lines.").Add(7)
	v := r.CounterVec("consilium_a_total", "By kind and place.",
		Label{"kind", []string{"x", `qu"ote`}}, Label{"place", []string{"here"}})
	v.With("x", "here").Inc()
	v.With(`qu"ote`, "here").Add(2)
	v.With("never declared", "nowhere").Add(3)
	r.Gauge("consilium_c", "Goes down.").Add(-4)
	r.GaugeFunc("consilium_d", "Asked.", func() float64 { return 0.5 })
	h := r.Histogram("consilium_e_seconds", "Took.", 0.1, 1)
	for _, value := range []float64{0.05, 0.1, 0.5, 30} {
		h.Observe(value)
	}
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	want := `# HELP consilium_a_total By kind and place.
# TYPE consilium_a_total counter
consilium_a_total{kind="x",place="here"} 1
consilium_a_total{kind="x",place="other"} 0
consilium_a_total{kind="qu\"ote",place="here"} 2
consilium_a_total{kind="qu\"ote",place="other"} 0
consilium_a_total{kind="other",place="here"} 0
consilium_a_total{kind="other",place="other"} 3
# HELP consilium_b_total Counts \\ things\nin two lines.
# TYPE consilium_b_total counter
consilium_b_total 7
# HELP consilium_c Goes down.
# TYPE consilium_c gauge
consilium_c -4
# HELP consilium_d Asked.
# TYPE consilium_d gauge
consilium_d 0.5
# HELP consilium_e_seconds Took.
# TYPE consilium_e_seconds histogram
consilium_e_seconds_bucket{le="0.1"} 2
consilium_e_seconds_bucket{le="1"} 3
consilium_e_seconds_bucket{le="+Inf"} 4
consilium_e_seconds_sum 30.65
consilium_e_seconds_count 4
`
	if got := text(r); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestCountingIsSafeAndAllocatesNothing(t *testing.T) {
	r := New()
	c := r.CounterVec("consilium_a_total", "A.", Label{"kind", []string{"x", "y"}})
	g := r.Gauge("consilium_b", "B.")
	h := r.Histogram("consilium_c_seconds", "C.", 1, 2)
	var counting sync.WaitGroup
	for range 8 {
		counting.Go(func() {
			for range 1000 {
				c.With("y").Inc()
				g.Add(1)
				h.Observe(1.5)
			}
		})
	}
	_ = text(r) // a scrape in between
	counting.Wait()
	for _, want := range []string{`consilium_a_total{kind="y"} 8000`, "consilium_b 8000", "consilium_c_seconds_sum 12000", `le="2"} 8000`} {
		if !strings.Contains(text(r), want+"\n") {
			t.Errorf("%q is missing in\n%s", want, text(r))
		}
	}
	if n := testing.AllocsPerRun(100, func() {
		c.With("y").Add(2)
		c.With("unknown").Inc()
		g.Set(3)
		h.Observe(0.5)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestMistakesInRegistrationAreReported(t *testing.T) {
	long := make([]string, 600)
	for i := range long {
		long[i] = strings.Repeat("x", i)
	}
	tests := map[string]func(*Registry){
		"no prefix":       func(r *Registry) { r.Counter("requests_total", "") },
		"capitals":        func(r *Registry) { r.Counter("consilium_Requests", "") },
		"two kinds":       func(r *Registry) { r.Counter("consilium_a", ""); r.Gauge("consilium_a", "") },
		"too many series": func(r *Registry) { r.CounterVec("consilium_a", "", Label{"l", long}) },
		"bounds fall":     func(r *Registry) { r.Histogram("consilium_a", "", 2, 1) },
	}
	for name, do := range tests {
		t.Run(name, func(t *testing.T) {
			r := New()
			do(r)
			if r.Err() == nil {
				t.Error("nothing is reported")
			}
		})
	}
}

func TestTheSameMetricMayBeSharedByTwoParts(t *testing.T) {
	r := New()
	r.Counter("consilium_a_total", "A.").Inc()
	r.Counter("consilium_a_total", "A.").Inc()
	if got := r.Counter("consilium_a_total", "A.").Value(); got != 2 || r.Err() != nil {
		t.Errorf("value %d, %v", got, r.Err())
	}
}

func TestMissingMetricsCountNothing(t *testing.T) {
	var c *Counter
	var v *CounterVec
	var g *Gauge
	var gv *GaugeVec
	var h *Histogram
	c.Inc()
	v.With("x").Inc()
	g.Set(1)
	gv.With("x").Add(1)
	h.Observe(1)
	if c.Value() != 0 || g.Value() != 0 {
		t.Error("nil counts")
	}
}

func TestEventsAreCountedByTypeAndFailuresByCode(t *testing.T) {
	r := New()
	c := NewEvents(r)
	c.Emit(event.Event{Type: event.MediaTimeout, Failure: event.Failure{Code: event.NoMediaOut}})
	c.Emit(event.Event{Type: event.CallStarted})
	c.Emit(event.Event{Type: event.NoteClient, Failure: event.Failure{Code: event.CamDenied}})
	got := text(r)
	for _, want := range []string{
		`consilium_events_total{type="media.timeout"} 1`,
		`consilium_events_total{type="call.started"} 1`,
		`consilium_events_total{type="other"} 1`,
		`consilium_failures_total{code="NO_MEDIA_OUT"} 1`,
		`consilium_failures_total{code="CAM_DENIED"} 0`,
	} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("%q is missing", want)
		}
	}
}

func TestCountersThatLiveElsewhereKeepTheirSeries(t *testing.T) {
	r := New()
	counts := map[string]uint64{"late": 1, "full": 0}
	r.CounterMapFunc("consilium_dropped_total", "Dropped.", "reason", func() map[string]uint64 { return counts })
	counts = map[string]uint64{"late": 5, "unforeseen": 2, "unheard": 3}
	want := `# HELP consilium_dropped_total Dropped.
# TYPE consilium_dropped_total counter
consilium_dropped_total{reason="full"} 0
consilium_dropped_total{reason="late"} 5
consilium_dropped_total{reason="other"} 5
`
	if got := text(r); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if err := r.Err(); err != nil {
		t.Error(err)
	}
}
