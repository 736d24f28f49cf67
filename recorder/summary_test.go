package recorder

import (
	"errors"
	"io/fs"
	"slices"
	"testing"
	"time"

	"consilium/internal/media"
	"consilium/internal/testmedia"
)

func TestASummaryTellsWhoTookPartUntilTheRecordingIsErased(t *testing.T) {
	dir := t.TempDir()
	mic, track := newSource(t, testmedia.Beep), micTrack("anna")
	m := record(t, dir, map[*media.Track][]sent{&track: mic.between(0, second)})
	s, people, err := Summarize(dir, testCall)
	if err != nil || s.State != Final || s.Files != 1 || s.Participants != 1 || len(people) != 1 || people[0].Identity != "anna" {
		t.Errorf("%+v, %+v, %v", s, people, err)
	}
	if ids, err := IDs(dir); err != nil || !slices.Equal(ids, []string{testCall}) {
		t.Errorf("ids %q, %v", ids, err)
	}
	if _, err := ReadTombstone(dir, testCall); !errors.Is(err, fs.ErrNotExist) || IsErased(dir, testCall) {
		t.Errorf("before it is erased: tombstone %v, erased %v", err, IsErased(dir, testCall))
	}
	if _, err := Erase(dir, testCall, "olga", "asked for"); err != nil {
		t.Fatal(err)
	}
	if stone, err := ReadTombstone(dir, testCall); err != nil || stone.By != "olga" || stone.Reason != "asked for" || !IsErased(dir, testCall) {
		t.Errorf("tombstone %+v, %v, erased %v", stone, err, IsErased(dir, testCall))
	}
	s, people, err = Summarize(dir, testCall)
	if want := (Summary{ID: testCall, State: Erased, Started: m.Started, Ended: s.Ended}); err != nil || s != want || len(people) != 0 || !s.Started.Equal(m.Started) {
		t.Errorf("erased: %+v, %+v, %v", s, people, err)
	}
	if s.Ended == nil || s.Ended.Sub(*m.Ended).Abs() > time.Millisecond {
		t.Errorf("it ended %v, and %v", m.Ended, s.Ended)
	}
	if ids, err := IDs(dir); err != nil || len(ids) != 1 {
		t.Errorf("ids %q, %v", ids, err)
	}
	for _, id := range []string{"none", "..", "a/b", ""} {
		if _, err := ReadTombstone(dir, id); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("tombstone of %q: %v", id, err)
		}
		if _, _, err := Summarize(dir, id); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q: %v", id, err)
		}
	}
}
