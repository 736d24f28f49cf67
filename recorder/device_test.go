package recorder

import (
	"math/rand/v2"
	"time"

	"consilium/internal/media"
)

// device is a sender whose clocks are not the server's. Its RTP clock runs
// rtpPPM slower than its own system clock, and that senderPPM slower than the
// server's: a second of file time lasts so much longer there.
type device struct {
	rtpPPM, senderPPM float64
	wrong             time.Duration // its system clock, from the truth
	encode            time.Duration // from capture to the network
	way               time.Duration // the shortest way to the server
	jitter            time.Duration // at most, on top of it
	random            *rand.Rand
}

// now returns the server's time when the device's RTP clock has run for file.
func (d *device) now(file time.Duration) time.Duration {
	return time.Duration(float64(file) * (1 + d.rtpPPM/1e6) * (1 + d.senderPPM/1e6))
}

// travel is how long the way to the server takes this time.
func (d *device) travel() time.Duration {
	if d.jitter == 0 {
		return d.way
	}
	return d.way + time.Duration(d.random.Int64N(int64(d.jitter)))
}

// send returns packets of a source, whose times are file times, as the server
// gets them.
func (d *device) send(packets []sent) []sent {
	var end time.Duration
	for i := range packets {
		at := d.now(packets[i].at) + d.encode
		if i > 0 && packets[i].packet.Header.Timestamp == packets[i-1].packet.Header.Timestamp {
			end += time.Millisecond / 4 // of one frame: they leave together
		} else {
			end = at + d.travel()
		}
		packets[i].at = end
	}
	return packets
}

const ntpOfBegin = int64(3_900_000_000) * int64(time.Second)

// ntp is the wire form of the device's clock at a moment of its own.
func (d *device) ntp(own time.Duration) uint64 {
	ns := ntpOfBegin + int64(d.wrong+own)
	return uint64(ns/ntpSecond)<<32 | uint64(ns%ntpSecond)<<32/uint64(ntpSecond)
}

// reports returns sender reports about a source, from one instant to another
// of the server's time, one in every period.
func (d *device) reports(s *source, from, to, every time.Duration) []sent {
	var out []sent
	for at := from; at < to; at += every {
		own := float64(at) / (1 + d.senderPPM/1e6)
		file := own / (1 + d.rtpPPM/1e6)
		r := media.SenderReport{
			SSRC: s.ssrc, NTP: d.ntp(time.Duration(own)),
			RTP: s.rtp + uint32(int64(file/float64(time.Second)*float64(s.clip.ClockRate))),
		}
		out = append(out, sent{at: at + d.travel(), tell: func(sink media.Sink) {
			r.Arrival = time.Now()
			sink.WriteSenderReport(r)
		}})
	}
	return out
}
