package metrics

import "consilium/internal/event"

// Events counts events by type and failures by code. It is an event.Sink.
type Events struct {
	byType *CounterVec
	byCode *CounterVec
}

// NewEvents registers the counters of events.
func NewEvents(r *Registry) *Events {
	var types, codes []string
	for _, t := range event.Types() {
		types = append(types, string(t))
	}
	for _, c := range event.Codes() {
		codes = append(codes, string(c))
	}
	return &Events{
		byType: r.CounterVec("consilium_events_total",
			"Events of calls, by type; entries of the journal that are not events count as other.",
			Label{"type", types}),
		byCode: r.CounterVec("consilium_failures_total",
			"Failures of calls, by code: events that carry one.",
			Label{"code", codes}),
	}
}

// Emit counts an event.
func (c *Events) Emit(e event.Event) {
	c.byType.With(string(e.Type)).Inc()
	if e.Code != "" && e.Type.Public() {
		c.byCode.With(string(e.Code)).Inc()
	}
}
