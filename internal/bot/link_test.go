package bot

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"consilium/internal/leak"
	"consilium/internal/media"
	"consilium/signaling"
)

// fake is a server that a test plays by hand, socket by socket.
type fake struct {
	*httptest.Server
	t       *testing.T
	sockets chan *websocket.Conn
}

func newFake(t *testing.T) *fake {
	t.Helper()
	f := &fake{t: t, sockets: make(chan *websocket.Conn, 4)}
	upgrader := websocket.Upgrader{Subprotocols: []string{signaling.Subprotocol}}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		f.sockets <- conn
	}))
	t.Cleanup(func() {
		f.Close()
		for len(f.sockets) > 0 { // of a bot that came back when the test was over
			(<-f.sockets).Close()
		}
	})
	return f
}

func (f *fake) accept() *websocket.Conn {
	f.t.Helper()
	select {
	case conn := <-f.sockets:
		f.t.Cleanup(func() { conn.Close() })
		return conn
	case <-time.After(10 * time.Second):
		f.t.Fatal("no socket was opened")
		return nil
	}
}

// expect reads messages until one has the type, which it returns.
func (f *fake) expect(conn *websocket.Conn, kind string) signaling.Envelope {
	f.t.Helper()
	for {
		if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			f.t.Fatal(err)
		}
		var e signaling.Envelope
		if err := conn.ReadJSON(&e); err != nil {
			f.t.Fatalf("wait for %s: %v", kind, err)
		}
		if e.Type == kind {
			return e
		}
	}
}

func (f *fake) send(conn *websocket.Conn, e signaling.Envelope, body any) {
	f.t.Helper()
	data, err := json.Marshal(body)
	if err != nil {
		f.t.Fatal(err)
	}
	e.Body = data
	if err := conn.WriteJSON(e); err != nil {
		f.t.Fatal(err)
	}
}

// run starts a bot that publishes nothing and is welcomed as waiting.
func run(t *testing.T, f *fake) (*Bot, *websocket.Conn) {
	t.Helper()
	b, err := New(Config{URL: f.URL, Token: "token", Publish: []media.Source{}})
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = b.Run(context.Background()) }() // Err has it
	t.Cleanup(b.Vanish)
	conn := f.accept()
	f.expect(conn, "hello")
	f.send(conn, signaling.Envelope{Type: "welcome"}, signaling.Welcome{Session: "s", Secret: "x", State: "waiting"})
	return b, conn
}

func TestALostSocketIsResumedAndNothingIsLostOrRepeated(t *testing.T) {
	leak.Check(t)
	f := newFake(t)
	b, first := run(t, f)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()

	f.send(first, signaling.Envelope{Type: "participant", Seq: 1}, signaling.Participant{Identity: "one"})
	if err := b.Send(ctx, "view", signaling.ViewBody{}); err != nil {
		t.Fatal(err)
	}
	if e := f.expect(first, "view"); e.Seq != 1 {
		t.Errorf("first message has number %d", e.Seq)
	}
	if e := f.expect(first, "ack"); e.Ack != 1 {
		t.Errorf("acknowledged %d, want 1", e.Ack)
	}
	b.CutSocket()
	b.RestoreSocket()

	second := f.accept()
	var resume signaling.Resume
	if err := json.Unmarshal(f.expect(second, "resume").Body, &resume); err != nil {
		t.Fatal(err)
	}
	if resume.Session != "s" || resume.Secret != "x" || resume.Ack != 1 {
		t.Errorf("resumed with %+v", resume)
	}
	f.send(second, signaling.Envelope{Type: "resumed"}, signaling.Resumed{Ack: 0})
	if e := f.expect(second, "view"); e.Seq != 1 {
		t.Errorf("the unacknowledged message came with number %d", e.Seq)
	}
	f.send(second, signaling.Envelope{Type: "participant", Seq: 1}, signaling.Participant{Identity: "again"})
	f.send(second, signaling.Envelope{Type: "participant", Seq: 2}, signaling.Participant{Identity: "two"})
	if err := b.Wait(ctx, "two", func(s *Snapshot) bool { return s.Participant("two") != nil }); err != nil {
		t.Fatal(err)
	}
	if s := b.Snapshot(); s.Participant("again") != nil || s.Resumes != 1 {
		t.Errorf("a repeated message was applied, or %d resumes", s.Resumes)
	}
}

func TestRequestsGetTheirReplies(t *testing.T) {
	leak.Check(t)
	f := newFake(t)
	b, conn := run(t, f)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	result := make(chan error, 1)
	go func() { result <- b.Admit(ctx, "somebody") }()
	request := f.expect(conn, "admit")
	f.send(conn, signaling.Envelope{Type: "error", Seq: 1, Re: request.ID}, signaling.ErrorBody{Code: "forbidden", Message: "no"})
	var refusal *Error
	if err := <-result; !errors.As(err, &refusal) || refusal.Code != "forbidden" {
		t.Errorf("got %v, want a refusal", err)
	}
}

func TestTheServersEndIsTheBotsEnd(t *testing.T) {
	leak.Check(t)
	f := newFake(t)
	b, conn := run(t, f)
	f.send(conn, signaling.Envelope{Type: "ended", Seq: 1}, signaling.Ended{Reason: "removed", By: "doctor"})
	<-b.Done()
	if s := b.Snapshot(); b.Err() != nil || s.Ended == nil || s.Ended.By != "doctor" {
		t.Errorf("ended with %v, %+v", b.Err(), s.Ended)
	}
}

func TestAGapInTheNumbersIsAFault(t *testing.T) {
	leak.Check(t)
	f := newFake(t)
	b, conn := run(t, f)
	f.send(conn, signaling.Envelope{Type: "participant", Seq: 2}, signaling.Participant{Identity: "one"})
	<-b.Done()
	if b.Err() == nil {
		t.Error("the bot took it")
	}
}

func TestARefusedHelloIsTheErrorOfRun(t *testing.T) {
	leak.Check(t)
	f := newFake(t)
	b, err := New(Config{URL: f.URL, Token: "token"})
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = b.Run(context.Background()) }() // Err has it
	conn := f.accept()
	f.expect(conn, "hello")
	f.send(conn, signaling.Envelope{Type: "error"}, signaling.ErrorBody{Code: "TOKEN_EXPIRED", Fatal: true})
	<-b.Done()
	var refusal *Error
	if !errors.As(b.Err(), &refusal) || refusal.Code != "TOKEN_EXPIRED" {
		t.Errorf("got %v, want TOKEN_EXPIRED", b.Err())
	}
	if _, err := New(Config{URL: f.URL}); err == nil {
		t.Error("a bot without a token was made")
	}
}
