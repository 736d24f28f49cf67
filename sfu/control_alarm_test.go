package sfu

import (
	"context"
	"testing"

	"consilium/internal/event"
	"consilium/internal/media"
)

func TestEverybodyIsToldWhatIsNotRecorded(t *testing.T) {
	rec := &fakeRecorder{gate: make(chan error)}
	close(rec.gate)
	h := open(t, withMedia(t, Config{Recorder: rec}))
	x := h.join(asDoctor("d"))
	x.show(1)
	other := h.join(asPatient("p"))
	call := h.Calls()[0].ID
	var tracks []string
	for _, p := range x.Call().Participants {
		for _, info := range p.Tracks {
			tracks = append(tracks, info.ID)
		}
	}
	if len(tracks) != 2 {
		t.Fatalf("%d tracks", len(tracks))
	}
	told := func(what string, want NoticeRecording) {
		t.Helper()
		for _, v := range []*visitor{x, other} {
			v.told.wait(t, what, func(n Notice) bool { r, ok := n.(NoticeRecording); return ok && r == want })
		}
	}
	alarm := func(a RecordingAlarm) {
		t.Helper()
		must(t, h.AlarmRecording(context.Background(), call, a))
	}
	alarm(RecordingAlarm{Track: tracks[0], Code: event.DiskFull, Incident: "K7M4-QX"})
	told("a part is lost", NoticeRecording{On: true, Code: event.DiskFull, Incident: "K7M4-QX"})
	alarm(RecordingAlarm{Track: tracks[1], Code: event.RecorderFailed, Incident: "K7M4-QY"})
	told("all is lost", NoticeRecording{On: false, Code: event.DiskFull, Incident: "K7M4-QX"})

	late := h.join(asDoctor("late"))
	state := late.told.wait(t, "state", func(n Notice) bool { _, ok := n.(NoticeState); return ok }).(NoticeState)
	if r := state.Call.Recording; r.On || r.Code != event.DiskFull {
		t.Errorf("who comes late is told %+v", r)
	}

	alarm(RecordingAlarm{Track: tracks[0]})
	told("the second alarm remains", NoticeRecording{On: true, Code: event.RecorderFailed, Incident: "K7M4-QY"})
	alarm(RecordingAlarm{Track: "unknown", Code: event.DiskFull})
	x.Leave(media.EndLeft) // a track that has ended alarms nobody
	late.told.wait(t, "the alarm ends with its track", func(n Notice) bool { return n == NoticeRecording{On: true} })
	wantError(t, h.AlarmRecording(context.Background(), "gone", RecordingAlarm{}), ErrNotFound)
}
