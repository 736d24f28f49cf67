package contract

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// message is the envelope of consilium.v1.
type message struct {
	Type string          `json:"type"`
	Seq  uint64          `json:"seq,omitempty"`
	Ack  uint64          `json:"ack,omitempty"`
	ID   string          `json:"id,omitempty"`
	Re   string          `json:"re,omitempty"`
	Body json.RawMessage `json:"body,omitempty"`
}

type refusal struct {
	Code  string
	Fatal bool
	Retry float64
}

func (m message) refusal() (r refusal) {
	_ = json.Unmarshal(m.Body, &r)
	return r
}

func (m message) code() string { return m.refusal().Code }
func (m message) fatal() bool  { return m.refusal().Fatal }

// socket is a client of /ws that knows the written protocol and nothing else.
type socket struct {
	t    *testing.T
	conn *websocket.Conn
	seq  uint64
}

// socket opens one.
func (c *child) socket() *socket {
	c.t.Helper()
	dialer := websocket.Dialer{Subprotocols: []string{"consilium.v1"}, HandshakeTimeout: 10 * time.Second}
	conn, _, err := dialer.DialContext(c.t.Context(), strings.Replace(c.URL, "http", "ws", 1)+"/ws", nil)
	if err != nil {
		c.t.Fatal(err)
	}
	s := &socket{t: c.t, conn: conn}
	c.t.Cleanup(s.close)
	return s
}

func (s *socket) close() { _ = s.conn.Close() }

// raw sends any text.
func (s *socket) raw(text string) {
	s.t.Helper()
	if err := s.conn.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		s.t.Logf("write: %v", err) // the server may have closed already: what it said before counts
	}
}

// send sends a numbered message.
func (s *socket) send(kind, id string, body any) {
	s.t.Helper()
	data, err := json.Marshal(body)
	if err != nil {
		s.t.Fatal(err)
	}
	s.seq++
	text, err := json.Marshal(message{Type: kind, Seq: s.seq, ID: id, Body: data})
	if err != nil {
		s.t.Fatal(err)
	}
	s.raw(string(text))
}

// read returns the next message; an empty one is the end of the socket.
func (s *socket) read() message {
	s.t.Helper()
	_ = s.conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	var m message
	if err := s.conn.ReadJSON(&m); err != nil {
		return message{Type: "closed", Body: json.RawMessage(`{}`)}
	}
	return m
}

// until reads up to a message of a type, or the end.
func (s *socket) until(kind string) message {
	s.t.Helper()
	for {
		if m := s.read(); m.Type == kind || m.Type == "closed" {
			return m
		}
	}
}

// reply reads up to the reply to a request.
func (s *socket) reply(id string) message {
	s.t.Helper()
	for {
		if m := s.read(); m.Re == id || m.Type == "closed" {
			return m
		}
	}
}

// hello says who it is, with consent, and returns the answer.
func (s *socket) hello(token string) message {
	s.t.Helper()
	body, err := json.Marshal(map[string]any{
		"token": token, "consent": map[string]any{"recording": true, "text": "test", "lang": "en"},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	text, err := json.Marshal(message{Type: "hello", Body: body})
	if err != nil {
		s.t.Fatal(err)
	}
	s.raw(string(text))
	return s.read()
}

// handshake tries to open a socket with a header and returns the refusal.
func (c *child) handshake(protocols []string, header http.Header) answer {
	c.t.Helper()
	dialer := websocket.Dialer{Subprotocols: protocols, HandshakeTimeout: 10 * time.Second}
	conn, response, err := dialer.DialContext(c.t.Context(), strings.Replace(c.URL, "http", "ws", 1)+"/ws", header)
	if err == nil {
		_ = conn.Close()
		return answer{status: http.StatusSwitchingProtocols}
	}
	if response == nil {
		c.t.Fatal(err)
	}
	body := make([]byte, 1024)
	n, _ := response.Body.Read(body)
	return answer{response.StatusCode, response.Header, string(body[:n])}
}
