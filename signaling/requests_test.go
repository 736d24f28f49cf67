package signaling

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"consilium/internal/event"
	"consilium/internal/media"
	"consilium/sfu"
)

func TestEveryRequestReachesTheSFUAndIsAnswered(t *testing.T) {
	tests := map[string]struct{ kind, body, asked, reply, code string }{
		"offer":         {"offer", `{"sdp":"v=0","tracks":[{"mid":"0","source":"mic","muted":false}],"seats":[{"audio":"1","video":"2"}]}`, "offer v=0", "answer", ""},
		"publish":       {"publish", `{"mid":"1","source":"cam","active":true,"muted":true}`, "publish 1 cam true true", "ok", ""},
		"admit":         {"admit", `{"participant":"pat"}`, "admit pat", "ok", ""},
		"remove":        {"remove", `{"participant":"pat"}`, "remove pat", "error", "forbidden"},
		"mute":          {"mute", `{"participant":"pat","source":"mic"}`, "mute pat mic", "error", "not_found"},
		"unknown error": {"end", `{}`, "end", "error", "internal"},
		"view":          {"view", `{"tracks":[{"track":"t","width":640,"height":360}]}`, "view [{t 640 360}]", "ok", ""},
		"turn":          {"turn", `{}`, "", "turn", ""},
	}
	f := newFixture(t, nil)
	n := 0
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c, _ := f.join(t, "doc:doctor@r")
			x := f.sfu.session(t, n)
			n++
			c.sendText(fmt.Sprintf(`{"type":%q,"seq":1,"id":"q","body":%s}`, test.kind, test.body))
			if test.asked != "" {
				x.expect(t, test.asked)
			}
			e := c.receive(test.reply)
			if e.Re != "q" || e.Seq != 1 || e.Ack != 1 {
				t.Errorf("reply: %+v", e)
			}
			if test.code != "" {
				b := bodyOf[ErrorBody](t, e)
				if b.Code != test.code || b.Fatal || strings.Contains(b.Message, "disk on fire") {
					t.Errorf("error: %+v", b)
				}
			}
		})
	}
}

func TestMessagesWithoutReplyAreAcknowledged(t *testing.T) {
	f := newFixture(t, nil)
	c, _ := f.join(t, "pat@r")
	x := f.sfu.session(t, 0)
	c.sendText(`{"type":"candidate","seq":1,"body":{"candidate":"candidate:1 1 udp 1 10.0.0.1 9 typ host","mid":"0"}}`)
	x.expect(t, "candidate candidate:1 1 udp 1 10.0.0.1 9 typ host 0")
	c.sendText(`{"type":"report","seq":2,"body":{"decoded":{"a":{"samples":960},"v":{"frames":30,"lost":-1}},"stats":{"rtt":0.05}}}`)
	x.expect(t, "decoded map[a:960 v:30]")
	x.expect(t, "log flowing stats  map[rtt:0.05]")
	c.sendText(`{"type":"log","seq":3,"body":{"entries":[{"time":1,"stage":"devices","text":"no camera","code":"CAM_NONE","data":{"n":0}}]}}`)
	x.expect(t, "log devices no camera CAM_NONE map[device_ms:1 n:0]")
	for {
		if e := c.receive("ack"); e.Ack == 3 {
			if e.Seq != 0 {
				t.Errorf("an ack is numbered: %+v", e)
			}
			return
		}
	}
}

func TestPingIsAnsweredWithTheServersClock(t *testing.T) {
	f := newFixture(t, nil)
	c, _ := f.join(t, "pat@r")
	c.sendText(`{"type":"ping","body":{"time":1234.5}}`)
	e := c.receive("pong")
	p := bodyOf[Pong](t, e)
	if p.Time != 1234.5 || toMillis(time.Now())-p.Server > 5000 || e.Seq != 0 {
		t.Errorf("pong: %+v %+v", e, p)
	}
}

