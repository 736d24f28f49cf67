package tunnel

import (
	"sync"
	"time"
)

// How old what waits for a socket may become, and how much of it there may be.
// Beyond it is thrown away.
const (
	maxAudioAge   = 400 * time.Millisecond
	maxVideoAge   = 500 * time.Millisecond
	maxAudioQueue = 1024    // frames, of all lines
	maxVideoQueue = 1 << 20 // bytes, of all lines
)

// Reasons for which frames are thrown away.
const (
	dropOldAudio    = "audio_old"
	dropOldVideo    = "video_old"
	dropFull        = "queue_full"
	dropNoKeyframe  = "no_keyframe"   // follows a frame that was dropped
	dropRate        = "rate"          // the page sends more than it may
	dropUnknownLine = "unknown_line"  // no such m-line, or another codec on it
	dropLate        = "late"          // a packet whose frame is gone
	dropIncomplete  = "incomplete"    // a frame that lacks packets
	dropUnsupported = "unsupported"   // a codec that the tunnel does not carry
	dropDetached    = "no_socket"     // the page's socket is away
	dropTooLarge    = "too_large"     // a frame larger than a message may be
	dropNotSent     = "not_connected" // the peer is not connected to the SFU yet
)

// dropReasons lists them all.
func dropReasons() []string {
	return []string{dropOldAudio, dropOldVideo, dropFull, dropNoKeyframe, dropRate, dropUnknownLine,
		dropLate, dropIncomplete, dropUnsupported, dropDetached, dropTooLarge, dropNotSent}
}

type queued struct {
	frame Frame
	at    time.Time
}

// queue holds the frames that wait for the socket of a page. Written by the
// readers of the peer's tracks, read by the writer of the socket; safe for
// concurrent use. Sound goes before pictures. When it is full or frames have
// become old, frames are dropped: of a picture all up to the next keyframe.
type queue struct {
	drop  func(reason string, n int)
	ready chan struct{} // capacity 1: something was put in

	mu         sync.Mutex
	audio      []queued
	video      []queued
	videoBytes int
	broken     map[uint16]bool // lines of video that wait for a keyframe
}

func newQueue(drop func(string, int)) *queue {
	return &queue{drop: drop, ready: make(chan struct{}, 1), broken: map[uint16]bool{}}
}

// put adds a frame. Its payload must not be changed afterwards.
func (q *queue) put(f Frame, now time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case f.Codec.Audio():
		if len(q.audio) >= maxAudioQueue {
			q.drop(dropFull, 1)
			return
		}
		q.audio = append(q.audio, queued{f, now})
	case q.broken[f.Line] && !f.Key:
		q.drop(dropNoKeyframe, 1)
		return
	case q.videoBytes+len(f.Payload) > maxVideoQueue:
		q.drop(dropFull, 1)
		q.breakLine(f.Line, dropFull)
		return
	default:
		delete(q.broken, f.Line)
		q.video = append(q.video, queued{f, now})
		q.videoBytes += len(f.Payload)
	}
	q.poke()
}

// poke wakes the writer: there may be something to write.
func (q *queue) poke() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// take returns the next frame; video says whether it may be a picture.
func (q *queue) take(now time.Time, video bool) (Frame, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.expire(now)
	if len(q.audio) > 0 {
		f := q.audio[0].frame
		q.audio = q.audio[1:]
		return f, true
	}
	if !video || len(q.video) == 0 {
		return Frame{}, false
	}
	f := q.video[0].frame
	q.video = q.video[1:]
	q.videoBytes -= len(f.Payload)
	return f, true
}

// expire throws away what has become old.
func (q *queue) expire(now time.Time) {
	n := 0
	for n < len(q.audio) && now.Sub(q.audio[n].at) > maxAudioAge {
		n++
	}
	if n > 0 {
		q.drop(dropOldAudio, n)
		q.audio = q.audio[n:]
	}
	for len(q.video) > 0 && now.Sub(q.video[0].at) > maxVideoAge {
		q.breakLine(q.video[0].frame.Line, dropOldVideo)
	}
}

// breakLine throws away the frames of a line up to its last keyframe but one
// that is still young: what is left can be decoded. Without one the line waits.
func (q *queue) breakLine(line uint16, reason string) {
	resume := -1
	for i := len(q.video) - 1; i > 0; i-- { // the first is what is too old
		if q.video[i].frame.Line == line && q.video[i].frame.Key {
			resume = i
			break
		}
	}
	kept, dropped := q.video[:0], 0
	for i, w := range q.video {
		if w.frame.Line == line && (resume < 0 || i < resume) {
			dropped++
			q.videoBytes -= len(w.frame.Payload)
			continue
		}
		kept = append(kept, w)
	}
	clear(q.video[len(kept):])
	q.video = kept
	q.drop(reason, dropped)
	if resume < 0 {
		q.broken[line] = true
	}
}

// waiting returns the lines of video that can go on only with a keyframe.
func (q *queue) waiting() []uint16 {
	q.mu.Lock()
	defer q.mu.Unlock()
	lines := make([]uint16, 0, len(q.broken))
	for line := range q.broken {
		lines = append(lines, line)
	}
	return lines
}

// restart empties the queue for a new socket: pictures begin with keyframes.
func (q *queue) restart(lines []uint16) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if n := len(q.audio) + len(q.video); n > 0 {
		q.drop(dropDetached, n)
	}
	q.audio, q.video, q.videoBytes = nil, nil, 0
	for _, line := range lines {
		q.broken[line] = true
	}
}
