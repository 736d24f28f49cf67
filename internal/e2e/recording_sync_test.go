package e2e

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtp"

	"consilium/internal/auth"
	"consilium/internal/bot"
	"consilium/internal/browser"
	"consilium/internal/media"
	"consilium/internal/testmedia"
	"consilium/internal/testserver"
	"consilium/recorder"
)

// syncTolerance is how far sound and picture of a person, and two persons, may
// be apart in a recording.
const syncTolerance = 40 * time.Millisecond

// clockSkew is how fast the clock of the device in the call runs, in ppm.
const clockSkew = 200

// stage takes the place of camera and microphone in a page: a picture that
// turns white, and a beep that begins, at half past every second of the wall
// clock, in one step of one timer.
const stage = `(() => {
	if (!navigator.mediaDevices) return; // about:blank
	const context = new AudioContext({latencyHint: 0, sampleRate: 48000});
	const tone = new OscillatorNode(context, {frequency: 1000});
	const gain = new GainNode(context, {gain: 0});
	const sound = new MediaStreamAudioDestinationNode(context, {channelCount: 1});
	tone.connect(gain).connect(sound);
	tone.start();
	const canvas = document.createElement('canvas');
	canvas.width = 320; canvas.height = 180;
	const g = canvas.getContext('2d');
	const picture = canvas.captureStream(30);
	const step = () => {
		const n = Math.round(Date.now() * 30 / 1000); // the timer may be a little early
		const on = n % 30 >= 15 && n % 30 < 18;
		gain.gain.value = on ? 0.5 : 0;
		g.fillStyle = on ? 'white' : 'black';
		g.fillRect(0, 0, 320, 180);
		g.fillStyle = 'gray'; // something moves
		g.fillRect(n % 30 * 10, 170, 10, 10);
		setTimeout(step, (n + 1) * 1000 / 30 - Date.now());
	};
	step();
	navigator.mediaDevices.getUserMedia = async (wanted) => {
		await context.resume();
		return new MediaStream([...wanted.audio ? sound.stream.getAudioTracks() : [], ...wanted.video ? picture.getVideoTracks() : []]
			.map((track) => track.clone()));
	};
})();`

// Both browsers are Chromium: without a device for sound Firefox has no clock
// for what is made by a page, and on a busy machine its sound stands still.
//
// What a browser that gets no CPU says of its own media is wrong, and no recorder
// can know: Chromium stamps its pictures up to 60 ms early, for good, after a
// slow start. So browsers may try three times. The device, whose media are exact,
// has to be in step every time.
func TestSoundAndPictureOfEverybodyAreInStepInARecording(t *testing.T) {
	talk := 15 * time.Second
	if *soak {
		talk = 10 * time.Minute
	}
	l := start(t, nil)
	browsers := []*browser.Browser{browser.Start(t, browser.Options{}), browser.Start(t, browser.Options{})}
	const tries = 3
	for try := range tries {
		room := fmt.Sprintf("room-%d", try)
		m := l.record(browsers, room, talk)
		offsets := append(l.offsetsOfFiles(m), l.offsetsOfExports(m)...)
		apart := 0
		for _, o := range offsets {
			t.Logf("%s: %v", o.what, o.apart)
			switch {
			case o.apart.Abs() <= syncTolerance:
			case o.exact || try == tries-1:
				t.Errorf("%s: %v apart in the recording, want at most %v", o.what, o.apart, syncTolerance)
			default:
				apart++
			}
		}
		if apart == 0 {
			return
		}
		t.Logf("%d of %d are too far apart; once more", apart, len(offsets))
	}
}

// record holds a call of two browsers and a device, and returns its manifest.
func (l *lab) record(browsers []*browser.Browser, room string, talk time.Duration) recorder.Manifest {
	l.t.Helper()
	people := []*person{
		l.visit(browsers[0], room, "doctor", auth.RoleDoctor, browser.PageOptions{Script: stage}),
		l.visit(browsers[1], room, "patient", auth.RolePatient, browser.PageOptions{Script: stage}),
	}
	for _, p := range people {
		p.join()
	}
	device := l.skewedDevice(room, "device")
	for _, p := range people {
		for _, other := range []string{"doctor", "patient", "device"} {
			if other != p.identity {
				p.sees(other)
			}
		}
	}
	call := device.Snapshot().Welcome.Call
	rest(l.t, talk)
	l.must(device.Leave(l.context(patience)))
	for _, p := range slices.Backward(people) {
		p.leave()
	}
	testserver.Eventually(l.t, patience, "the recording to be ready", func() bool {
		m, err := recorder.Show(l.cfg.Data, call)
		return err == nil && m.State == recorder.Final
	})
	m, err := recorder.Show(l.cfg.Data, call)
	l.must(err)
	return m
}

// offset is how far two things that happened together are apart.
type offset struct {
	what  string
	apart time.Duration
	exact bool // the sources are, so that it is the recorder's
}

