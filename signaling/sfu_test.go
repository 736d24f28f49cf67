package signaling

import (
	"context"
	"testing"

	"consilium/internal/event"
	"consilium/sfu"
)

// until receives messages up to one of the type, which it returns.
func (c *client) until(kind string) Envelope {
	c.t.Helper()
	for {
		e, err := c.next()
		if err != nil {
			c.t.Fatalf("waiting for %s: %v", kind, err)
		}
		if e.Type == kind {
			return e
		}
	}
}

// newRealFixture is a Server in front of a real SFU.
func newRealFixture(t *testing.T) *fixture {
	t.Helper()
	var server *sfu.Server
	f := newFixture(t, func(c *Config) {
		var err error
		server, err = sfu.New(sfu.Config{Events: event.Func(func(event.Event) {}), Calls: sfu.CallsConfig{HoldPatients: true}})
		if err != nil {
			t.Fatal(err)
		}
		c.SFU = Adapt(server.Join)
	})
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan error, 1)
	go func() { over <- server.Run(ctx) }()
	t.Cleanup(func() { // before the fixture's own: as in a shutdown
		f.Drain()
		cancel()
		if err := <-over; err != nil {
			t.Errorf("SFU: %v", err)
		}
	})
	return f
}

func TestTheRealSFUFits(t *testing.T) {
	f := newRealFixture(t)
	doctor, _ := f.join(t, "doc:doctor@r")
	doctor.until("state")

	patient, w := f.join(t, "pat:patient@r")
	if w.State != "waiting" {
		t.Fatalf("the patient is %s", w.State)
	}
	patient.sendText(`{"type":"offer","seq":1,"id":"o","body":{"sdp":"v=0","tracks":[],"seats":[]}}`)
	patient.expectError("conflict")
	for {
		p := bodyOf[Participant](t, doctor.until("participant"))
		if p.Identity == "pat" && p.State == "waiting" {
			break
		}
	}
	doctor.sendText(`{"type":"admit","seq":1,"id":"a","body":{"participant":"pat"}}`)
	doctor.until("ok")
	patient.until("admitted")
	if s := bodyOf[State](t, patient.until("state")); len(s.Participants) != 2 {
		t.Errorf("the patient sees %+v", s.Participants)
	}
	patient.sendText(`{"type":"offer","seq":2,"id":"p","body":{"sdp":"hello","tracks":[],"seats":[]}}`)
	if e := patient.until("error"); bodyOf[ErrorBody](t, e).Code != "not_sdp" {
		t.Errorf("bad SDP got %s", e.Body)
	}
	patient.sendText(`{"type":"remove","seq":3,"id":"r","body":{"participant":"doc"}}`)
	if e := patient.until("error"); bodyOf[ErrorBody](t, e).Code != "forbidden" {
		t.Errorf("a patient who removes a doctor got %s", e.Body)
	}

	// A reload: the same participant, and the old page is told.
	again := f.dial(t)
	again.send(Envelope{Type: "hello"}, Hello{Token: "expired", Rejoin: w.Secret})
	if n := receiveBody[Welcome](again, "welcome"); n.State != "joined" || n.Session == w.Session {
		t.Errorf("after a reload: %+v", n)
	}
	if e := bodyOf[Ended](t, patient.until("ended")); e.Reason != "replaced" {
		t.Errorf("the old page got %+v", e)
	}
	if s := bodyOf[State](t, again.until("state")); len(s.Participants) != 2 {
		t.Errorf("after a reload there are %+v", s.Participants)
	}

	doctor.sendText(`{"type":"end","seq":2,"id":"e","body":{}}`)
	if e := bodyOf[Ended](t, again.until("ended")); e.Reason != "call_ended" || e.By != "doc" {
		t.Errorf("the patient got %+v", e)
	}
	doctor.expectClose(closeNormal)
}

func TestTheRealSFUShutsDownInOrder(t *testing.T) {
	f := newRealFixture(t)
	c, _ := f.join(t, "doc:doctor@r")
	c.until("state")
	f.Drain()
	if e := bodyOf[Ended](t, c.until("ended")); e.Reason != "shutdown" || e.Code != "SERVER_RESTART" || e.Retry == 0 {
		t.Errorf("ended: %+v", e)
	}
}

func TestManyJoinsAndLeavesLeaveNothingBehind(t *testing.T) {
	f := newRealFixture(t)
	for i := range 100 {
		c, _ := f.join(t, "doc:doctor@r")
		if i%4 == 0 { // the next join replaces this one
			c.cut()
			continue
		}
		c.sendText(`{"type":"leave","seq":1,"body":{}}`)
		c.until("ended")
		c.expectClose(closeNormal)
	}
	last, _ := f.join(t, "doc:doctor@r")
	last.until("state")
	eventually(t, "everybody but the last is gone", func() bool { return f.Stats().Sessions == 1 })
}
