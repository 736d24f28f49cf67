package recorder

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"consilium/internal/event"
)

func TestTheManifestTakesOverAnExternalIDThatComesLate(t *testing.T) {
	dir := t.TempDir()
	var mu sync.Mutex
	var changed []State // of the manifest, each time it was said to be another
	synctest.Test(t, func(t *testing.T) {
		s := newStudio(t, dir, func(r *Recorder) {
			r.config.Changed = func(call string) {
				m, err := Show(dir, call)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				changed = append(changed, m.State)
			}
		})
		r := s.arm()
		r.Note(event.Event{
			Type: event.ParticipantJoined, Participant: "anna", ExternalID: "visit-9", Metadata: map[string]string{"ward": "4"},
		})
		r.Note(event.Event{Type: event.ParticipantLeft, Participant: "anna"}) // one that says nothing changes nothing
		r.End(time.Now())
		synctest.Wait()
		s.close()
		if ready := s.count(event.RecordingReady); len(ready) != 1 || ready[0].ExternalID != "visit-9" {
			t.Errorf("recording.ready says %+v", ready)
		}
	})
	m, err := Show(dir, testCall)
	if err != nil || m.ExternalID != "visit-9" || m.Metadata["ward"] != "4" {
		t.Errorf("the manifest has external id %q and metadata %v, %v", m.ExternalID, m.Metadata, err)
	}
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(slices.Compact(changed), []State{Live, Final}) {
		t.Errorf("told of changes: %q, want those at arming and of the final manifest", changed)
	}
}