// skewedDevice is a bot that flashes and beeps as stage does, by a clock that
// runs fast: in its timestamps, and so in its sender reports.
func (l *lab) skewedDevice(room, identity string) *bot.Bot {
	l.t.Helper()
	flash, err := testmedia.Flash()
	l.must(err)
	var lock sync.Mutex
	first := map[media.Source]uint32{} // timestamp
	return l.bot(room, identity, auth.RoleCompanion, func(c *bot.Config) {
		c.Clips = map[media.Source]*testmedia.Clip{media.Camera: flash}
		c.KeepStep = true
		c.Start = time.Now().Truncate(time.Second)
		c.OnSend = func(source media.Source, p *rtp.Packet) {
			lock.Lock()
			defer lock.Unlock()
			if _, ok := first[source]; !ok {
				first[source] = p.Timestamp
			}
			passed := p.Timestamp - first[source]
			p.Timestamp += uint32(math.Round(float64(passed) * clockSkew / 1e6))
		}
	})
}

// moments are when somebody's flashes and beeps are, after half past a second
// of the wall clock, by the recording's own time axis: ideally 0.
type moments struct{ flash, beep time.Duration }

// offsetsOfFiles decodes every file and compares them on the axis of the
// manifest.
func (l *lab) offsetsOfFiles(m recorder.Manifest) (offsets []offset) {
	l.t.Helper()
	people := map[string]*moments{}
	for _, s := range m.Segments {
		p := people[s.Participant]
		if p == nil {
			p = &moments{}
			people[s.Participant] = p
		}
		of, read := &p.flash, testmedia.ReadFlashes
		if s.Source == media.Microphone {
			of, read = &p.beep, testmedia.ReadBeepOnsets
		}
		marks, err := read(l.t.Context(), l.stored(m, s.File))
		l.must(err)
		if len(marks) < 8 {
			l.t.Fatalf("%s of %s has %d marks, want one a second", s.File, s.Participant, len(marks))
		}
		*of = afterHalfPast(m, s, marks)
		l.t.Logf("%s %s: %d marks, median %v after half past; drift %.0f ppm", s.Participant, s.Source, len(marks), *of, s.DriftPPM)
	}
	for name, p := range people {
		offsets = append(offsets, offset{name + ": sound and picture", p.flash - p.beep, name == "device"})
		for other, q := range people {
			if name < other {
				offsets = append(offsets,
					offset{name + " and " + other + ": sound", p.beep - q.beep, false},
					offset{name + " and " + other + ": picture", p.flash - q.flash, false})
			}
		}
	}
	if len(people) != 3 {
		l.t.Errorf("%d participants were recorded, want 3", len(people))
	}
	return offsets
}

// offsetsOfExports has sound and picture of everybody put into one file each,
// and compares them in that.
func (l *lab) offsetsOfExports(m recorder.Manifest) (offsets []offset) {
	l.t.Helper()
	for _, p := range m.Participants {
		for _, name := range l.export(m, p.Identity) {
			apart := l.flashesAfterBeeps(l.stored(m, filepath.Join(recorder.ExportsDir, name)))
			exact := p.Identity == "device"
			offsets = append(offsets,
				offset{p.Identity + ": sound and picture in one file", median(apart), exact},
				offset{p.Identity + ": the same, at its end", median(apart[len(apart)-5:]), exact})
		}
	}
	return offsets
}

// export merges somebody's sound and picture, and returns the names of files.
func (l *lab) export(m recorder.Manifest, identity string) (names []string) {
	l.t.Helper()
	var job struct {
		ID, State, Reason string
		Files             []struct{ Name string }
	}
	at := "/v1/recordings/" + m.Call + "/exports"
	l.post(at, map[string]any{"kind": "merged", "participant": identity}, &job)
	testserver.Eventually(l.t, patience, "the export of "+identity, func() bool {
		l.get(at+"/"+job.ID, &job)
		return job.State == "done" || job.State == "failed"
	})
	if job.State != "done" || len(job.Files) == 0 {
		l.t.Fatalf("export of %s is %s with %d files: %s", identity, job.State, len(job.Files), job.Reason)
	}
	for _, f := range job.Files {
		names = append(names, f.Name)
	}
	return names
}

// flashesAfterBeeps returns by how much each flash comes after its beep.
func (l *lab) flashesAfterBeeps(file string) (after []time.Duration) {
	l.t.Helper()
	flashes, err := testmedia.ReadFlashes(l.t.Context(), file)
	l.must(err)
	beeps, err := testmedia.ReadBeepOnsets(l.t.Context(), file)
	l.must(err)
	for _, flash := range flashes {
		for _, beep := range beeps {
			if d := flash.At - beep.At; d.Abs() < time.Second/2 {
				after = append(after, d)
			}
		}
	}
	if len(after) < 8 {
		l.t.Fatalf("%s has %d flashes with a beep, want one a second", filepath.Base(file), len(after))
	}
	return after
}

func (l *lab) stored(m recorder.Manifest, name string) string {
	return filepath.Join(l.cfg.Data, "recordings", m.Call, name)
}

// afterHalfPast returns the median time of marks after half past a second of
// the wall clock.
func afterHalfPast(m recorder.Manifest, s recorder.Segment, marks []testmedia.Mark) time.Duration {
	var after []time.Duration
	for _, mark := range marks {
		session := s.SessionMS(float64(mark.At) / float64(time.Millisecond))
		wall := m.Started.Add(time.Duration(session * float64(time.Millisecond)))
		after = append(after, wall.Sub(wall.Truncate(time.Second).Add(time.Second/2)))
	}
	return median(after)
}

func median(durations []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(durations))
	return sorted[len(sorted)/2].Round(100 * time.Microsecond)
}
