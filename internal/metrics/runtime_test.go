package metrics

import (
	"runtime"
	"runtime/metrics"
	"testing"
)

func TestTheRuntimeKnowsEveryFigureThatIsExposed(t *testing.T) {
	r := New()
	RegisterRuntime(r)
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, d := range metrics.All() {
		known[d.Name] = d.Kind == metrics.KindUint64
	}
	for _, name := range []string{
		"/gc/heap/allocs:objects", "/gc/heap/tiny/allocs:objects", "/gc/heap/allocs:bytes", "/gc/cycles/total:gc-cycles",
		"/sched/goroutines:goroutines", "/memory/classes/heap/objects:bytes", "/gc/heap/live:bytes", "/memory/classes/heap/stacks:bytes",
	} {
		if !known[name] {
			t.Errorf("the runtime has no count %s", name)
		}
	}
}

func TestAllocationsAreCountedSmallOnesToo(t *testing.T) {
	const n = 10_000
	before := readRuntime("/gc/heap/allocs:objects", "/gc/heap/tiny/allocs:objects")
	kept := make([]*byte, n)
	for i := range kept {
		kept[i] = new(byte)
	}
	runtime.GC() // what is in the caches of processors is counted then
	after := readRuntime("/gc/heap/allocs:objects", "/gc/heap/tiny/allocs:objects")
	runtime.KeepAlive(kept)
	if got := after - before; got < n || got > 2*n {
		t.Errorf("%d allocations count as %v", n, got)
	}
	if readRuntime("/no/such:thing") != 0 {
		t.Error("an unknown figure is not 0")
	}
}
