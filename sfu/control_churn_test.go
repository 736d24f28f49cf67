package sfu

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"consilium/internal/event"
	"consilium/internal/leak"
	"consilium/internal/media"
)

// TestChurnLeavesNothing has many people come, act and go at once, at random.
func TestChurnLeavesNothing(t *testing.T) {
	leak.Check(t)
	rec := &fakeRecorder{gate: make(chan error)}
	close(rec.gate)
	h := open(t, withMedia(t, Config{Recorder: rec, Calls: CallsConfig{LingerClean: 10 * time.Millisecond, LingerLost: 10 * time.Millisecond}}))
	const visitors, atOnce = 200, 16
	var wg sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for n := range visitors {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			h.visit(rand.New(rand.NewPCG(7, uint64(n))))
		})
	}
	wg.Wait()
	h.stop()
	count := func(typ event.Type) int { return h.events.count(ofType(typ)) }
	if count(event.CallStarted) != count(event.CallEnded) || count(event.ParticipantJoined) != count(event.ParticipantLeft) {
		t.Errorf("%d calls started, %d ended; %d joined, %d left", count(event.CallStarted), count(event.CallEnded),
			count(event.ParticipantJoined), count(event.ParticipantLeft))
	}
	if ends := rec.ends(); ends != len(rec.armed) {
		t.Errorf("%d recordings, %d ends", len(rec.armed), ends)
	}
}

// visit is one visit, with whatever r makes of it. Errors are expected: others
// mute, remove and replace the visitor, and end the call.
func (h *hospital) visit(r *rand.Rand) {
	req := asDoctor(fmt.Sprint("d", r.IntN(8)))
	req.Room = fmt.Sprint("room", r.IntN(3))
	req.Mode = Mode(r.IntN(3))
	req.Target = "d1"
	v := &visitor{t: h.t, told: newHistory[Notice]()}
	req.Notify = v.told.add
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(1+r.IntN(100))*time.Millisecond)
	defer cancel()
	var err error
	if v.Session, err = h.Join(ctx, req); err != nil {
		if !errors.Is(err, context.DeadlineExceeded) {
			h.t.Errorf("join: %v", err)
		}
		return
	}
	defer v.Leave([]media.EndReason{media.EndLeft, media.EndLost}[r.IntN(2)])
	v.prepare(1, sound, picture)
	defer func() { _ = v.pc.Close() }()
	offer := v.offer()
	for range 1 + r.IntN(5) {
		switch r.IntN(8) {
		case 0, 1, 2:
			_, _ = v.Offer(ctx, offer)
		case 3:
			_ = v.Publish(ctx, "1", media.Camera, r.IntN(2) == 0, r.IntN(2) == 0)
		case 4:
			_ = v.Mute(ctx, fmt.Sprint("d", r.IntN(8)), media.Microphone)
		case 5:
			_ = v.Remove(ctx, fmt.Sprint("d", r.IntN(8)))
		case 6:
			v.SocketLost()
			_ = v.View(ctx, nil)
		case 7:
			if r.IntN(10) == 0 {
				_ = v.EndCall(ctx)
			}
		}
	}
}
