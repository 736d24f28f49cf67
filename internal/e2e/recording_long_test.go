package e2e

import (
	"math"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtp"

	"consilium/internal/auth"
	"consilium/internal/bot"
	"consilium/internal/media"
	"consilium/recorder"
)

// Somebody whose timestamps and sequence numbers begin just below their wrap
// is silent again and again, as discontinuous transmission is: for three hours,
// or twelve seconds. File time stays the time of the call, and the program does
// not grow. (Hours in a virtual clock: TestThreeHoursOfSoundThatIsRarelySent.)
func TestSilencesAndWrapsKeepTheTimeOfTheCall(t *testing.T) {
	t.Parallel()
	talk := 12 * time.Second
	if *soak {
		talk = 3 * time.Hour
	}
	clips := numbered(t)
	p := startProgram(t, buildProgram(t), filepath.Join(t.TempDir(), "data"), nil)
	wrap := wrapSoon(3 * time.Second)
	began := time.Now()
	b := p.bot("room", "patient", auth.RolePatient, func(c *bot.Config) {
		c.Clips, c.KeepStep, c.Start, c.OnSend = clips, true, began, wrap
	})
	p.must(b.WaitConnected(p.context(patience)))
	p.spooled(2)
	before := p.holds()
	for time.Since(began) < talk {
		rest(t, time.Second+rand.N(time.Second))
		b.CutMedia(media.Microphone)
		rest(t, time.Second/2+rand.N(time.Second))
		b.RestoreMedia(media.Microphone)
	}
	rest(t, time.Second) // sound at the end
	after := p.holds()
	call := b.Snapshot().Welcome.Call
	p.must(b.Leave(p.context(patience)))
	sent := time.Since(began)
	m := p.manifest(call, recorder.Final)

	var length [2]time.Duration // of sound, of pictures
	for _, s := range m.Segments {
		i := 0
		if s.Source == media.Camera {
			i = 1
		}
		length[i] += time.Duration(s.DurationMS) * time.Millisecond
		t.Logf("%s: %d ms, %d of silence filled, %d bytes", s.File, s.DurationMS, s.SilenceFilledMS, s.Bytes)
		if talk < numberedTime {
			k := p.keptOf(call, s)
			if off := (sent - k.until).Abs(); off > lastWords {
				t.Errorf("%s ends with what was sent at %v, %v before the end", s.File, k.until, off)
			}
		}
	}
	if apart := (length[0] - length[1]).Abs(); apart > lastWords {
		t.Errorf("sound lasts %v, pictures %v", length[0], length[1])
	}
	if off := sent - length[0]; off < -lastWords || off > joinTime {
		t.Errorf("the call took %v, its files %v", sent, length[0])
	}
	if grown := after.resident - before.resident; grown > 64 {
		t.Errorf("the program grew from %.0f to %.0f MiB", before.resident, after.resident)
	}
}

const (
	lastWords = 250 * time.Millisecond // the end of what a bot sends is not exact
	joinTime  = 15 * time.Second       // from the begin of the clips to the first packet
)

// wrapSoon changes timestamps and sequence numbers so that each wraps after
// some time.
func wrapSoon(after time.Duration) func(media.Source, *rtp.Packet) {
	type base struct {
		timestamp uint32
		sequence  uint16
	}
	var lock sync.Mutex
	bases := map[media.Source]base{}
	return func(source media.Source, p *rtp.Packet) {
		lock.Lock()
		defer lock.Unlock()
		b, ok := bases[source]
		if !ok {
			rate := 48_000.0
			if source == media.Camera {
				rate = 90_000
			}
			b = base{timestamp: -uint32(math.Round(after.Seconds()*rate)) - p.Timestamp, sequence: 0xFFC0 - p.SequenceNumber}
			bases[source] = b
		}
		p.Timestamp += b.timestamp
		p.SequenceNumber += b.sequence
	}
}

// rest lets time pass, as long as the test runs.
func rest(t *testing.T, d time.Duration) {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
	}
}
