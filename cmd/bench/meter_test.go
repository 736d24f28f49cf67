package main

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestTheMeterTimesWhatWasStampedWithinTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeter()
		payload := make([]byte, 100)
		m.stamp(payload)
		m.received(payload, time.Now()) // before the window
		m.begin()
		m.stamp(payload)
		time.Sleep(3 * time.Millisecond)
		m.received(payload, time.Now())
		m.received(payload, time.Now()) // a second subscriber
		got := m.end()
		m.stamp(payload)
		m.received(payload, time.Now()) // after it
		if got.sent != 1 || got.received != 2 || got.unstamped != 0 || len(got.took) != 2 || got.took[0] != 3*time.Millisecond {
			t.Errorf("got %+v", got)
		}
	})
}

func TestWhatBearsNoCredibleTimeIsCountedApart(t *testing.T) {
	m := newMeter()
	m.begin()
	noise := make([]byte, 20)
	for i := range noise {
		noise[i] = 0xff
	}
	m.received(noise, time.Now())                        // from the future
	m.received(make([]byte, 4), time.Now())              // too short
	m.received(make([]byte, 100), m.epoch.Add(2*oldest)) // ages old
	if got := m.end(); got.received != 3 || got.unstamped != 3 || len(got.took) != 0 {
		t.Errorf("got %+v", got)
	}
}
