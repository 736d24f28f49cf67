package signaling

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"consilium/internal/event"
	"consilium/sfu"
)

func TestResumeSendsAgainWhatTheClientHasNotGot(t *testing.T) {
	f := newFixture(t, nil)
	c, w := f.join(t, "pat@r")
	x := f.sfu.session(t, 0)
	for i := range 3 {
		x.notify(sfu.NoticeParticipantLeft{Identity: fmt.Sprint("p", i+1)})
		c.receive("participant_left")
	}
	c.cut()
	x.expect(t, "socket lost")
	x.notify(sfu.NoticeParticipantLeft{Identity: "p4"}) // while nobody listens

	c, r := f.resumeWith(t, w, 2)
	if r.Snapshot || r.Ack != 0 || len(r.ICEServers) != 1 {
		t.Errorf("resumed: %+v", r)
	}
	x.expect(t, "socket back")
	for seq := uint64(3); seq <= 4; seq++ {
		e := c.receive("participant_left")
		if b := bodyOf[ParticipantLeft](t, e); e.Seq != seq || b.Identity != fmt.Sprint("p", seq) {
			t.Errorf("replayed %+v %+v, want %d", e, b, seq)
		}
	}
}

func TestARequestSentAgainGetsTheStoredReply(t *testing.T) {
	f := newFixture(t, nil)
	c, w := f.join(t, "pat@r")
	x := f.sfu.session(t, 0)
	const offer = `{"type":"offer","seq":1,"id":"q","body":{"sdp":"v=0","tracks":[],"seats":[]}}`
	c.sendText(offer)
	x.expect(t, "offer v=0")
	first := c.receive("answer")
	c.cut()
	x.expect(t, "socket lost")

	c, r := f.resumeWith(t, w, 0)
	x.expect(t, "socket back")
	if r.Ack != 1 {
		t.Errorf("server has %d, want 1", r.Ack)
	}
	replayed := c.receive("answer")
	if replayed.Seq != first.Seq || replayed.Re != "q" {
		t.Errorf("replayed %+v", replayed)
	}
	for _, message := range []string{offer, strings.Replace(offer, `"seq":1`, `"seq":2`, 1)} {
		c.sendText(message)
		again := c.receive("answer")
		if again.Re != "q" || string(again.Body) != string(first.Body) || again.Seq <= first.Seq {
			t.Errorf("repeated request got %+v", again)
		}
	}
	x.expectNothing(t) // the SFU was asked once
}

func TestARequestSentAgainTooLateIsRefused(t *testing.T) {
	f := newFixture(t, nil)
	c, _ := f.join(t, "pat@r")
	const message = `{"type":"turn","seq":%d,"id":"q%d","body":{}}`
	for i := 1; i <= maxReplies+1; i++ {
		c.sendText(fmt.Sprintf(message, i, i))
		c.receive("turn")
	}
	c.sendText(fmt.Sprintf(message, 1, 1))
	if e, _ := c.expectError(codeReplyGone); e.Re != "q1" {
		t.Errorf("refused %q", e.Re)
	}
}

func TestLostDuplicateAndReorderedMessagesAreEachDoneOnce(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.Limits.MessageRate = 1e6 })
	_, w := f.join(t, "pat@r")
	x := f.sfu.session(t, 0)
	r := rand.New(rand.NewPCG(3, 4))
	const total = 200
	done := uint64(0) // what the server says it has
	for done < total {
		c, resumed := f.resumeWith(t, w, 0)
		done = resumed.Ack
		var batch []uint64
		for seq := done + 1; seq <= min(done+20, total); seq++ {
			for range r.IntN(3) { // lost, once, or twice
				batch = append(batch, seq)
			}
		}
		if r.IntN(2) == 0 {
			r.Shuffle(len(batch), func(i, j int) { batch[i], batch[j] = batch[j], batch[i] })
		}
		for _, seq := range batch {
			c.sendText(fmt.Sprintf(`{"type":"candidate","seq":%d,"body":{"candidate":"%d"}}`, seq, seq))
		}
		c.sendText(`{"type":"ping","body":{"time":1}}`) // the server has read the batch
		for {
			e, err := c.next()
			if err != nil {
				t.Fatal(err)
			}
			if e.Type == "pong" {
				break
			}
		}
	}
	next := 1
	for len(x.calls) > 0 {
		call := <-x.calls
		if !strings.HasPrefix(call, "candidate") {
			continue
		}
		if call != fmt.Sprintf("candidate %d ", next) {
			t.Fatalf("%q, want candidate %d", call, next)
		}
		next++
	}
	if next != total+1 {
		t.Errorf("%d candidates, want %d", next-1, total)
	}
}

