package recorder

import (
	"testing"
	"time"

	"consilium/internal/media"
)

// pushed returns the places that a timeline gives frames.
func pushed(t *timeline, f frame) []time.Duration {
	var at []time.Duration
	for _, p := range t.push(f) {
		at = append(at, p.pos)
	}
	return at
}

func TestAReportThatCameBeforeTheStreamBridgesAtOnce(t *testing.T) {
	begin := time.Now()
	tl := timeline{rate: 90_000}
	pushed(&tl, frame{rtp: 0, ssrc: 1, arrival: begin})
	tl.report(media.SenderReport{SSRC: 1, NTP: 100 << 32, RTP: 0})
	tl.report(media.SenderReport{SSRC: 2, NTP: 101 << 32, RTP: 7000}) // a second later
	got := pushed(&tl, frame{rtp: 7000 + 9000, ssrc: 2, arrival: begin.Add(1300 * time.Millisecond)})
	if len(got) != 1 || got[0] != 1100*time.Millisecond || tl.guesses != 0 {
		t.Errorf("placed at %v after %d guesses", got, tl.guesses)
	}
}

func TestAReportThatContradictsArrivalBridgesNothing(t *testing.T) {
	begin := time.Now()
	tl := timeline{rate: 90_000}
	pushed(&tl, frame{rtp: 0, ssrc: 1, arrival: begin})
	tl.report(media.SenderReport{SSRC: 1, NTP: 100 << 32, RTP: 0})
	pushed(&tl, frame{rtp: 7000, ssrc: 2, arrival: begin.Add(time.Second)})
	if frames, _, ok := tl.report(media.SenderReport{SSRC: 2, NTP: 900 << 32, RTP: 7000}); ok || len(frames) > 0 {
		t.Errorf("a clock that was set by 13 min places %v", frames)
	}
	var got []time.Duration
	for _, p := range tl.release() {
		got = append(got, p.pos)
	}
	if len(got) != 1 || got[0] != time.Second || tl.guesses != 1 {
		t.Errorf("placed at %v after %d guesses", got, tl.guesses)
	}
}

// A network that stands still for a moment, and is late for a while after it,
// looks like a sender's clock that stood: his reports know better.
func TestReportsTellALateNetworkFromAClockThatStoodStill(t *testing.T) {
	for name, stood := range map[string]time.Duration{
		"the network stood still":         0,
		"the clock stood still":           700 * time.Millisecond,
		"the clock stood still for hours": 2 * time.Hour,
	} {
		t.Run(name, func(t *testing.T) {
			const step, gap = 20 * time.Millisecond, 700 * time.Millisecond
			begin := time.Now()
			tl := timeline{rate: 48_000}
			var last time.Duration
			sent := time.Duration(0) // on the sender's RTP clock
			for ; sent < 9*time.Second; sent += step {
				wall, late := sent, time.Duration(0)
				if sent >= 5*time.Second {
					wall += stood
				}
				if stood == 0 && sent >= 5*time.Second && sent < 7*time.Second {
					late = gap
				}
				arrival, rtp := begin.Add(wall+late), sent.Milliseconds()*48
				for _, at := range pushed(&tl, frame{rtp: rtp, ssrc: 1, arrival: arrival}) {
					last = at
				}
				if sent%time.Second == step {
					ntp := uint64(wall.Seconds() * (1 << 32))
					frames, _, _ := tl.report(media.SenderReport{SSRC: 1, NTP: 100<<32 + ntp, RTP: uint32(rtp), Arrival: arrival})
					for _, p := range frames {
						last = p.pos
					}
				}
			}
			if want := sent - step + stood; (last - want).Abs() > step {
				t.Errorf("the last frame is at %v, want %v", last, want)
			}
		})
	}
}

// FuzzTimeline feeds frames of several streams, whose clocks step anywhere,
// and sender reports. Every frame must come out once, in order, and never
// earlier than the one before.
func FuzzTimeline(f *testing.F) {
	f.Add([]byte{0, 1, 10, 0, 0, 1, 20, 0, 3, 1, 50, 9, 0, 2, 10, 200, 3, 2, 10, 200, 0, 2, 255, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		tl := timeline{rate: 90_000}
		now := time.Unix(1000, 0)
		begin := now
		rtp, in, out, last := int64(1)<<33, 0, 0, time.Duration(-1<<62)
		take := func(frames []placed) {
			for _, p := range frames {
				if int(p.width) != out {
					t.Fatalf("frame %d comes out as number %d", p.width, out)
				}
				if p.pos < last {
					t.Fatalf("frame %d is at %v, after %v", out, p.pos, last)
				}
				out, last = out+1, p.pos
			}
		}
		for ; len(data) >= 4; data = data[4:] {
			kind, ssrc, passed, step := data[0]%4, uint32(data[1]%3)+1, data[2], int64(int8(data[3]))
			now = now.Add(time.Duration(passed) * 10 * time.Millisecond)
			rtp += step << (data[0] >> 2 % 32)
			switch kind {
			case 3:
				take(first(tl.report(media.SenderReport{
					SSRC: ssrc, NTP: uint64(step+1000) << 32, RTP: uint32(rtp), Arrival: now,
				})))
			default:
				take(tl.push(frame{rtp: rtp, ssrc: ssrc, arrival: now, width: in}))
				in++
			}
			if due := tl.due(); !due.IsZero() && now.After(due) {
				take(tl.release())
			}
		}
		take(tl.release())
		if in != out {
			t.Fatalf("%d frames of %d came out", out, in)
		}
		if d := tl.now(now); tl.started && d > now.Sub(begin)+24*time.Hour {
			t.Fatalf("file time now is %v", d)
		}
	})
}

func first(frames []placed, _ time.Duration, _ bool) []placed { return frames }
