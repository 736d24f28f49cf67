package e2e

import (
	"maps"
	"math"
	"sync"
	"time"

	"github.com/pion/rtp"

	"consilium/internal/media"
	"consilium/internal/testmedia"
)

// sentMedia notes what participants send of their clips, which began at start:
// a machine that is too busy to send something has not lost it.
type sentMedia struct {
	start time.Time

	lock   sync.Mutex
	tracks map[trackOf]sentTrack
}

type trackOf struct {
	identity string
	source   media.Source
}

// sentTrack is what was sent of one clip.
type sentTrack struct {
	frames      int
	first, last uint32        // timestamps, the same in all packets of a frame
	begin       time.Duration // of the first frame, on the clock of the clips
}

func newSentMedia(start time.Time) *sentMedia {
	return &sentMedia{start: start, tracks: map[trackOf]sentTrack{}}
}

// note returns what a bot has to call for each packet.
func (s *sentMedia) note(identity string) func(media.Source, *rtp.Packet) {
	return func(source media.Source, p *rtp.Packet) {
		now := time.Since(s.start)
		s.lock.Lock()
		defer s.lock.Unlock()
		track := trackOf{identity, source}
		t, ok := s.tracks[track]
		if !ok {
			t = sentTrack{first: p.Timestamp, begin: math.MaxInt64}
		}
		if !ok || t.last != p.Timestamp {
			t.frames++
			t.last = p.Timestamp
		}
		// Nothing is sent before its time: what is least late tells the place.
		t.begin = min(t.begin, (now - t.passed(source)).Truncate(frameTime(source)))
		s.tracks[track] = t
	}
}

// untilNow returns what was sent until now.
func (s *sentMedia) untilNow() map[trackOf]sentTrack {
	s.lock.Lock()
	defer s.lock.Unlock()
	return maps.Clone(s.tracks)
}

// passed is how long after the first frame the last one was due.
func (t sentTrack) passed(source media.Source) time.Duration {
	rate := testmedia.ClockOpus
	if source == media.Camera {
		rate = testmedia.ClockVP8
	}
	return time.Duration(t.last-t.first) * time.Second / time.Duration(rate)
}

// end is the end of the last frame, on the clock of the clips.
func (t sentTrack) end(source media.Source) time.Duration {
	return t.begin + t.passed(source) + frameTime(source)
}

// frameTime is how long a frame of numbered media lasts.
func frameTime(source media.Source) time.Duration {
	if source == media.Camera {
		return pictureTime
	}
	return 20 * time.Millisecond
}
