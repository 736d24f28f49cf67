package signaling

import (
	"math"
	"time"
)

// clientClock turns the client's clock into the server's. Each ping gives an
// upper bound of the offset (it includes the way here): the least is the best.
// A session's loop owns it.
type clientClock struct {
	offset time.Duration // server minus client
	known  bool
}

// fromMillis reads ms since 1970, as clients send them; ok is false for what
// is no time between 1970 and 2200.
func fromMillis(ms float64) (t time.Time, ok bool) {
	const year2200 = 7258118400000
	if !(ms >= 0 && ms < year2200) {
		return time.Time{}, false
	}
	whole, part := math.Modf(ms)
	return time.UnixMilli(int64(whole)).Add(time.Duration(part * float64(time.Millisecond))), true
}

func toMillis(t time.Time) float64 { return float64(t.UnixMicro()) / 1000 }

// observe learns from a ping that said ms when it was sent.
func (c *clientClock) observe(ms float64, now time.Time) {
	t, ok := fromMillis(ms)
	if !ok {
		return
	}
	if offset := now.Sub(t); !c.known || offset < c.offset {
		c.offset, c.known = offset, true
	}
}

// at returns when the client noted ms. newest is the latest time in the same
// message: as long as no ping came, that one is taken for now. What would lie
// in the future is now.
func (c *clientClock) at(ms, newest float64, now time.Time) time.Time {
	t, ok := fromMillis(ms)
	if !ok {
		return now
	}
	offset := c.offset
	if !c.known {
		last, ok := fromMillis(newest)
		if !ok {
			return now
		}
		offset = now.Sub(last)
	}
	if t = t.Add(offset); t.After(now) {
		return now
	}
	return t
}
