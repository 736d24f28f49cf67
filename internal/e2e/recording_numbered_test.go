package e2e

import (
	"slices"
	"testing"
	"time"

	"consilium/internal/auth"
	"consilium/internal/bot"
	"consilium/internal/media"
	"consilium/internal/testmedia"
	"consilium/recorder"
)

// numberedTime is how long numbered media last: no round of a test is longer,
// so that a number names one moment.
const numberedTime = 100 * time.Second

// pictureTime is how long a numbered picture is shown.
const pictureTime = time.Second / testmedia.NumberedFPS

// numbered are the clips of a participant who can be counted.
func numbered(t *testing.T) map[media.Source]*testmedia.Clip {
	t.Helper()
	clips, err := numberedClips()
	if err != nil {
		t.Fatal(err)
	}
	return clips
}

// meet lets participants who send numbered media into a room, and returns when
// each gets sound and picture of every other. All their clips begin now.
func (p *program) meet(room string, clips map[media.Source]*testmedia.Clip, people []string) ([]*bot.Bot, *sentMedia) {
	p.t.Helper()
	sent := newSentMedia(time.Now())
	var bots []*bot.Bot
	for _, identity := range people {
		bots = append(bots, p.bot(room, identity, auth.RoleDoctor, func(c *bot.Config) {
			c.Clips, c.KeepStep, c.Start, c.OnSend, c.Persons = clips, true, sent.start, sent.note(identity), max(len(people)-1, 1)
		}))
	}
	ctx := p.context(patience)
	for i, b := range bots {
		for j, other := range people {
			if i != j {
				p.must(b.WaitFrames(ctx, other, media.Camera, 5))
				p.must(b.WaitFrames(ctx, other, media.Microphone, 5))
			}
		}
		p.must(b.WaitConnected(ctx))
	}
	return bots, sent
}

// kept is what of a track is in a file, on the clock of the clips.
type kept struct {
	from, until time.Duration
	zero        time.Duration // in the file, when the clip began; 0 is the file's begin
	numbers     int           // that are there
	missing     int           // between the first and the last that are not there
}

// keptOf decodes a file of numbered media.
func (p *program) keptOf(call string, s recorder.Segment) kept {
	p.t.Helper()
	file := p.file(call, s.File)
	var marks []testmedia.Mark
	var err error
	each := pictureTime
	if s.Source == media.Microphone {
		each = testmedia.NumberedBeep
		marks, err = testmedia.ReadBeeps(p.t.Context(), file)
	} else {
		var unreadable int
		marks, unreadable, err = testmedia.ReadPictures(p.t.Context(), file)
		if unreadable > 0 {
			p.t.Errorf("%s: %d pictures are damaged", s.File, unreadable)
		}
	}
	p.must(err)
	if len(marks) == 0 {
		p.t.Fatalf("%s holds nothing that was sent", s.File)
	}
	return measureKept(marks, each)
}

// measureKept puts marks onto the clock of the clips, on which number n begins
// at n times each.
func measureKept(marks []testmedia.Mark, each time.Duration) kept {
	var shifts []time.Duration // of file time against the clips' clock
	seen := map[int]bool{}
	lowest, highest := marks[0].Number, marks[0].Number
	for _, m := range marks {
		shifts = append(shifts, m.At-time.Duration(m.Number)*each)
		seen[m.Number] = true
		lowest, highest = min(lowest, m.Number), max(highest, m.Number)
	}
	slices.Sort(shifts)
	shift := shifts[len(shifts)/2]
	last := marks[len(marks)-1]
	k := kept{
		from:    time.Duration(lowest) * each,
		until:   last.At - shift,
		zero:    shift,
		numbers: len(seen),
		missing: highest - lowest + 1 - len(seen),
	}
	if each == pictureTime {
		k.until = time.Duration(highest+1) * each // to the end of the last picture
	} else {
		// Marks are in the middle of windows of 60 ms; the median one is in the
		// middle of its beep.
		k.until += each/2 + 30*time.Millisecond
		k.zero -= each / 2
	}
	return k
}
