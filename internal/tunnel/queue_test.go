package tunnel

import (
	"testing"
	"time"
)

// counted is a queue and what it dropped.
type counted struct {
	*queue
	dropped map[string]int
	start   time.Time
}

func newCounted() counted {
	c := counted{dropped: map[string]int{}, start: time.Unix(1000, 0)}
	c.queue = newQueue(func(reason string, n int) { c.dropped[reason] += n })
	return c
}

// add puts a frame in; its number is its time in milliseconds.
func (c counted) add(line uint16, codec Codec, key bool, ms int) {
	at := time.Duration(ms) * time.Millisecond
	c.put(Frame{Line: line, Codec: codec, Key: key, Time: at, Payload: make([]byte, 100)}, c.start.Add(at))
}

// rest takes everything that is left at an instant, as times in milliseconds.
func (c counted) rest(ms int, video bool) (times []int) {
	for {
		f, ok := c.take(c.start.Add(time.Duration(ms)*time.Millisecond), video)
		if !ok {
			return times
		}
		times = append(times, int(f.Time.Milliseconds()))
	}
}

func equal(t *testing.T, got []int, want ...int) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("got %v, want %v", got, want)
		}
	}
}

func TestSoundGoesBeforePictures(t *testing.T) {
	q := newCounted()
	q.add(1, VP8, true, 0)
	q.add(1, VP8, false, 50)
	q.add(0, Opus, true, 60)
	equal(t, q.rest(70, true), 60, 0, 50)
}

func TestPicturesWaitWhileTheWayIsFull(t *testing.T) {
	q := newCounted()
	q.add(1, VP8, true, 0)
	q.add(0, Opus, true, 10)
	equal(t, q.rest(20, false), 10)
	equal(t, q.rest(30, true), 0)
}

func TestOldSoundIsThrownAway(t *testing.T) {
	q := newCounted()
	q.add(0, Opus, true, 0)
	q.add(0, Opus, true, 200)
	equal(t, q.rest(450, true), 200)
	if q.dropped[dropOldAudio] != 1 {
		t.Errorf("dropped %v", q.dropped)
	}
}

func TestOldPicturesAreThrownAwayUpToTheNextKeyframe(t *testing.T) {
	for name, c := range map[string]struct {
		keys    map[int]bool // by time
		want    []int
		waiting int
	}{
		"a keyframe is there":  {map[int]bool{0: true, 300: true}, []int{300, 400}, 0},
		"the last one counts":  {map[int]bool{0: true, 200: true, 400: true}, []int{400}, 0},
		"there is no keyframe": {map[int]bool{0: true}, nil, 1},
	} {
		t.Run(name, func(t *testing.T) {
			q := newCounted()
			for ms := 0; ms <= 400; ms += 100 {
				q.add(1, VP8, c.keys[ms], ms)
			}
			equal(t, q.rest(550, true), c.want...)
			if got := q.dropped[dropOldVideo]; got != 5-len(c.want) {
				t.Errorf("%d frames were dropped as old", got)
			}
			if len(q.waiting()) != c.waiting {
				t.Errorf("lines %v wait for a keyframe", q.waiting())
			}
		})
	}
}

func TestALineGoesOnWithAKeyframeAndTheOthersAtOnce(t *testing.T) {
	q := newCounted()
	q.add(1, VP8, true, 0)
	q.add(3, VP8, true, 500)
	equal(t, q.rest(600, true), 500)
	q.add(1, VP8, false, 610)
	q.add(3, VP8, false, 620)
	q.add(1, VP8, true, 630)
	q.add(1, VP8, false, 640)
	equal(t, q.rest(650, true), 620, 630, 640)
	if q.dropped[dropNoKeyframe] != 1 {
		t.Errorf("dropped %v", q.dropped)
	}
}

func TestAQueueThatRunsFullDrops(t *testing.T) {
	q := newCounted()
	for range 12 {
		q.put(Frame{Line: 1, Codec: VP8, Key: true, Payload: make([]byte, 100<<10)}, q.start)
	}
	if q.videoBytes > maxVideoQueue {
		t.Errorf("%d bytes wait", q.videoBytes)
	}
	for range maxAudioQueue + 5 {
		q.put(Frame{Codec: Opus, Key: true, Payload: []byte{1}}, q.start)
	}
	if len(q.audio) != maxAudioQueue || q.dropped[dropFull] == 0 {
		t.Errorf("%d frames of sound wait, dropped %v", len(q.audio), q.dropped)
	}
}

func TestANewSocketBeginsWithKeyframes(t *testing.T) {
	q := newCounted()
	q.add(1, VP8, true, 0)
	q.add(0, Opus, true, 0)
	q.restart([]uint16{1})
	q.add(1, VP8, false, 10)
	q.add(1, VP8, true, 20)
	equal(t, q.rest(30, true), 20)
	if q.dropped[dropDetached] != 2 {
		t.Errorf("dropped %v", q.dropped)
	}
}

func TestFlightIsAsOldAsItsOldestByteThatHasNotArrived(t *testing.T) {
	var f flight
	start := time.Unix(1000, 0)
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	if f.age(at(0)) != 0 {
		t.Error("nothing was sent, and it has an age")
	}
	f.add(100, at(0))
	f.add(100, at(500))
	f.received(150)
	if got := f.age(at(1000)); got != 500*time.Millisecond {
		t.Errorf("age is %v, want 500ms", got)
	}
	f.received(90)  // less than before
	f.received(900) // more than was sent
	if got := f.age(at(1000)); got != 500*time.Millisecond {
		t.Errorf("age is %v after nonsense, want 500ms", got)
	}
	f.received(200)
	if f.age(at(1000)) != 0 {
		t.Error("all has arrived, and it has an age")
	}
	for range 3 * maxMarks {
		f.add(10, at(2000))
	}
	if len(f.marks) > maxMarks {
		t.Errorf("%d marks are kept", len(f.marks))
	}
}

func TestPicturesAboveTheRateAreDroppedUpToAKeyframe(t *testing.T) {
	var b brokenLines
	steps := []struct {
		frame Frame
		fits  bool
		want  bool
	}{
		{Frame{Line: 1, Codec: VP8, Key: true}, true, true},
		{Frame{Line: 1, Codec: VP8}, false, false},
		{Frame{Line: 1, Codec: VP8}, true, false},
		{Frame{Line: 0, Codec: Opus, Key: true}, true, true},
		{Frame{Line: 0, Codec: Opus, Key: true}, false, false},
		{Frame{Line: 1, Codec: VP8, Key: true}, true, true},
		{Frame{Line: 1, Codec: VP8}, true, true},
	}
	for i, s := range steps {
		if got := b.pass(s.frame, s.fits); got != s.want {
			t.Errorf("step %d: passes %v, want %v", i, got, s.want)
		}
	}
}