func TestWhenTheReplayOverflowsASnapshotComes(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.Limits.ReplayMessages = 10 })
	f.sfu.set(func(s *fakeSFU) { s.waiting = true })
	c, w := f.join(t, "pat@r")
	x := f.sfu.session(t, 0)
	x.notify(sfu.NoticeRecording{On: true})
	c.receive("recording")
	c.sendText(`{"type":"turn","seq":1,"id":"got","body":{}}`)
	c.receive("turn")
	// From here on the client hears nothing.
	c.sendText(`{"type":"publish","seq":2,"id":"missed","body":{"mid":"0","source":"mic","active":true,"muted":false}}`)
	x.expect(t, "publish 0 mic true false")
	c.receive("ok")
	c.cut()
	x.expect(t, "socket lost")
	x.notify(sfu.NoticeState{Call: x.Call()})
	x.notify(sfu.NoticeSeats{Seats: []sfu.Seat{{ID: "seat-0", Video: "3"}}, MissingPersons: 4})
	for i := range 11 {
		x.notify(sfu.NoticeParticipantLeft{Identity: fmt.Sprint(i)})
	}
	c, r := f.resumeWith(t, w, 2)
	if !r.Snapshot || r.Ack != 2 {
		t.Fatalf("resumed: %+v", r)
	}
	// There is no gap, and nothing that matters is missing.
	for i, kind := range []string{"admitted", "state", "seats", "ok"} {
		e := c.receive(kind)
		if e.Seq != uint64(3+i) {
			t.Errorf("%s has number %d, want %d", kind, e.Seq, 3+i)
		}
		switch kind {
		case "state":
			if s := bodyOf[State](t, e); s.Call != "call-1" || len(s.Participants) != 1 {
				t.Errorf("state: %+v", s)
			}
		case "seats":
			if s := bodyOf[Seats](t, e); s.MissingPersons != 4 {
				t.Errorf("seats: %+v", s)
			}
		case "ok":
			if e.Re != "missed" {
				t.Errorf("reply to %q again", e.Re)
			}
		}
	}
	x.notify(sfu.NoticeRecording{On: true})
	if e := c.receive("recording"); e.Seq != 7 {
		t.Errorf("numbering does not go on: %+v", e)
	}
	if s := f.Stats(); s.Snapshots != 1 {
		t.Errorf("%d snapshots counted", s.Snapshots)
	}
}

func TestResumeWithAnAckFromNowhereIsRefused(t *testing.T) {
	f := newFixture(t, nil)
	old, w := f.join(t, "pat@r")
	c := f.dial(t)
	c.send(Envelope{Type: "resume"}, Resume{Session: w.Session, Secret: w.Secret, Ack: 7})
	if _, b := c.expectError(codeSequence); !b.Fatal {
		t.Error("not fatal")
	}
	c.expectClose(closePolicy)
	old.sendText(`{"type":"ping","body":{"time":1}}`)
	old.receive("pong") // the session did not notice
}

func TestASecondSocketTakesOverAtOnce(t *testing.T) {
	f := newFixture(t, nil)
	old, w := f.join(t, "pat@r")
	x := f.sfu.session(t, 0)
	c, _ := f.resumeWith(t, w, 0)
	old.expectClose(closeTakenOver)
	x.notify(sfu.NoticeRecording{On: true})
	c.receive("recording")
	x.expectNothing(t) // it was never lost
}

func TestResumeNeedsTheSecret(t *testing.T) {
	f := newFixture(t, nil)
	_, w := f.join(t, "pat@r")
	c := f.dial(t)
	c.send(Envelope{Type: "resume"}, Resume{Session: w.Session, Secret: w.Secret + "x"})
	c.expectError("TOKEN_BAD")
	c.expectClose(closePolicy)
}

func TestALostSessionEndsAfterTheResumeWindow(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.Timing.ResumeWindow = 50 * time.Millisecond })
	c, w := f.join(t, "pat@r")
	x := f.sfu.session(t, 0)
	c.cut()
	x.expect(t, "socket lost")
	x.expect(t, "fail SIGNAL_LOST socket")
	x.expect(t, "leave lost")
	c = f.dial(t)
	c.send(Envelope{Type: "resume"}, Resume{Session: w.Session, Secret: w.Secret})
	c.expectError(codeSessionUnknown)
}

func TestASlowReaderLosesItsSocketAndNotItsSession(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.Limits.QueueMessages = 8 })
	c, w := f.join(t, "slow@r")
	other, _ := f.join(t, "other@r")
	x := f.sfu.session(t, 0)
	if err := c.ws.NetConn().(*net.TCPConn).SetReadBuffer(4096); err != nil {
		t.Fatal(err)
	}
	// More than the buffers of the kernel hold: it sends 4 MiB ahead.
	big := strings.Repeat("x", 64<<10)
	for range 120 {
		x.notify(sfu.NoticeEvent{Event: event.Event{Type: event.QualityPoor, Data: map[string]any{"x": big}}})
	}
	x.expect(t, "socket lost")
	if s := f.Stats(); s.SlowSockets != 1 {
		t.Errorf("%d slow sockets counted", s.SlowSockets)
	}
	f.sfu.session(t, 1).notify(sfu.NoticeRecording{On: true})
	other.receive("recording") // nobody else noticed
	c.cut()
	c, r := f.resumeWith(t, w, 0)
	if !r.Snapshot {
		t.Errorf("resumed: %+v", r)
	}
	c.receive("state")
	x.expect(t, "socket back")
}

func TestHalfAFrameBlocksNobody(t *testing.T) {
	f := newFixture(t, nil)
	c, w := f.join(t, "pat@r")
	// Half a frame, then silence: the server must not wait for the rest.
	raw := c.ws.NetConn()
	if _, err := raw.Write([]byte{0x81, 0xfe}); err != nil {
		t.Fatal(err)
	}
	c2, _ := f.resumeWith(t, w, 0)
	c2.sendText(`{"type":"ping","body":{"time":1}}`)
	c2.receive("pong")
	c.cut()
	if err := c2.ws.WriteMessage(websocket.TextMessage, json.RawMessage(`{"type":"leave","seq":1}`)); err != nil {
		t.Fatal(err)
	}
	c2.receive("ended")
}
