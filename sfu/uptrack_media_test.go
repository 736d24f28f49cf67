package sfu

import (
	"testing"
	"time"

	"consilium/internal/media"
)

func TestMediaTimeIsTheSendersNotThatOfArrival(t *testing.T) {
	start := time.Now()
	cases := map[string]struct {
		stamps   []uint32        // at 90 kHz
		arrivals []time.Duration // since start
		want     time.Duration
	}{
		"steady":                 {[]uint32{0, 9000, 18000}, []time.Duration{0, 100 * time.Millisecond, 200 * time.Millisecond}, 200 * time.Millisecond},
		"held up, then a burst":  {[]uint32{0, 90000, 180000}, []time.Duration{0, 10 * time.Millisecond, 2 * time.Second}, 2 * time.Second},
		"frames of many packets": {[]uint32{0, 0, 9000, 9000}, []time.Duration{0, 1, 2, 3}, 100 * time.Millisecond},
		"late packet":            {[]uint32{0, 18000, 9000, 27000}, []time.Duration{0, 1, 2, 3}, 300 * time.Millisecond},
		"wrap":                   {[]uint32{1<<32 - 4500, 4500}, []time.Duration{0, 1}, 100 * time.Millisecond},
		"clock set anew":         {[]uint32{0, 900_000_000}, []time.Duration{0, time.Second}, time.Second},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			u := &upTrack{about: media.Track{ClockRate: 90000}}
			for i, stamp := range c.stamps {
				p := media.NewPacket(nil)
				p.Header.Timestamp, p.Arrival = stamp, start.Add(c.arrivals[i])
				u.countMedia(p)
				if u.numbers.FirstPacket.IsZero() {
					u.numbers.FirstPacket = p.Arrival
				}
				u.numbers.LastPacket = p.Arrival
			}
			if u.numbers.Media != c.want {
				t.Errorf("media time %v, want %v", u.numbers.Media, c.want)
			}
		})
	}
}