func TestNoticesBecomeMessagesInOrder(t *testing.T) {
	f := newFixture(t, nil)
	c, _ := f.join(t, "pat@r")
	x := f.sfu.session(t, 0)
	at := time.Date(2026, 1, 2, 3, 4, 5, 678901000, time.UTC)
	x.notify(sfu.NoticeParticipant{Participant: sfu.ParticipantInfo{Identity: "doc", State: sfu.Joined, Tracks: []sfu.TrackInfo{
		{ID: "t1", Session: "s2", Source: media.Camera, Muted: true, State: sfu.TrackFlowing},
	}}})
	x.notify(sfu.NoticeSeats{Seats: []sfu.Seat{{ID: "seat-0", Audio: "2", Video: "3", Participant: "doc", Session: "s2", VideoTrack: "t1"}}, MissingPersons: 2})
	x.notify(sfu.NoticeRecording{On: false, Code: event.DiskFull})
	x.notify(sfu.NoticeEvent{Event: event.Event{Type: event.MediaTimeout, Time: at, Participant: "doc", Track: "t1",
		Failure: event.Failure{Code: event.NoMediaOut, Stage: event.StageFirstRTP, Direction: event.Out}, Data: map[string]any{"n": 1}}})
	x.notify(sfu.NoticeMute{Source: media.Microphone, By: "doc"})
	x.notify(sfu.NoticeParticipantLeft{Identity: "doc", Reason: media.EndLost})

	e := c.receive("participant")
	if p := bodyOf[Participant](t, e); e.Seq != 1 || p.Identity != "doc" || len(p.Tracks) != 1 || p.Tracks[0] != (TrackInfo{"t1", "s2", "cam", true, "flowing"}) {
		t.Errorf("participant: %+v %+v", e, p)
	}
	e = c.receive("seats")
	if s := bodyOf[Seats](t, e); e.Seq != 2 || s.MissingPersons != 2 || s.Seats[0] != (Seat{"seat-0", "2", "3", "doc", "s2", "", "t1"}) {
		t.Errorf("seats: %+v %+v", e, s)
	}
	if r := receiveBody[RecordingBody](c, "recording"); r.On || r.Code != "DISK_FULL" {
		t.Errorf("recording: %+v", r)
	}
	v := receiveBody[EventBody](c, "event")
	if v.Type != "media.timeout" || v.Time != "2026-01-02T03:04:05.678901Z" || v.Code != "NO_MEDIA_OUT" || v.Stage != "first_rtp" || v.Direction != "out" || v.Track != "t1" {
		t.Errorf("event: %+v", v)
	}
	if m := receiveBody[Muted](c, "muted"); m != (Muted{"mic", "doc"}) {
		t.Errorf("muted: %+v", m)
	}
	if l := receiveBody[ParticipantLeft](c, "participant_left"); l != (ParticipantLeft{"doc", "lost"}) {
		t.Errorf("left: %+v", l)
	}
}

func TestOneOfferIsInFlight(t *testing.T) {
	f := newFixture(t, nil)
	release := make(chan struct{})
	f.sfu.set(func(s *fakeSFU) {
		s.offer = func(context.Context, sfu.Offer) (sfu.Answer, error) {
			<-release
			return sfu.Answer{SDP: "late"}, nil
		}
	})
	c, _ := f.join(t, "pat@r")
	const offer = `"body":{"sdp":"v=0","tracks":[],"seats":[]}}`
	c.sendText(`{"type":"offer","seq":1,"id":"a",` + offer)
	c.sendText(`{"type":"offer","seq":2,"id":"b",` + offer)
	if e, _ := c.expectError(codeOfferInFlight); e.Re != "b" {
		t.Errorf("refused %q", e.Re)
	}
	// The loop goes on meanwhile.
	c.sendText(`{"type":"ping","body":{"time":1}}`)
	c.receive("pong")
	close(release)
	if e := c.receive("answer"); e.Re != "a" {
		t.Errorf("answered %q", e.Re)
	}
	c.sendText(`{"type":"offer","seq":3,"id":"c",` + offer)
	if e := c.receive("answer"); e.Re != "c" {
		t.Errorf("answered %q", e.Re)
	}
}

