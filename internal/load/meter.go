package load

import (
	"encoding/binary"
	"sync"
	"time"
)

const (
	// stampBytes of a payload's end are the time of sending.
	stampBytes = 8
	// step and steps are the resolution and the range of the delays: memory
	// does not grow with the duration.
	step  = 100 * time.Microsecond
	steps = 20_000
)

// meter counts packets and how long they took. Sender and receiver are in this
// process, so that one monotonic clock measures both ends. Its methods may be
// called from any goroutine.
type meter struct {
	epoch time.Time

	mu    sync.Mutex
	open  bool
	count delivery
}

// delivery is what happened while the meter was open.
type delivery struct {
	sent, received uint64
	timed          uint64        // of those received, with a credible time
	took           []uint32      // how many took how many steps; the last one: or more
	longest        time.Duration // of all
}

func newMeter() *meter { return &meter{epoch: time.Now()} }

// stamp writes the time into a payload that is about to be sent.
func (m *meter) stamp(payload []byte) {
	m.mu.Lock()
	if m.open {
		m.count.sent++
	}
	m.mu.Unlock()
	if len(payload) >= 2*stampBytes { // a short one keeps its header whole
		binary.BigEndian.PutUint64(payload[len(payload)-stampBytes:], uint64(time.Since(m.epoch)))
	}
}

// received takes a payload that arrived at a given time.
func (m *meter) received(payload []byte, at time.Time) {
	now := at.Sub(m.epoch)
	took := time.Duration(-1)
	if len(payload) >= 2*stampBytes {
		if sent := binary.BigEndian.Uint64(payload[len(payload)-stampBytes:]); sent <= uint64(now) {
			took = now - time.Duration(sent)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.open {
		return
	}
	m.count.received++
	if took < 0 || took > time.Minute {
		return // not stamped: a packet of padding
	}
	m.count.timed++
	m.count.took[min(int(took/step), steps-1)]++
	m.count.longest = max(m.count.longest, took)
}

func (m *meter) begin() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.open, m.count = true, delivery{took: make([]uint32, steps)}
}

// end closes the meter and returns what happened since begin.
func (m *meter) end() delivery {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.open = false
	return m.count
}

// quantile is the delay that a share of the packets did not exceed.
func (d delivery) quantile(share float64) time.Duration {
	want, sum := uint64(share*float64(d.timed)), uint64(0)
	for i, n := range d.took {
		if sum += uint64(n); sum > want && i < steps-1 {
			return time.Duration(i+1) * step
		}
	}
	return d.longest
}
