package e2e

import (
	"path/filepath"
	"testing"
	"time"

	"consilium/internal/browser"
	"consilium/internal/media"
	"consilium/internal/testmedia"
	"consilium/recorder"
)

// Two people talk and say goodbye, for a minute or twelve seconds: every
// picture, every packet of sound and every beep that was sent is in their
// files, at its time, and nothing else is. It runs beside
// TestSilencesAndWrapsKeepTheTimeOfTheCall: both mostly wait.
func TestACleanCallOfTwoIsRecordedWhole(t *testing.T) {
	t.Parallel()
	talk := 12 * time.Second
	if *soak {
		talk = time.Minute
	}
	clips := numbered(t)
	p := startProgram(t, buildProgram(t), filepath.Join(t.TempDir(), "data"), nil)
	people := identities(2)
	bots, sent := p.meet("room", clips, people)
	p.spooled(2 * len(people))
	rest(t, talk-time.Since(sent.start))
	for _, b := range bots {
		b.CutMedia(media.Microphone)
		b.CutMedia(media.Camera)
	}
	rest(t, lastWords) // what is on the way arrives
	call := bots[0].Snapshot().Welcome.Call
	for _, b := range bots {
		p.must(b.Leave(p.context(patience)))
	}
	m := p.manifest(call, recorder.Final)
	if len(m.Segments) != 2*len(people) {
		t.Errorf("%d files, want sound and picture of two", len(m.Segments))
	}
	p.wholeFiles(m)
	p.holdsOnlyWhole(call, m)
	tracks := sent.untilNow()
	var earliest, latest time.Duration
	for i, s := range m.Segments {
		begin := p.wantWhole(call, s, tracks[trackOf{s.Participant, s.Source}])
		if i == 0 {
			earliest, latest = begin, begin
		}
		earliest, latest = min(earliest, begin), max(latest, begin)
	}
	t.Logf("the clips' begin lies within %v in all files", latest-earliest)
	if latest-earliest > syncTolerance {
		t.Errorf("files are %v apart, want at most %v", latest-earliest, syncTolerance)
	}
	if *soak {
		p.playsIn([]*browser.Browser{browser.Start(t, browser.Options{}), browser.Start(t, browser.Options{Kind: browser.Firefox})}, call, m)
	}
}

// wantWhole compares a file with what was sent. It returns when in the
// session, by the file, the clips began.
func (p *program) wantWhole(call string, s recorder.Segment, sent sentTrack) (begin time.Duration) {
	p.t.Helper()
	k := p.keptOf(call, s)
	length, each := time.Duration(s.DurationMS)*time.Millisecond, frameTime(s.Source)
	p.t.Logf("%s %s: %d frames of %d that were sent, %v, %d numbers from %v to %v, %d missing between",
		s.Participant, s.Source, s.Frames, sent.frames, length, k.numbers, k.from, k.until, k.missing)
	least, most := sent.frames, sent.frames
	if s.Source == media.Microphone {
		least = int(sent.end(s.Source)/testmedia.NumberedBeep - (sent.begin+testmedia.NumberedBeep-1)/testmedia.NumberedBeep)
		most = least + 2 // the first and the last may have been sent in part
	}
	if k.numbers < least || k.numbers > most || k.missing > 0 {
		p.t.Errorf("%s: %d numbers and %d missing between, want %d", s.File, k.numbers, k.missing, least)
	}
	if due := time.Duration(sent.frames) * each; (length - due).Abs() > each {
		p.t.Errorf("%s lasts %v, what was sent %v", s.File, length, due)
	}
	if s.Frames != int64(sent.frames) || s.PacketsLost > 0 || s.SilenceFilledMS > 0 || len(s.Gaps) > 0 {
		p.t.Errorf("%s: %d frames of %d, %d packets lost, %d ms of silence, gaps %v",
			s.File, s.Frames, sent.frames, s.PacketsLost, s.SilenceFilledMS, s.Gaps)
	}
	return time.Duration(s.SessionMS(float64(k.zero)/float64(time.Millisecond)) * float64(time.Millisecond))
}
