package signaling

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"consilium/internal/event"
	"consilium/sfu"
)

// refusedHello says hello with a token that is refused, each time with the
// number of the incident.
func (f *fixture) refusedHello(t *testing.T, token, code, incident string) {
	t.Helper()
	c := f.dial(t)
	c.send(Envelope{Type: "hello"}, Hello{Token: token})
	if _, e := c.expectError(code); e.Incident != incident {
		t.Errorf("incident %q, want %q", e.Incident, incident)
	}
	c.expectClose(closePolicy)
}

func TestARefusalIsToldOnceOfWhomTheTokenProves(t *testing.T) {
	for name, test := range map[string]struct {
		token, code   string
		identity      string // of the event
		room, claimed string
	}{
		"expired":         {"expired", "TOKEN_EXPIRED", "anna", "r", ""},
		"signed by other": {"forged", "TOKEN_BAD", "", "", "r"},
		"no token at all": {"malformed", "TOKEN_BAD", "", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, func(c *Config) {
				c.Number = func(e event.Event) event.Event {
					e.Data["incident"] = "K7M4-QX"
					return e
				}
			})
			for range 3 {
				f.refusedHello(t, test.token, test.code, "K7M4-QX")
			}
			e := f.event(t)
			if e.Type != event.ParticipantFailed || string(e.Code) != test.code || e.Stage != event.StageSocket {
				t.Errorf("told %s %s at %s", e.Type, e.Code, e.Stage)
			}
			if e.Participant != test.identity || e.Room != test.room || e.Data["present"] != false {
				t.Errorf("told of %q in %q: %v", e.Participant, e.Room, e.Data)
			}
			if claimed, _ := e.Evidence["claimed_room"].(string); claimed != test.claimed {
				t.Errorf("claimed room %q, want %q", claimed, test.claimed)
			}
			if n := len(f.events); n != 0 {
				t.Errorf("%d events more for the same refusal", n)
			}
			if n := f.Stats().RefusalsUntold; n != 2 {
				t.Errorf("%d untold, want 2", n)
			}
		})
	}
}

func TestMadeUpTokensCannotFillTheJournal(t *testing.T) {
	r := newRefusals()
	now := time.Now()
	told := 0
	for i := range 10_000 {
		key := refusalKey{event.TokenBad, fmt.Sprintf("room-%d", i), "x"}
		if ok, _ := r.allow(key, false, now.Add(time.Duration(i)*time.Millisecond)); ok {
			told++
		}
	}
	if told > forgedBurst+1 {
		t.Errorf("%d events in 10 s about tokens that are nobody's, want at most %d", told, forgedBurst+1)
	}
	if ok, _ := r.allow(refusalKey{event.TokenExpired, "r", "anna"}, true, now); !ok {
		t.Error("they hide the failure of somebody who is known")
	}
}

func TestRefusalsThatAreRememberedAreBounded(t *testing.T) {
	r := newRefusals()
	r.genuine = rate.NewLimiter(rate.Inf, 0)
	now := time.Now()
	for i := range 2 * refusalsPending {
		r.allow(refusalKey{event.TokenExpired, "r", fmt.Sprint(i)}, true, now)
	}
	if n := len(r.told); n != refusalsPending {
		t.Errorf("%d remembered, want %d", n, refusalsPending)
	}
	key := refusalKey{event.TokenExpired, "r", "late"}
	if ok, _ := r.allow(key, true, now); ok {
		t.Error("one more was told")
	}
	if ok, _ := r.allow(key, true, now.Add(refusalAgain)); !ok {
		t.Error("a minute later none is told")
	}
}

func TestAFullServerSaysWhenToComeBackAndTells(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.Limits.Joins = 1 })
	f.join(t, "first@r")
	c := f.dial(t)
	c.send(Envelope{Type: "hello"}, Hello{Token: "anna@r"})
	c.expectError("SERVER_BUSY")
	e := f.event(t)
	if e.Code != event.ServerBusy || e.Participant != "anna" || e.Data["retry_ms"] != int64(1000) {
		t.Errorf("told %s of %q with %v", e.Code, e.Participant, e.Data)
	}
	publish := request{method: "POST", path: "/whip/r", token: "cam:device@r", contentType: "application/sdp", body: testOffer}
	r, body := f.do(t, publish)
	expectProblem(t, r, body, http.StatusServiceUnavailable, "SERVER_BUSY")
	if e := f.event(t); e.Code != event.ServerBusy || e.Participant != "cam" {
		t.Errorf("told %s of %q", e.Code, e.Participant)
	}
	play := publish
	play.path, play.token = "/whep/r/cam", "wall@r"
	r, body = f.do(t, play)
	expectProblem(t, r, body, http.StatusServiceUnavailable, "SERVER_BUSY")
	if n := len(f.events); n != 0 {
		t.Error("a player, who is nobody in the call, was told of")
	}
}

func TestOnlyWhoWasLetInBeforeARestartNeedNotWaitAfterIt(t *testing.T) {
	f := newFixture(t, nil)
	f.sfu.set(func(s *fakeSFU) { s.waiting = true })
	c, w := f.join(t, "anna@r")
	x := f.sfu.session(t, 0)
	x.notify(sfu.NoticeState{Call: x.Call()})
	admitted := receiveBody[Admitted](c, "admitted")
	for name, test := range map[string]struct {
		secret string
		want   bool
	}{
		"while he waited": {w.Secret, false},
		"when he was in":  {admitted.Secret, true},
	} {
		t.Run(name, func(t *testing.T) {
			claims, err := f.secrets.verify(test.secret, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			claims.Issued = f.hub.started.Unix() + 1
			if who := f.fromSecret(claims); who.admitted {
				t.Error("it counts while the server lives, which may have a new call in the room")
			}
			claims.Issued = f.hub.started.Add(-time.Minute).Unix()
			if who := f.fromSecret(claims); who.admitted != test.want {
				t.Errorf("admitted is %v after a restart, want %v", who.admitted, test.want)
			}
		})
	}
}