func TestBadMessagesAreRefusedAndTheSocketLives(t *testing.T) {
	tests := map[string]struct{ message, code, re string }{
		"no JSON":            {`{"type":`, codeBadMessage, ""},
		"not an object":      {`7`, codeBadMessage, ""},
		"two values":         {`{"type":"ping","body":{"time":1}} {}`, codeBadMessage, ""},
		"unknown envelope":   {`{"type":"end","seq":1,"id":"x","admin":true,"body":{}}`, codeBadMessage, "x"},
		"unknown type":       {`{"type":"dance","seq":1,"id":"x"}`, codeUnknownType, "x"},
		"unknown body field": {`{"type":"end","seq":1,"id":"x","body":{"now":true}}`, codeBadMessage, "x"},
		"unknown source":     {`{"type":"publish","seq":1,"id":"x","body":{"mid":"0","source":"tv","active":true,"muted":false}}`, codeBadMessage, "x"},
		"negative size":      {`{"type":"view","seq":1,"id":"x","body":{"tracks":[{"track":"t","width":-1,"height":1}]}}`, codeBadMessage, "x"},
		"unknown stage":      {`{"type":"log","seq":1,"id":"x","body":{"entries":[{"time":1,"stage":"moon","text":""}]}}`, codeBadMessage, "x"},
		"no seq":             {`{"type":"end","id":"x","body":{}}`, codeSequence, "x"},
		"gap in seq":         {`{"type":"end","seq":2,"id":"x","body":{}}`, codeSequence, "x"},
		"ack from nowhere":   {`{"type":"end","seq":1,"ack":99,"id":"x","body":{}}`, codeSequence, "x"},
		"request without id": {`{"type":"end","seq":1,"body":{}}`, codeBadMessage, ""},
		"second hello":       {`{"type":"hello","body":{"token":"a@r","client":{}}}`, codeUnexpected, ""},
		"id too long":        {`{"type":"end","seq":1,"id":"` + strings.Repeat("x", maxName+1) + `","body":{}}`, codeBadMessage, ""},
		"server's message":   {`{"type":"welcome","id":"x","body":{}}`, codeUnknownType, "x"},
	}
	f := newFixture(t, nil)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c, _ := f.join(t, "pat@r")
			c.sendText(test.message)
			e, b := c.expectError(test.code)
			if e.Re != test.re || b.Fatal || e.Seq != 1 {
				t.Errorf("refusal: %+v %+v", e, b)
			}
			c.sendText(`{"type":"ping","body":{"time":1}}`)
			c.receive("pong")
		})
	}
}

func TestOversizeClosesTheSocketAndTheSessionLives(t *testing.T) {
	tests := map[string]struct {
		kind    int
		message string
		code    string
		close   int
	}{
		"just over the limit": {websocket.TextMessage, strings.Repeat("x", 256<<10+1), codeTooBig, closeTooBig},
		"1 MiB":               {websocket.TextMessage, strings.Repeat("x", 1<<20), codeTooBig, closeTooBig},
		"binary":              {websocket.BinaryMessage, "{}", codeBadMessage, closeUnsupported},
	}
	f := newFixture(t, nil)
	n := 0
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c, w := f.join(t, "pat@r")
			x := f.sfu.session(t, n)
			n++
			if err := c.ws.WriteMessage(test.kind, []byte(test.message)); err != nil {
				t.Fatal(err)
			}
			c.expectError(test.code)
			c.expectClose(test.close)
			x.expect(t, "socket lost")
			if _, r := f.resumeWith(t, w, 1); r.Snapshot {
				t.Error("a snapshot where nothing was lost")
			}
			x.expect(t, "socket back")
		})
	}
	t.Run("before hello", func(t *testing.T) {
		c := f.dial(t)
		c.sendText(strings.Repeat("x", 1<<20))
		c.expectError(codeTooBig)
		c.expectClose(closeTooBig)
	})
}

func TestAFloodClosesTheSocketAndOthersGoOn(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.Limits.MessageRate, c.Limits.MessageBurst = 1, 20 })
	other, _ := f.join(t, "other@r")
	c, w := f.join(t, "flood@r")
	go func() {
		for c.ws.WriteMessage(websocket.TextMessage, []byte(`{"type":"ack"}`)) == nil {
		}
	}()
	c.expectError(codeRateLimited)
	c.expectClose(closePolicy)
	c.cut()
	other.sendText(`{"type":"ping","body":{"time":1}}`)
	other.receive("pong")
	f.resumeWith(t, w, 1)
	if s := f.Stats(); s.Floods != 1 {
		t.Errorf("%d floods counted", s.Floods)
	}
}
