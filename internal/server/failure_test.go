package server

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"consilium/internal/auth"
	"consilium/internal/bot"
	"consilium/internal/config"
	"consilium/internal/event"
	"consilium/internal/media"
)

// receiver is the webhook side of an information system.
type receiver struct {
	*httptest.Server
	mu  sync.Mutex
	got []received
}

type received struct {
	event.Event
	at time.Time
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		at := time.Now()
		body, err := io.ReadAll(req.Body)
		if err != nil {
			t.Error(err)
		}
		var e event.Event
		if err := json.Unmarshal(body, &e); err != nil {
			t.Errorf("webhook body: %v in %s", err, body)
		}
		if req.Header.Get("webhook-id") == "" || req.Header.Get("webhook-signature") == "" {
			t.Errorf("webhook without its headers: %v", req.Header)
		}
		r.mu.Lock()
		r.got = append(r.got, received{e, at})
		r.mu.Unlock()
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) find(typ event.Type, participant string) (received, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.got {
		if e.Type == typ && (participant == "" || e.Participant == participant) {
			return e, true
		}
	}
	return received{}, false
}

func (r *receiver) wait(t *testing.T, d time.Duration, typ event.Type, participant string) received {
	t.Helper()
	ctx := within(t, d)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if e, ok := r.find(typ, participant); ok {
			return e
		}
		select {
		case <-ctx.Done():
			t.Fatalf("no %s of %q at the webhook within %v", typ, participant, d)
		case <-tick.C:
		}
	}
}

func withWebhook(r *receiver) func(*config.Config) {
	return func(c *config.Config) {
		c.Webhook.URL = r.URL
		c.Webhook.Secret = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"
	}
}

func TestPublisherWhoNeverSendsIsReportedInTime(t *testing.T) {
	cases := map[string]time.Duration{"as configured to 3 s": 3 * time.Second, "by default": 10 * time.Second}
	for name, timeout := range cases {
		t.Run(name, func(t *testing.T) {
			hook := newReceiver(t)
			s := start(t, func(c *config.Config) { withWebhook(hook)(c); c.Media.Timeout = timeout })
			b := s.join("room", "patient", auth.RolePatient, func(c *bot.Config) { c.Silent = true })
			if err := b.WaitConnected(within(t, 5*time.Second)); err != nil {
				t.Fatal(err)
			}
			answered := b.Snapshot().Answered
			got := hook.wait(t, timeout+2*time.Second, event.MediaTimeout, "patient")
			after := got.at.Sub(answered)
			t.Logf("media.timeout at the webhook %v after the answer", after.Round(time.Millisecond))
			if after > timeout+500*time.Millisecond || after < timeout-time.Second {
				t.Errorf("media.timeout came %v after the answer, want %v to %v", after, timeout, timeout+500*time.Millisecond)
			}
			if got.Code != event.NoMediaOut || got.Stage != event.StageFirstRTP || got.Direction != event.Out {
				t.Errorf("got %q %q %q, want NO_MEDIA_OUT first_rtp out", got.Code, got.Stage, got.Direction)
			}
		})
	}
}

func TestMediaCutInMidCallIsStalledAndResumed(t *testing.T) {
	hook := newReceiver(t)
	s := start(t, withWebhook(hook))
	patient := s.join("room", "patient", auth.RolePatient, nil)
	hook.wait(t, 5*time.Second, event.MediaFlowing, "patient")
	cut := time.Now()
	patient.CutMedia(media.Camera)
	patient.CutMedia(media.Microphone)
	stalled := hook.wait(t, 5*time.Second, event.MediaStalled, "patient")
	if d := stalled.at.Sub(cut); d > 4*time.Second {
		t.Errorf("media.stalled came %v after the cut, want at most 4 s", d)
	}
	patient.RestoreMedia(media.Camera)
	patient.RestoreMedia(media.Microphone)
	hook.wait(t, 3*time.Second, event.MediaResumed, "patient")
}

func TestSubscriberWhoDecodesNothingIsReported(t *testing.T) {
	hook := newReceiver(t)
	s := start(t, func(c *config.Config) { withWebhook(hook)(c); c.Media.Timeout = 3 * time.Second })
	s.join("room", "doctor", auth.RoleDoctor, nil)
	s.join("room", "patient", auth.RolePatient, func(c *bot.Config) { c.Idle = true })
	got := hook.wait(t, 10*time.Second, event.MediaTimeout, "patient")
	if got.Direction != event.In || got.Code != event.NoMediaIn {
		t.Errorf("got %q %q, want in NO_MEDIA_IN", got.Direction, got.Code)
	}
	if e, ok := hook.find(event.MediaTimeout, "doctor"); ok {
		t.Errorf("the doctor, who gets everything, is reported too: %+v", e.Event)
	}
}

func TestHealthyMutedAndStillScreensRaiseNoAlarm(t *testing.T) {
	if testing.Short() {
		t.Skip("lasts 30 s")
	}
	hook := newReceiver(t)
	s := start(t, func(c *config.Config) { withWebhook(hook)(c); c.Media.Timeout = 5 * time.Second })
	healthy := s.join("room", "doctor", auth.RoleDoctor, nil)
	muted := s.join("room", "patient", auth.RolePatient, nil)
	still := s.join("room", "specialist", auth.RoleDoctor, nil)
	ctx := within(t, 60*time.Second)
	if err := healthy.WaitFrames(ctx, "patient", media.Camera, 5); err != nil {
		t.Fatal(err)
	}
	for _, source := range []media.Source{media.Microphone, media.Camera} {
		if err := muted.Mute(ctx, source, true); err != nil {
			t.Fatal(err)
		}
		muted.CutMedia(source)
	}
	if err := still.ShareScreen(ctx); err != nil {
		t.Fatal(err)
	}
	if err := healthy.WaitFrames(ctx, "specialist", media.Screen, 5); err != nil {
		t.Fatal(err)
	}
	still.CutMedia(media.Screen) // a screen on which nothing moves: RTCP goes on
	end := time.NewTimer(30 * time.Second)
	defer end.Stop()
	<-end.C
	for _, typ := range []event.Type{event.MediaTimeout, event.MediaStalled, event.ParticipantFailed} {
		if e, ok := hook.find(typ, ""); ok {
			t.Errorf("%s of %s %v although all is well", typ, e.Participant, e.Data)
		}
	}
}
