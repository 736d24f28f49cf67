package timeline

import (
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
	// AccuracyMS is how far off OffsetMS can be, in ms, to either side if it is
	// by ping. By arrival it is only known to be too late, by the time the
	// first entry needed to get here, and AccuracyMS is nil.
	AccuracyMS *float64 `json:"accuracy_ms"`
	// Method is "ping": the device measured the offset by the round trip of a
	// message, and of Samples reports the best counts; or "arrival": it is the least
	// time that any entry seemed to need from the device to here.
	Method  string `json:"method"`
	Samples int    `json:"samples"`
}

func (c *Clock) offset() time.Duration {
	if c == nil {
		return 0
	}
	return time.Duration(c.OffsetMS * float64(time.Millisecond))
}

// measure compares the clocks of all devices.
func measure(events []event.Event) map[device]*Clock {
	clocks := make(map[device]*Clock)
	for _, e := range events {
		if e.Type != event.NoteClient {
			continue
		}
		key := deviceOf(e)
		if rtt, ok := number(e.Data, "socket_ms"); ok && rtt >= 0 {
			if offset, ok := number(e.Data, "clock_ms"); ok {
				clocks[key] = byPing(clocks[key], key.session, offset, rtt/2)
			}
		}
		if noted, ok := deviceTime(e); ok {
			clocks[key] = byArrival(clocks[key], key.session, float64(e.Time.Sub(noted))/float64(time.Millisecond))
		}
	}
	return clocks
}

func byPing(c *Clock, session string, offset, accuracy float64) *Clock {
	samples := 1
	if c != nil && c.Method == "ping" {
		samples += c.Samples
		if *c.AccuracyMS <= accuracy {
			c.Samples = samples
			return c
		}
	}
	return &Clock{Session: session, OffsetMS: offset, AccuracyMS: &accuracy, Method: "ping", Samples: samples}
}

func byArrival(c *Clock, session string, offset float64) *Clock {
	if c == nil {
		c = &Clock{Session: session, OffsetMS: offset, Method: "arrival"}
	}
	if c.Method == "arrival" {
		c.OffsetMS = min(c.OffsetMS, offset)
		c.Samples++
	}
	return c
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
