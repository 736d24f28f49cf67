package signaling

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// client is a WebSocket client that a test drives message by message.
type client struct {
	t  *testing.T
	ws *websocket.Conn
}

func (f *fixture) dial(t *testing.T) *client {
	t.Helper()
	ws, _, err := f.dialWith(http.Header{}, Subprotocol)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ws.Close() })
	return &client{t, ws}
}

func (f *fixture) dialWith(h http.Header, subprotocols ...string) (*websocket.Conn, *http.Response, error) {
	d := websocket.Dialer{Subprotocols: subprotocols, HandshakeTimeout: patience}
	return d.Dial("ws"+strings.TrimPrefix(f.http.URL, "http")+"/ws", h)
}

// join dials and says hello with a token.
func (f *fixture) join(t *testing.T, token string) (*client, Welcome) {
	t.Helper()
	c := f.dial(t)
	c.send(Envelope{Type: "hello"}, Hello{Token: token})
	return c, receiveBody[Welcome](c, "welcome")
}

// resume dials and says resume.
func (f *fixture) resumeWith(t *testing.T, w Welcome, ack uint64) (*client, Resumed) {
	t.Helper()
	c := f.dial(t)
	c.send(Envelope{Type: "resume"}, Resume{Session: w.Session, Secret: w.Secret, Ack: ack})
	return c, receiveBody[Resumed](c, "resumed")
}

func (c *client) send(e Envelope, body any) {
	c.t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		c.t.Fatal(err)
	}
	e.Body = raw
	data, err := json.Marshal(e)
	if err != nil {
		c.t.Fatal(err)
	}
	c.sendText(string(data))
}

func (c *client) sendText(text string) {
	c.t.Helper()
	if err := c.ws.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) next() (Envelope, error) {
	var e Envelope
	if err := c.ws.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return e, err
	}
	_, data, err := c.ws.ReadMessage()
	if err != nil {
		return e, err
	}
	return e, json.Unmarshal(data, &e)
}

// receive returns the next message, which must be of the type.
func (c *client) receive(kind string) Envelope {
	c.t.Helper()
	e, err := c.next()
	if err != nil {
		c.t.Fatalf("waiting for %s: %v", kind, err)
	}
	if e.Type != kind {
		c.t.Fatalf("received %s %s, want %s", e.Type, e.Body, kind)
	}
	return e
}

// receiveBody receives a message of the type and decodes its body.
func receiveBody[T any](c *client, kind string) T {
	c.t.Helper()
	return bodyOf[T](c.t, c.receive(kind))
}

func bodyOf[T any](t *testing.T, e Envelope) T {
	t.Helper()
	var b T
	if err := decodeStrict(e.Body, &b); err != nil {
		t.Fatalf("%s %s: %v", e.Type, e.Body, err)
	}
	return b
}

// expectError receives an error with a code.
func (c *client) expectError(code string) (Envelope, ErrorBody) {
	c.t.Helper()
	e := c.receive("error")
	b := bodyOf[ErrorBody](c.t, e)
	if b.Code != code {
		c.t.Fatalf("error %q (%s), want %q", b.Code, b.Message, code)
	}
	return e, b
}

// expectClose reads until the socket closes and compares the code; messages
// before it are skipped.
func (c *client) expectClose(code int) {
	c.t.Helper()
	for {
		_, err := c.next()
		if err == nil {
			continue
		}
		var closed *websocket.CloseError
		if !errors.As(err, &closed) || closed.Code != code {
			c.t.Fatalf("socket ended with %v, want close code %d", err, code)
		}
		return
	}
}

// cut ends the socket as a lost network does: without a close frame.
func (c *client) cut() { c.ws.Close() }
