package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"consilium/internal/config"
)

// inside is what a process says of itself in its metrics.
type inside struct {
	allocs, collections, heap, liveHeap, stacks, goroutines float64
}

// scrape reads the metrics of a child.
func scrape(ctx context.Context, client *http.Client, base string) (inside, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/metrics", nil)
	if err != nil {
		return inside{}, fmt.Errorf("make request: %w", err)
	}
	request.SetBasicAuth(config.DevKeyID, string(config.DevSecret))
	response, err := client.Do(request)
	if err != nil {
		return inside{}, fmt.Errorf("read metrics: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return inside{}, fmt.Errorf("read metrics: %s", response.Status)
	}
	values, err := parseMetrics(response.Body)
	if err != nil {
		return inside{}, err
	}
	var in inside
	for name, to := range map[string]*float64{
		"consilium_go_alloc_objects_total": &in.allocs,
		"consilium_go_gc_cycles_total":     &in.collections,
		"consilium_go_heap_bytes":          &in.heap,
		"consilium_go_heap_live_bytes":     &in.liveHeap,
		"consilium_go_stack_bytes":         &in.stacks,
		"consilium_go_goroutines":          &in.goroutines,
	} {
		value, ok := values[name]
		if !ok {
			return inside{}, fmt.Errorf("read metrics: %s is missing", name)
		}
		*to = value
	}
	return in, nil
}

// parseMetrics reads the Prometheus text format as far as it is needed here:
// series without labels.
func parseMetrics(r io.Reader) (map[string]float64, error) {
	values := map[string]float64{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		name, text, ok := strings.Cut(lines.Text(), " ")
		if !ok || name == "#" || strings.Contains(name, "{") {
			continue
		}
		value, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, fmt.Errorf("read metric %s: %w", name, err)
		}
		values[name] = value
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read metrics: %w", err)
	}
	return values, nil
}
