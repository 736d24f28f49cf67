package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"consilium/internal/auth"
	"consilium/internal/bot"
	"consilium/internal/config"
	"consilium/internal/event"
	"consilium/internal/media"
)

// hook is a webhook receiver: what the medical information system would be.
type hook struct {
	url    string
	events chan received
}

type received struct {
	event.Event
	at time.Time
}

func newHook(t *testing.T) *hook {
	t.Helper()
	h := &hook{events: make(chan received, 1000)}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		at := time.Now()
		body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		if err != nil || r.Header.Get("webhook-signature") == "" {
			t.Errorf("webhook without a body or a signature: %v", err)
		}
		for _, e := range decodeHook(t, body) {
			h.events <- received{e, at}
		}
	}))
	t.Cleanup(server.Close)
	h.url = server.URL
	return h
}

// decodeHook takes a single event or a batch.
func decodeHook(t *testing.T, body []byte) []event.Event {
	t.Helper()
	var batch struct {
		Events []event.Event `json:"events"`
	}
	if err := json.Unmarshal(body, &batch); err == nil && len(batch.Events) > 0 {
		return batch.Events
	}
	var one event.Event
	if err := json.Unmarshal(body, &one); err != nil {
		t.Errorf("webhook body: %v in %s", err, body)
		return nil
	}
	return []event.Event{one}
}

// wait returns the first event of a type that arrives.
func (h *hook) wait(t *testing.T, kind event.Type, limit time.Duration) received {
	t.Helper()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	var seen []event.Event
	for {
		select {
		case e := <-h.events:
			if e.Type == kind {
				return e
			}
			seen = append(seen, e.Event)
		case <-timer.C:
			t.Fatalf("no %s at the webhook within %v; there were %s", kind, limit, summary(seen))
		}
	}
}

// hooked configures the receiver, and a media timeout if that is not 0.
func hooked(h *hook, timeout time.Duration) func(*config.Config) {
	return func(c *config.Config) {
		c.Webhook.URL = h.url
		c.Webhook.Secret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
		if timeout > 0 {
			c.Media.Timeout = timeout
		}
	}
}

func TestWhoConnectsAndNeverSendsIsReported(t *testing.T) {
	for name, timeout := range map[string]time.Duration{"after 10 s": 10 * time.Second, "after 3 s where so configured": 3 * time.Second} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHook(t)
			l := start(t, hooked(h, timeout))
			b := l.bot("room", "patient", auth.RolePatient, func(c *bot.Config) { c.Silent = true })
			l.must(b.WaitConnected(l.context(patience)))
			answered := b.Snapshot().Answered
			e := h.wait(t, event.MediaTimeout, timeout+patience)
			if wait := e.at.Sub(answered); wait < timeout-500*time.Millisecond || wait > timeout+500*time.Millisecond {
				t.Errorf("reported %v after the answer, want %v", wait, timeout)
			}
			if e.Code != event.NoMediaOut || e.Stage != event.StageFirstRTP || e.Direction != event.Out || e.Participant != "patient" {
				t.Errorf("reported %+v of %q", e.Failure, e.Participant)
			}
			own := b.Wait(l.context(patience), "the event at the participant", func(s *bot.Snapshot) bool {
				_, ok := s.Event(string(event.MediaTimeout))
				return ok
			})
			l.must(own)
		})
	}
}

func TestMediaCutInMidCallStallsAndResumes(t *testing.T) {
	h := newHook(t)
	l := start(t, hooked(h, 0))
	patient := l.bot("room", "patient", auth.RolePatient, nil)
	doctor := l.bot("room", "doctor", auth.RoleDoctor, nil)
	l.must(doctor.WaitFrames(l.context(patience), "patient", media.Camera, 10))
	cut := time.Now()
	patient.CutMedia(media.Camera)
	e := h.wait(t, event.MediaStalled, patience)
	if wait := e.at.Sub(cut); wait > 4*time.Second || e.Participant != "patient" {
		t.Errorf("stalled after %v, of %q; want within 4s, of the patient", wait, e.Participant)
	}
	patient.RestoreMedia(media.Camera)
	if e := h.wait(t, event.MediaResumed, patience); e.Participant != "patient" {
		t.Errorf("resumed: %q", e.Participant)
	}
}

func TestWhoDecodesNothingIsReportedInward(t *testing.T) {
	t.Parallel()
	h := newHook(t)
	l := start(t, hooked(h, 4*time.Second))
	l.bot("room", "doctor", auth.RoleDoctor, nil)
	l.bot("room", "patient", auth.RolePatient, func(c *bot.Config) { c.Idle = true })
	e := h.wait(t, event.MediaTimeout, patience)
	if e.Direction != event.In || e.Participant != "patient" || e.Code != event.NoMediaIn {
		t.Errorf("reported %+v of %q; want direction in, of the patient", e.Failure, e.Participant)
	}
}

func TestAHealthyMutedOrStillCallIsNotReported(t *testing.T) {
	t.Parallel()
	h := newHook(t)
	l := start(t, hooked(h, 0))
	doctor := l.bot("room", "doctor", auth.RoleDoctor, nil)
	patient := l.bot("room", "patient", auth.RolePatient, nil)
	muted := l.bot("room", "companion", auth.RoleCompanion, nil)
	ctx := l.context(2 * patience)
	for _, b := range []*bot.Bot{doctor, patient} {
		l.must(b.WaitFrames(ctx, "companion", media.Camera, 5))
	}
	l.must(muted.Mute(ctx, media.Camera, true))
	l.must(muted.Mute(ctx, media.Microphone, true))
	l.must(doctor.ShareScreen(ctx))
	l.must(patient.WaitFrames(ctx, "doctor", media.Screen, 5))
	doctor.CutMedia(media.Screen) // a still picture: an encoder sends next to nothing
	timer := time.NewTimer(60 * time.Second)
	defer timer.Stop()
	for {
		select {
		case e := <-h.events:
			if e.Type == event.MediaTimeout || e.Type == event.MediaStalled {
				t.Errorf("%s of %s %s: %+v", e.Type, e.Participant, e.Track, e.Failure)
			}
		case <-timer.C:
			return
		}
	}
}
