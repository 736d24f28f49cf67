package sfu

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestLossesAreRepairedInTime is a network in a box: 5 % random loss each way,
// 50 ms round trip, 200 packets a second, a publisher that answers every
// request it gets.
func TestLossesAreRepairedInTime(t *testing.T) {
	const (
		loss   = 0.05
		oneWay = 25 * time.Millisecond
		total  = 20_000
	)
	rnd := rand.New(rand.NewPCG(42, 1))
	start := time.Unix(1000, 0)
	type arrival struct {
		sequence int64
		at       time.Time
	}
	var g nackGenerator
	var repairs []arrival
	lostAt, requests, repaired := map[int64]time.Time{}, map[int64]int{}, map[int64]time.Duration{}
	now := start
	for tick := range total * 5 { // 1 ms each
		now = now.Add(time.Millisecond)
		if tick%5 == 0 {
			sequence := int64(70_000 + tick/5)
			if rnd.Float64() < loss && sequence > 70_000 {
				lostAt[sequence] = now
			} else {
				g.received(sequence, now)
			}
		}
		for len(repairs) > 0 && !repairs[0].at.After(now) {
			r := repairs[0]
			repairs = repairs[1:]
			g.received(r.sequence, now)
			if _, again := repaired[r.sequence]; !again {
				repaired[r.sequence] = now.Sub(lostAt[r.sequence])
			}
		}
		ask, _ := g.due(now, 2*oneWay, nil)
		reached := rnd.Float64() >= loss
		for _, short := range ask {
			sequence := g.highest - int64(uint16(g.highest)-short)
			requests[sequence]++
			if _, lost := lostAt[sequence]; !lost {
				t.Fatalf("asked for %d, which was not lost", sequence)
			}
			if reached && rnd.Float64() >= loss {
				repairs = append(repairs, arrival{sequence, now.Add(2 * oneWay)})
			}
		}
	}
	inTime, worst := 0, 0
	for sequence := range lostAt {
		if d, ok := repaired[sequence]; ok && d <= 500*time.Millisecond {
			inTime++
		}
		worst = max(worst, requests[sequence])
	}
	share := float64(inTime) / float64(len(lostAt))
	t.Logf("%d lost, %.2f %% repaired within 500 ms, at most %d requests a packet", len(lostAt), share*100, worst)
	if share < 0.95 || worst > nackMaxRequests {
		t.Fatalf("repaired %.3f in time, want 0.95; %d requests for one packet, want at most %d", share, worst, nackMaxRequests)
	}
}

func TestReorderedPacketsAreNotAskedFor(t *testing.T) {
	var g nackGenerator
	now := time.Unix(1000, 0)
	g.received(70_000, now)
	g.received(70_002, now)
	if ask, _ := g.due(now.Add(nackTolerance/2), defaultRTT, nil); len(ask) != 0 {
		t.Fatalf("asked for %v within the tolerance", ask)
	}
	g.received(70_001, now.Add(nackTolerance/2))
	if ask, _ := g.due(now.Add(time.Second), defaultRTT, nil); len(ask) != 0 {
		t.Fatalf("asked for %v, which is here", ask)
	}
}

func TestPacketIsGivenUpAfterTheLastRequest(t *testing.T) {
	var g nackGenerator
	now := time.Unix(1000, 0)
	g.received(70_000, now)
	g.received(70_002, now)
	asked, gaveUp := 0, false
	for range 3000 {
		now = now.Add(time.Millisecond)
		ask, gone := g.due(now, 50*time.Millisecond, nil)
		asked += len(ask)
		gaveUp = gaveUp || gone
	}
	if asked != nackMaxRequests || !gaveUp || g.lost != 1 {
		t.Fatalf("asked %d times, gave up: %v, lost %d", asked, gaveUp, g.lost)
	}
	if at, ok := g.next(defaultRTT); ok {
		t.Fatalf("still wants to be woken at %v", at)
	}
}

func TestWakeUpIsNeverBeforeSomethingIsDue(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 3))
	var g nackGenerator
	now, sequence := time.Unix(1000, 0), int64(70_000)
	for range 5000 {
		sequence += 1 + int64(rnd.IntN(3))
		g.received(sequence, now)
		at, ok := g.next(defaultRTT)
		if ok {
			now = later(now, at)
			before := len(g.missing)
			if ask, _ := g.due(now, defaultRTT, nil); len(ask) == 0 && len(g.missing) == before {
				t.Fatalf("woken at %v for nothing", at)
			}
		}
		now = now.Add(time.Duration(rnd.IntN(30)) * time.Millisecond)
	}
}

func TestMissingPacketsAreBounded(t *testing.T) {
	var g nackGenerator
	now := time.Unix(1000, 0)
	for i := range int64(1000) {
		g.received(70_000+i*2, now)
	}
	if len(g.missing) > nackMaxMissing {
		t.Fatalf("%d missing packets remembered", len(g.missing))
	}
	if g.received(70_000+5000, now) {
		t.Fatal("a hole of thousands is taken for loss")
	}
	if len(g.missing) != 0 {
		t.Fatalf("%d packets are asked for after a restart", len(g.missing))
	}
}
