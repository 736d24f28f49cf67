package main

import (
	"testing"
	"time"
)

func TestAQuantileIsAValueThatWasMeasured(t *testing.T) {
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(i + 1)
	}
	tests := map[string]struct {
		values []time.Duration
		q      float64
		want   time.Duration
	}{
		"none":            {nil, 0.5, 0},
		"one":             {[]time.Duration{7}, 0.99, 7},
		"least":           {hundred, 0, 1},
		"median of 100":   {hundred, 0.5, 51},
		"p99 of 100":      {hundred, 0.99, 100},
		"greatest":        {hundred, 1, 100},
		"median of three": {[]time.Duration{1, 5, 9}, 0.5, 5},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := quantile(tt.values, tt.q); got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
}

func TestRoundsAreSummedUpByLeastMedianAndGreatest(t *testing.T) {
	tests := map[string]struct {
		values []float64
		want   spread
	}{
		"none":         {nil, spread{}},
		"one":          {[]float64{2}, spread{2, 2, 2}},
		"odd":          {[]float64{9, 1, 4}, spread{1, 4, 9}},
		"even":         {[]float64{4, 2, 1, 9}, spread{1, 3, 9}},
		"negative too": {[]float64{-3, 5, 1}, spread{-3, 1, 5}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := spreadOf(tt.values); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestComparedIsWhatRanInTheSameRound(t *testing.T) {
	got := compare([]float64{10, 30, 60}, []float64{10, 10, 30}, func(a, b float64) float64 { return a / b })
	if want := (spread{1, 2, 3}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
