package timeline

import (
	"math"
	"time"

	"consilium/internal/event"
)

// device is one page on one device: what has one clock.
type device struct{ participant, session string }

func deviceOf(e event.Event) device { return device{e.Participant, e.Session} }

// Clock says how a device's clock was compared with the server's.
type Clock struct {
	Session string `json:"session,omitempty"`
	// OffsetMS is the server's clock minus the device's, in ms.
	OffsetMS float64 `json:"offset_ms"`
	// AccuracyMS is how far off OffsetMS can be, in ms, to either side. By
	// arrival it is only known to be too great, by the time the fastest entry
	// needed to get here, and AccuracyMS is nil.
	AccuracyMS *float64 `json:"accuracy_ms"`
	// Method is "ping": the device measured round trips of messages, of which
	// Samples reports tell; or "arrival": OffsetMS is the least time that any
	// of Samples entries seemed to need from the device to here.
	Method  string `json:"method"`
	Samples int    `json:"samples"`
}

func (c *Clock) offset() time.Duration {
	if c == nil {
		return 0
	}
	return time.Duration(c.OffsetMS * float64(time.Millisecond))
}

// bounds is what is known of the offset of a clock, in ms. Each round trip
// bounds it to both sides, by half of itself; each entry from above, for it
// can't have been noted after it came.
type bounds struct {
	low, high       float64 // by all pings, and high by the entries too
	best, accuracy  float64 // the shortest round trip: its offset, and half of it
	arrival         float64 // by the entries
	pings, arrivals int
}

// measure compares the clocks of all devices.
func measure(events []event.Event) map[device]*Clock {
	known := make(map[device]*bounds)
	for _, e := range events {
		if e.Type != event.NoteClient {
			continue
		}
		b := known[deviceOf(e)]
		if b == nil {
			b = &bounds{low: math.Inf(-1), high: math.Inf(1), accuracy: math.Inf(1), arrival: math.Inf(1)}
			known[deviceOf(e)] = b
		}
		rtt, measured := number(e.Data, "socket_ms")
		offset, told := number(e.Data, "clock_ms")
		if measured && told && rtt >= 0 && rtt < maxRoundTrip && math.Abs(offset) < maxOffset {
			b.ping(offset, rtt/2)
		}
		if noted, ok := deviceTime(e); ok {
			b.arrive(float64(e.Time.Sub(noted)) / float64(time.Millisecond))
		}
	}
	clocks := make(map[device]*Clock)
	for d, b := range known {
		if c := b.clock(d.session); c != nil {
			clocks[d] = c
		}
	}
	return clocks
}

// What a client may say of its clock, in ms: a round trip that is longer says
// nothing, and no clock is wrong by three hundred years.
const (
	maxRoundTrip = 60_000
	maxOffset    = 1e13
)

func (b *bounds) ping(offset, accuracy float64) {
	b.pings++
	b.low, b.high = max(b.low, offset-accuracy), min(b.high, offset+accuracy)
	if accuracy < b.accuracy {
		b.best, b.accuracy = offset, accuracy
	}
}

func (b *bounds) arrive(offset float64) {
	b.arrivals++
	b.high, b.arrival = min(b.high, offset), min(b.arrival, offset)
}

func (b *bounds) clock(session string) *Clock {
	switch {
	case b.pings == 0 && b.arrivals == 0:
		return nil
	case b.pings == 0:
		return &Clock{Session: session, OffsetMS: b.arrival, Method: "arrival", Samples: b.arrivals}
	case b.low > b.high: // the clock was set, or runs at another speed
		return &Clock{Session: session, OffsetMS: b.best, AccuracyMS: &b.accuracy, Method: "ping", Samples: b.pings}
	}
	accuracy := (b.high - b.low) / 2
	return &Clock{Session: session, OffsetMS: b.low + accuracy, AccuracyMS: &accuracy, Method: "ping", Samples: b.pings}
}

// deviceTime is when a device noted an entry, by its own clock.
func deviceTime(e event.Event) (time.Time, bool) {
	const year2200 = 7258118400000
	if ms, ok := number(e.Data, "device_ms"); ok && ms > 0 && ms < year2200 {
		return time.UnixMicro(int64(ms * 1000)), true
	}
	if text(e.Data, "via") != "https" {
		return time.Time{}, false // client_time is by the server's clock then
	}
	t, err := time.Parse(time.RFC3339Nano, text(e.Data, "client_time"))
	return t, err == nil && t.Year() > 1970
}
