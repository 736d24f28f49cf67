package main

import (
	"context"
	"fmt"
	"io"
	"time"
)

// Sizes of the two scenes.
const (
	viewers = 20
	calls   = 6
)

// plan says what is run and for how long.
type plan struct {
	binary   string
	dir      string // for data of the servers
	rounds   int
	warmUp   time.Duration
	window   time.Duration
	progress io.Writer
}

// scene is one measurement: who is measured, by what.
type scene struct {
	name  string
	start func(context.Context, plan) (*child, error)
	join  func(context.Context, string, *meter) (*party, error)
	trace bool // count its system calls as well
}

// Names of the scenes, by which the report finds them.
const (
	broadcastOurs    = "1 to 20, Consilium"
	broadcastDefault = "1 to 20, Pion's defaults"
	callsPlain       = "6 calls of 2"
	callsRecorded    = "6 calls of 2, recorded"
)

// scenes are run in this order in every round.
func scenes() []scene {
	return []scene{
		{broadcastOurs, startPlain, joinBroadcast, false},
		{broadcastDefault, startReference, joinBroadcast, false},
		{callsPlain, startPlain, joinCalls, true},
		{callsRecorded, startRecording, joinCalls, true},
	}
}

// results hold the figures of all rounds: scene to one entry a round.
type results struct {
	scenes map[string][]figures
	floors []floorFigures
}

// run measures everything, round by round, so that what is compared ran within
// a minute.
func (p plan) run(ctx context.Context) (results, error) {
	r := results{scenes: map[string][]figures{}}
	for round := range p.rounds {
		floor, err := measureFloor(ctx)
		if err != nil {
			return r, fmt.Errorf("measure the floor: %w", err)
		}
		r.floors = append(r.floors, floor)
		fmt.Fprintf(p.progress, "round %d, floor: %.1f us a packet, %.1f paced\n", round+1, floor.hot, floor.paced)
		for _, s := range scenes() {
			f, err := p.measure(ctx, s)
			if err != nil {
				return r, fmt.Errorf("%s: %w", s.name, err)
			}
			r.scenes[s.name] = append(r.scenes[s.name], f)
			fmt.Fprintf(p.progress, "round %d, %s: %.0f packets/s, %.1f us and %.2f allocations a packet\n",
				round+1, s.name, f.perSecond, f.cpuPerPacket, f.allocsPerPacket)
		}
	}
	return r, nil
}

// wait lets time pass.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
