package signaling

import (
	"net/http"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"consilium/internal/event"
	"consilium/internal/media"
	"consilium/sfu"
)

func TestHelloIsAnsweredByWelcome(t *testing.T) {
	f := newFixture(t, nil)
	c, w := f.join(t, "anna:doctor@room-1")
	if w.Session != "session-1" || w.Call != "call-1" || w.Room != "room-1" || w.Identity != "anna" ||
		w.Name != "Name of anna" || w.Role != "doctor" || w.State != "joined" || w.Recording {
		t.Errorf("welcome: %+v", w)
	}
	if len(w.ICEServers) != 1 || w.ICEServers[0].Username != "1:anna" {
		t.Errorf("ICE servers: %+v", w.ICEServers)
	}
	if w.Limits.MessageBytes != 256<<10 || w.Limits.MediaTimeout != 10 || w.Limits.ResumeWindow != 20 || w.Limits.RelayRestart != 4.5 {
		t.Errorf("limits: %+v", w.Limits)
	}
	if d := toMillis(time.Now()) - w.Time; d < 0 || d > 5000 {
		t.Errorf("server's clock is %v ms off", d)
	}
	x := f.sfu.session(t, 0)
	if x.request.Mode != sfu.Interactive || x.request.Rejoin != "" {
		t.Errorf("join request: %+v", x.request)
	}
	c.send(Envelope{Type: "leave", Seq: 1}, Empty{})
	if e := receiveBody[Ended](c, "ended"); e.Reason != "left" {
		t.Errorf("ended: %+v", e)
	}
	c.expectClose(closeNormal)
	x.expect(t, "leave left")
}

func TestHandshakeNeedsSubprotocolAndSameOrigin(t *testing.T) {
	tests := map[string]struct {
		subprotocols []string
		origin       string
		status       int
	}{
		"no subprotocol":      {status: http.StatusBadRequest},
		"another subprotocol": {subprotocols: []string{"chat"}, status: http.StatusBadRequest},
		"another origin":      {subprotocols: []string{Subprotocol}, origin: "https://evil.example", status: http.StatusForbidden},
		"both":                {subprotocols: []string{"chat", Subprotocol}, status: http.StatusSwitchingProtocols},
	}
	f := newFixture(t, nil)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h := http.Header{}
			if test.origin != "" {
				h.Set("Origin", test.origin)
			}
			ws, r, err := f.dialWith(h, test.subprotocols...)
			if err == nil {
				defer ws.Close()
				if ws.Subprotocol() != Subprotocol {
					t.Errorf("subprotocol %q", ws.Subprotocol())
				}
			}
			if r == nil || r.StatusCode != test.status {
				t.Fatalf("answer %v (%v), want %d", r, err, test.status)
			}
			if err != nil && r.Header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("refusal has type %q", r.Header.Get("Content-Type"))
			}
		})
	}
}

func TestBadFirstMessagesAreRefused(t *testing.T) {
	tests := map[string]struct{ message, code string }{
		"expired token":   {`{"type":"hello","body":{"token":"expired","client":{}}}`, "TOKEN_EXPIRED"},
		"early token":     {`{"type":"hello","body":{"token":"early","client":{}}}`, "TOKEN_EARLY"},
		"foreign token":   {`{"type":"hello","body":{"token":"foreign","client":{}}}`, "TOKEN_BAD"},
		"alg none token":  {`{"type":"hello","body":{"token":"alg-none","client":{}}}`, "TOKEN_BAD"},
		"malformed token": {`{"type":"hello","body":{"token":"x","client":{}}}`, "TOKEN_BAD"},
		"admin token":     {`{"type":"hello","body":{"token":"admin","client":{}}}`, "TOKEN_BAD"},
		"no token":        {`{"type":"hello","body":{"client":{}}}`, "TOKEN_BAD"},
		"bad secret":      {`{"type":"hello","body":{"token":"","rejoin":"a.b","client":{}}}`, "TOKEN_BAD"},
		"unknown field":   {`{"type":"hello","body":{"token":"a@r","admin":true}}`, codeBadMessage},
		"no JSON":         {`hello`, codeBadMessage},
		"not UTF-8":       {"{\"type\":\"\xff\"}", codeBadMessage},
		"another message": {`{"type":"offer","seq":1,"id":"1","body":{"sdp":"","tracks":[],"seats":[]}}`, codeUnexpected},
		"unknown type":    {`{"type":"let-me-in"}`, codeUnknownType},
		"unknown session": {`{"type":"resume","body":{"session":"s","secret":"x","ack":0}}`, codeSessionUnknown},
	}
	f := newFixture(t, nil)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := f.dial(t)
			c.sendText(test.message)
			if _, b := c.expectError(test.code); !b.Fatal {
				t.Error("the refusal is not fatal")
			}
			c.expectClose(closePolicy)
		})
	}
	if n := f.sfu.count(); n != 0 {
		t.Errorf("%d sessions were opened", n)
	}
	if s := f.Stats(); s.Refused != uint64(len(tests)) {
		t.Errorf("%d refusals counted, want %d", s.Refused, len(tests))
	}
}

