package journal

import (
	"path/filepath"
	"testing"

	"consilium/internal/event"
)

// BenchmarkEmit measures what an event costs its caller.
func BenchmarkEmit(b *testing.B) {
	j, err := New(Config{Path: filepath.Join(b.TempDir(), "consilium.db")})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = j.close() }()
	e := event.Event{Type: event.MediaFlowing, Call: "c", Room: "r", Data: map[string]any{"source": "cam"}}
	b.ReportAllocs()
	for b.Loop() {
		j.Emit(e)
	}
}

// BenchmarkWrite measures what an event costs the writer.
func BenchmarkWrite(b *testing.B) {
	j, err := New(Config{Path: filepath.Join(b.TempDir(), "consilium.db"), Pending: batchSize})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = j.close() }()
	e := event.Event{Type: event.MediaFlowing, Call: "c", Room: "r", Data: map[string]any{"source": "cam"}}
	for b.Loop() {
		for range batchSize {
			j.Emit(e)
		}
		if n, err := j.writeBatch(b.Context()); n != batchSize || err != nil {
			b.Fatal(n, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*batchSize), "us/event")
}
