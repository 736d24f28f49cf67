package sfu

import (
	"context"
	"time"

	"consilium/internal/event"
)

// RecordingAlarm is what the recorder says, in mid-call, of something it should
// record: that it can't, or that it can again.
type RecordingAlarm struct {
	// Track is what can't be recorded; "" is the call as a whole.
	Track string
	// Code says why: RECORDER_FAILED or DISK_FULL. Empty: the alarm is over.
	Code     event.Code
	Incident string // number of the failure
}

// alarms are the alarms of a call that are not over, by track. Owned by the
// call's loop.
type alarms map[string]raised

type raised struct {
	RecordingAlarm
	at time.Time
}

// first returns the alarm that was raised first; its code is empty if there is
// none.
func (a alarms) first() RecordingAlarm {
	var first raised
	for _, r := range a {
		if first.Code == "" || r.at.Before(first.at) {
			first = r
		}
	}
	return first.RecordingAlarm
}

// AlarmRecording raises or ends an alarm of a call and tells everybody in it
// what is now true. It returns ErrNotFound if the call is over, and ctx's error
// if that ended while the call was busy.
func (s *Server) AlarmRecording(ctx context.Context, id string, a RecordingAlarm) error {
	return s.inCall(ctx, id, func(c *call) error {
		c.alarm(a)
		return nil
	})
}

// alarm takes what the recorder says.
func (c *call) alarm(a RecordingAlarm) {
	_, known := c.alarms[a.Track]
	switch {
	case a.Code == "" && !known:
		return
	case a.Code == "":
		delete(c.alarms, a.Track)
	case a.Track != "" && c.track(a.Track) == nil:
		return // it has ended: nobody can do anything about it
	case known && c.alarms[a.Track].Code == a.Code:
		return // said already
	default:
		c.alarms[a.Track] = raised{a, time.Now()}
	}
	c.tell(c.recordingNotice())
}

// track returns a track that is being published, or nil.
func (c *call) track(id string) *track {
	for _, x := range c.sessions {
		for _, t := range x.published {
			if t.about.ID == id && t.state != TrackEnded {
				return t
			}
		}
	}
	return nil
}

// recorded reports whether anything of the call is being recorded: the recorder
// is armed, and not every track has an alarm.
func (c *call) recorded() bool {
	if c.recording == nil || len(c.alarms) == 0 {
		return c.recording != nil
	}
	for _, x := range c.sessions {
		for _, t := range x.published {
			if _, lost := c.alarms[t.about.ID]; !lost && t.state != TrackEnded {
				return true
			}
		}
	}
	return false
}

// recordingNotice says whether the call is being recorded and, if something of
// it is not, why.
func (c *call) recordingNotice() NoticeRecording {
	n := NoticeRecording{On: c.recorded()}
	if a := c.alarms.first(); a.Code != "" {
		n.Code, n.Incident = a.Code, a.Incident
	} else if c.arm.err != nil {
		n.Code, n.Incident = armCode(c.arm.err), c.arm.incident
	}
	return n
}