func TestErrorsOfJoinAreCoded(t *testing.T) {
	tests := map[string]struct {
		err  error
		code string
	}{
		"busy":     {sfu.ErrBusy, "SERVER_BUSY"},
		"draining": {sfu.ErrDraining, "SERVER_RESTART"},
		"recorder": {sfu.ErrRecording, "RECORDER_FAILED"},
		"conflict": {sfu.ErrConflict, "conflict"},
	}
	f := newFixture(t, nil)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			f.sfu.set(func(s *fakeSFU) { s.joinErr = test.err })
			c := f.dial(t)
			c.send(Envelope{Type: "hello"}, Hello{Token: "a@r"})
			c.expectError(test.code)
			c.expectClose(closePolicy)
		})
	}
}

func TestASilentSocketIsClosed(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.Timing.Hello = 50 * time.Millisecond })
	c := f.dial(t)
	if e, err := c.next(); err == nil {
		t.Fatalf("received %v", e)
	}
}

func TestADeadClientIsLostAndAnAnsweringOneIsNot(t *testing.T) {
	f := newFixture(t, func(c *Config) {
		c.Timing.PingInterval = 100 * time.Millisecond
		c.Timing.PongTimeout = time.Second
	})
	alive, _ := f.join(t, "alive@r")
	gone := make(chan error, 1)
	go func() { // reading answers pings
		_, _, err := alive.ws.ReadMessage()
		gone <- err
	}()
	dead, _ := f.join(t, "dead@r")
	dead.ws.SetPingHandler(func(string) error { return nil })
	deadGone := make(chan error, 1)
	go func() {
		_, _, err := dead.ws.ReadMessage()
		deadGone <- err
	}()
	f.sfu.session(t, 1).expect(t, "socket lost")
	f.sfu.session(t, 0).expectNothing(t)
	<-deadGone
	alive.cut()
	<-gone
}

func TestWhoWaitsIsToldWhenAdmitted(t *testing.T) {
	f := newFixture(t, nil)
	f.sfu.set(func(s *fakeSFU) { s.waiting = true })
	c, w := f.join(t, "pat@r")
	if w.State != "waiting" {
		t.Fatalf("state %q", w.State)
	}
	x := f.sfu.session(t, 0)
	x.notify(sfu.NoticeState{Call: x.Call()})
	c.receive("admitted")
	s := receiveBody[State](c, "state")
	if s.Call != "call-1" || !s.Recording.On || len(s.Participants) != 1 || s.Participants[0].Identity != "pat" {
		t.Errorf("state: %+v (who waits must not be shown to a patient)", s)
	}
	x.notify(sfu.NoticeState{Call: x.Call()})
	c.receive("state")
}

func TestWhoMayAdmitSeesWhoWaits(t *testing.T) {
	f := newFixture(t, nil)
	c, _ := f.join(t, "doc:doctor@r")
	x := f.sfu.session(t, 0)
	x.notify(sfu.NoticeState{Call: x.Call()})
	if s := receiveBody[State](c, "state"); len(s.Participants) != 2 {
		t.Errorf("state: %+v", s)
	}
}

