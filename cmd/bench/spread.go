package main

import (
	"cmp"
	"slices"
)

// quantile returns the value below or at which a share q (0 to 1) of the
// sorted values lies: the nearest rank. Of no values it is zero.
func quantile[T cmp.Ordered](sorted []T, q float64) T {
	if len(sorted) == 0 {
		var zero T
		return zero
	}
	rank := int(q * float64(len(sorted)))
	return sorted[min(max(rank, 0), len(sorted)-1)]
}

// spread is what several rounds gave.
type spread struct{ min, median, max float64 }

// spreadOf sums up one value a round.
func spreadOf(values []float64) spread {
	if len(values) == 0 {
		return spread{}
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	median := sorted[middle]
	if len(sorted)%2 == 0 {
		median = (sorted[middle-1] + sorted[middle]) / 2
	}
	return spread{sorted[0], median, sorted[len(sorted)-1]}
}

// each applies a figure to every round.
func each[T any](rounds []T, figure func(T) float64) spread {
	var values []float64
	for _, r := range rounds {
		values = append(values, figure(r))
	}
	return spreadOf(values)
}

// compare applies a figure of two measurements to every round, so that what is
// compared ran next to each other.
func compare[A, B any](a []A, b []B, figure func(A, B) float64) spread {
	var values []float64
	for i := range min(len(a), len(b)) {
		values = append(values, figure(a[i], b[i]))
	}
	return spreadOf(values)
}
