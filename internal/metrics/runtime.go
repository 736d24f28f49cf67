package metrics

import "runtime/metrics"

// RegisterRuntime registers figures of the Go runtime, read at each scrape
// without stopping the program. They say what the process as a whole costs:
// allocations per forwarded packet, heap and goroutines per participant.
func RegisterRuntime(r *Registry) {
	r.CounterFunc("consilium_go_alloc_objects_total", "Objects allocated on the heap.",
		// The runtime counts small objects without pointers, which share a
		// block, apart from the others.
		func() float64 { return readRuntime("/gc/heap/allocs:objects", "/gc/heap/tiny/allocs:objects") })
	r.CounterFunc("consilium_go_alloc_bytes_total", "Bytes allocated on the heap.",
		func() float64 { return readRuntime("/gc/heap/allocs:bytes") })
	r.CounterFunc("consilium_go_gc_cycles_total", "Collections of garbage that have ended.",
		func() float64 { return readRuntime("/gc/cycles/total:gc-cycles") })
	r.GaugeFunc("consilium_go_goroutines", "Goroutines.",
		func() float64 { return readRuntime("/sched/goroutines:goroutines") })
	r.GaugeFunc("consilium_go_heap_bytes", "Bytes of objects on the heap, garbage not yet collected included.",
		func() float64 { return readRuntime("/memory/classes/heap/objects:bytes") })
	r.GaugeFunc("consilium_go_heap_live_bytes", "Bytes of the heap that the last collection found in use.",
		func() float64 { return readRuntime("/gc/heap/live:bytes") })
	r.GaugeFunc("consilium_go_stack_bytes", "Bytes of the goroutines' stacks.",
		func() float64 { return readRuntime("/memory/classes/heap/stacks:bytes") })
}

// readRuntime returns the sum of metrics of the Go runtime that are counts. One
// that this version of Go does not have counts as 0.
func readRuntime(names ...string) (sum float64) {
	samples := make([]metrics.Sample, len(names))
	for i, name := range names {
		samples[i].Name = name
	}
	metrics.Read(samples)
	for _, s := range samples {
		if s.Value.Kind() == metrics.KindUint64 {
			sum += float64(s.Value.Uint64())
		}
	}
	return sum
}