func TestConsentIsNeededWhereCallsAreRecorded(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.Recording = true })
	hello := func(consent *Consent) *client {
		c := f.dial(t)
		c.send(Envelope{Type: "hello"}, Hello{Token: "pat@r", Consent: consent})
		return c
	}
	c := hello(nil)
	c.expectError(codeConsentRequired)
	c.expectClose(closePolicy)

	c = hello(&Consent{Recording: false, Text: "v2", Lang: "ru"})
	if _, b := c.expectError("CONSENT_REFUSED"); !b.Fatal {
		t.Error("refused consent is not fatal")
	}
	if e := f.event(t); e.Type != event.ConsentRefused || e.Participant != "pat" || e.Room != "r" || e.Data["text"] != "v2" {
		t.Errorf("event: %+v", e)
	}
	if n := f.sfu.count(); n != 0 {
		t.Fatalf("%d sessions without consent", n)
	}

	c = hello(&Consent{Recording: true, Text: "v2", Lang: "ru"})
	w := receiveBody[Welcome](c, "welcome")
	if !w.Recording {
		t.Error("welcome does not say that the call is recorded")
	}
	if given := f.sfu.session(t, 0).request.Consent; given == nil || *given != (sfu.Consent{Text: "v2", Lang: "ru"}) {
		t.Errorf("the call is told of consent %+v", given)
	}

	c = f.dial(t) // consent holds for a rejoin
	c.send(Envelope{Type: "hello"}, Hello{Token: "pat@r", Rejoin: w.Secret})
	c.receive("welcome")
}

func TestConsentIsNoEventWhereNothingIsRecordedAndNothingWasAgreed(t *testing.T) {
	f := newFixture(t, nil)
	c := f.dial(t)
	c.send(Envelope{Type: "hello"}, Hello{Token: "pat@r", Consent: &Consent{Recording: false}})
	c.receive("welcome")
	select {
	case e := <-f.events:
		t.Errorf("event: %+v", e)
	default:
	}
}

func TestAReplacedSessionIsToldAndItsSocketClosed(t *testing.T) {
	f := newFixture(t, nil)
	c, _ := f.join(t, "pat@r")
	f.sfu.session(t, 0).end(sfu.NoticeEnded{Reason: media.EndReplaced, Code: event.SessionReplaced})
	if e := receiveBody[Ended](c, "ended"); e.Reason != "replaced" || e.Code != "SESSION_REPLACED" || e.Retry != 0 {
		t.Errorf("ended: %+v", e)
	}
	c.expectClose(closeNormal)
}

func TestDrainTellsEverybodyAndRefusesNewcomers(t *testing.T) {
	f := newFixture(t, nil)
	a, _ := f.join(t, "a@r")
	b, _ := f.join(t, "b@r")
	unknown := f.dial(t)
	f.Drain()
	for _, c := range []*client{a, b} {
		if e := receiveBody[Ended](c, "ended"); e.Reason != "shutdown" || e.Code != "SERVER_RESTART" || e.Retry != 2 {
			t.Errorf("ended: %+v", e)
		}
		c.expectClose(closeRestart)
	}
	unknown.expectClose(closeRestart)
	f.sfu.session(t, 0).expect(t, "leave shutdown")
	_, r, err := f.dialWith(http.Header{}, Subprotocol)
	if err == nil || r.StatusCode != http.StatusServiceUnavailable || r.Header.Get("Retry-After") == "" {
		t.Errorf("a newcomer got %v (%v)", r, err)
	}
}

func TestTooManySocketsAreRefused(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.Limits.Sockets = 1 })
	f.join(t, "a@r")
	_, r, err := f.dialWith(http.Header{}, Subprotocol)
	if err == nil || r.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("second socket got %v (%v)", r, err)
	}
}

func TestACloseFrameIsAnswered(t *testing.T) {
	f := newFixture(t, nil)
	c, _ := f.join(t, "a@r")
	msg := websocket.FormatCloseMessage(websocket.CloseGoingAway, "")
	if err := c.ws.WriteControl(websocket.CloseMessage, msg, time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	c.expectClose(closeNormal)
	f.sfu.session(t, 0).expect(t, "socket lost")
}
