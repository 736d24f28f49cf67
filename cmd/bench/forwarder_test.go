package main

import (
	"net/http"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"

	"consilium/internal/leak"
	"consilium/internal/media"
)

func TestThroughPionsDefaultsEveryPacketReachesEveryViewer(t *testing.T) {
	leak.Check(t)
	f, err := newForwarder(nil)
	if err != nil {
		t.Fatal(err)
	}
	base, stop, err := f.listen()
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	m := newMeter()
	const viewers = 2
	p, err := broadcast(t.Context(), base, m, viewers)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	got := window(t, m)
	// What is on its way when the window opens and closes counts on one side.
	if got.unstamped != 0 || got.received < viewers*got.sent*9/10 || got.received > viewers*got.sent*11/10 {
		t.Errorf("sent %d, received %d, without a time %d", got.sent, got.received, got.unstamped)
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	in, err := scrape(t.Context(), &http.Client{Transport: transport}, base)
	if err != nil || in.allocs == 0 || in.heap == 0 || in.goroutines == 0 {
		t.Errorf("its metrics are %+v, %v", in, err)
	}
}

func TestWithoutAServerLatencyIsMeasuredToo(t *testing.T) {
	leak.Check(t)
	m := newMeter()
	p, err := joinDirect(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	if got := window(t, m); got.received == 0 || len(got.took) == 0 {
		t.Errorf("got %+v", got)
	}
}

// window measures for a moment.
func window(t *testing.T, m *meter) delivery {
	t.Helper()
	m.begin()
	if err := wait(t.Context(), 500*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	return m.end()
}

func TestTheClipsHaveThePatternOfACameraAndASpeaker(t *testing.T) {
	packets := 0
	for _, frame := range clips()[media.Camera].Frames {
		got := len((&codecs.VP8Payloader{EnablePictureID: true}).Payload(1200-rtpHeader, frame.Data))
		if want := map[bool]int{true: 24, false: 4}[frame.Keyframe]; got != want {
			t.Errorf("the frame at %v makes %d packets, want %d", frame.At, got, want)
		}
		packets += len(frame.Data)
	}
	if rate := float64(packets*8) / clips()[media.Camera].Duration.Seconds(); rate < 1.15e6 || rate > 1.25e6 {
		t.Errorf("%v bit/s", rate)
	}
	if n := len(clips()[media.Microphone].Frames); n != 50 {
		t.Errorf("%d packets of sound a second", n)
	}
}

func TestTheFloorSealsAndSendsToEveryDestination(t *testing.T) {
	f, err := newFloor(2)
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	packet, err := (&rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: 96}, Payload: make([]byte, 100)}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if err := f.forward(packet); err != nil {
		t.Fatal(err)
	}
	for i, sink := range f.sinks {
		if err := sink.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 1500)
		n, err := sink.Read(b)
		if err != nil || n != len(packet)+gcmTag {
			t.Errorf("destination %d got %d bytes, %v", i, n, err)
		}
	}
}
