package tunnel

import (
	"strings"
	"sync"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"consilium/internal/seq"
)

// keyframeEvery is how often a publisher is asked for a keyframe of one m-line.
const keyframeEvery = 500 * time.Millisecond

// downLine is an m-line on which the peer receives. It belongs to the goroutine
// that reads its track; the time of its frames is told by another.
type downLine struct {
	mid     uint16
	audio   bool
	out     *queue
	drop    func(string, int)
	lost    func() // a keyframe is needed
	frames  *assembler
	wall    wallClock
	numbers map[uint16]bool // sequence numbers of sound that came lately
	recent  []uint16        // the same, in order
}

func newDownLine(mid uint16, audio bool, out *queue, drop func(string, int), lost func()) *downLine {
	d := &downLine{mid: mid, audio: audio, out: out, drop: drop, lost: lost, frames: newAssembler(drop)}
	d.wall.rate = 90000
	if audio {
		d.wall.rate, d.numbers = 48000, map[uint16]bool{}
	}
	return d
}

// receive takes a packet, which must not be changed afterwards.
func (d *downLine) receive(p *rtp.Packet, c Codec, now time.Time) {
	if c.Name() == "" || c.Audio() != d.audio {
		d.drop(dropUnsupported, 1)
		return
	}
	if len(p.Payload) == 0 {
		if !d.audio { // padding fills a number
			_, _ = d.frames.add(p, c, now)
		}
		return
	}
	d.wall.arrived(p.Timestamp, now)
	if d.audio {
		if !d.isNew(p.SequenceNumber) {
			return
		}
		d.out.put(Frame{Line: d.mid, Codec: c, Key: true, Time: d.wall.at(p.Timestamp), Payload: p.Payload}, now)
		return
	}
	frames, lost := d.frames.add(p, c, now)
	for _, f := range frames {
		d.out.put(Frame{Line: d.mid, Codec: c, Key: f.key, Time: d.wall.at(f.timestamp), Payload: f.payload}, now)
	}
	if lost {
		d.lost()
	}
}

// recentNumbers is how many packets of sound are remembered: a second.
const recentNumbers = 64

// isNew reports whether a packet of sound comes for the first time. The page
// puts sound in order itself, by time.
func (d *downLine) isNew(number uint16) bool {
	if d.numbers[number] {
		return false
	}
	if len(d.recent) >= recentNumbers {
		delete(d.numbers, d.recent[0])
		d.recent = d.recent[1:]
	}
	d.recent = append(d.recent, number)
	d.numbers[number] = true
	return true
}

// wallClock tells when what an RTP timestamp belongs to was captured, on the
// server's clock: by the SFU's sender reports or, before the first, by when a
// packet came. Safe for concurrent use.
type wallClock struct {
	rate uint32

	mu     sync.Mutex
	stamps seq.Unwrapper32
	known  bool
	rtp    int64
	wall   time.Duration // since 1970, at rtp
}

// arrived uses a packet until there is something better.
func (w *wallClock) arrived(timestamp uint32, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	stamp := w.stamps.Unwrap(timestamp)
	if !w.known {
		w.known, w.rtp, w.wall = true, stamp, time.Duration(now.UnixNano())
	}
}

// report takes a sender report.
func (w *wallClock) report(sr *rtcp.SenderReport) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.known, w.rtp, w.wall = true, w.stamps.Unwrap(sr.RTPTime), fromNTP(sr.NTPTime)
}

func (w *wallClock) at(timestamp uint32) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	stamps := w.stamps // a late packet must not turn it back
	ticks := stamps.Unwrap(timestamp) - w.rtp
	return max(0, w.wall+time.Duration(ticks*int64(time.Second)/int64(w.rate)))
}

// codecOf is the codec of what a track carries now.
func codecOf(remote *webrtc.TrackRemote) Codec {
	switch mime := remote.Codec().MimeType; {
	case strings.EqualFold(mime, webrtc.MimeTypeOpus):
		return Opus
	case strings.EqualFold(mime, webrtc.MimeTypeVP8):
		return VP8
	case strings.EqualFold(mime, webrtc.MimeTypeVP9):
		return VP9
	case strings.EqualFold(mime, webrtc.MimeTypeH264):
		return H264
	}
	return 0
}
