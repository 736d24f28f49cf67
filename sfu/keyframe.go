package sfu

import "time"

// keyframeLimiter merges the keyframe requests of everybody who takes a stream
// into few requests to its publisher. A request stands until a keyframe
// begins; unanswered it is repeated, ever more slowly. It has no clock of its
// own and is not safe for concurrent use. The zero value is ready.
type keyframeLimiter struct {
	wanted   bool
	last     time.Time // when the publisher was asked last
	interval time.Duration
}

// request asks for a keyframe.
func (k *keyframeLimiter) request() {
	if !k.wanted {
		k.interval = keyframeMinInterval
	}
	k.wanted = true
}

// arrived says that a keyframe began.
func (k *keyframeLimiter) arrived() { k.wanted = false }

// due reports whether the publisher is to be asked now, and takes it that he
// then is.
func (k *keyframeLimiter) due(now time.Time) bool {
	if !k.wanted || !k.last.IsZero() && now.Sub(k.last) < k.interval {
		return false
	}
	if !k.last.IsZero() && now.Sub(k.last) < 2*k.interval {
		k.interval = min(2*k.interval, keyframeMaxInterval)
	}
	k.last = now
	return true
}

// next is when due may have something to do; false when nothing is wanted.
func (k *keyframeLimiter) next() (time.Time, bool) {
	return k.last.Add(k.interval), k.wanted
}
