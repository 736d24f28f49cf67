package main

import (
	"encoding/binary"
	"sync"
	"time"
)

// stampBytes is how much of a payload's end the time of sending takes.
const stampBytes = 8

// oldest is the greatest age a stamp can have; what is older was not stamped.
const oldest = time.Minute

// meter counts what the clients send and get, and how long it took. Sender and
// receiver are in this process, so that one monotonic clock measures both
// ends. All methods are safe for concurrent use.
type meter struct {
	epoch time.Time

	mu    sync.Mutex
	open  bool
	count delivery
}

// delivery is what happened within a window.
type delivery struct {
	sent, received uint64
	unstamped      uint64 // received without a credible time: should be 0
	took           []time.Duration
}

func newMeter() *meter { return &meter{epoch: time.Now()} }

// stamp writes the time into the end of a payload that is about to be sent.
func (m *meter) stamp(payload []byte) {
	m.mu.Lock()
	if m.open {
		m.count.sent++
	}
	m.mu.Unlock()
	if len(payload) >= stampBytes {
		binary.BigEndian.PutUint64(payload[len(payload)-stampBytes:], uint64(time.Since(m.epoch)))
	}
}

// received takes a payload that arrived at a given time.
func (m *meter) received(payload []byte, at time.Time) {
	took, ok := m.age(payload, at)
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.open {
		return
	}
	m.count.received++
	if ok {
		m.count.took = append(m.count.took, took)
	} else {
		m.count.unstamped++
	}
}

// age reads the stamp of a payload.
func (m *meter) age(payload []byte, at time.Time) (time.Duration, bool) {
	if len(payload) < stampBytes {
		return 0, false
	}
	sent := binary.BigEndian.Uint64(payload[len(payload)-stampBytes:])
	now := at.Sub(m.epoch)
	if sent > uint64(now) || now-time.Duration(sent) > oldest {
		return 0, false
	}
	return now - time.Duration(sent), true
}

// begin opens the window.
func (m *meter) begin() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.open, m.count = true, delivery{}
}

// end closes the window and returns what happened in it.
func (m *meter) end() delivery {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.open = false
	return m.count
}
