package bot

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"consilium/signaling"
)

const (
	handshakeTime = 10 * time.Second
	writeTime     = 5 * time.Second
	// replayLimit bounds the messages kept until the server acknowledges them.
	replayLimit = 1000
	// backOff is the pause between two attempts to resume.
	backOff = 200 * time.Millisecond
)

// link is a session's signalling: numbering, acknowledgement and replay over
// one socket after the other. The bot's loop owns it, but for cut and restore.
type link struct {
	url   string
	proxy func(*http.Request) (*url.URL, error) // nil: none
	tls   *tls.Config                           // nil: the system's roots

	conn    *websocket.Conn
	out     uint64 // Seq of the last message sent
	in      uint64 // highest Seq received in order
	acked   uint64 // what we last acknowledged
	pending []signaling.Envelope
	replies map[string]func(signaling.Envelope)
	ids     int

	mu      sync.Mutex
	current *websocket.Conn // for cut
	barred  chan struct{}   // open while cut; nil otherwise
}

func newLink(base string, proxy *url.URL, secure *tls.Config) (*link, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, fmt.Errorf("parse URL of the server: %w", err)
	}
	u.Scheme = strings.Replace(u.Scheme, "http", "ws", 1)
	u.Path = "/ws"
	l := &link{url: u.String(), tls: secure, replies: map[string]func(signaling.Envelope){}}
	if proxy != nil {
		l.proxy = http.ProxyURL(proxy)
	}
	return l, nil
}

// open dials and exchanges the first message of a socket.
func (l *link) open(ctx context.Context, kind string, body any) (signaling.Envelope, error) {
	if err := l.waitRestored(ctx); err != nil {
		return signaling.Envelope{}, err
	}
	dialer := websocket.Dialer{Subprotocols: []string{signaling.Subprotocol}, HandshakeTimeout: handshakeTime, Proxy: l.proxy, TLSClientConfig: l.tls}
	conn, response, err := dialer.DialContext(ctx, l.url, nil)
	if err != nil {
		if response != nil {
			return signaling.Envelope{}, fmt.Errorf("open socket: %w (%s)", err, response.Status)
		}
		return signaling.Envelope{}, fmt.Errorf("open socket: %w", err)
	}
	l.conn = conn
	l.mu.Lock()
	l.current = conn
	l.mu.Unlock()
	// The end of ctx must end the wait for the answer too.
	release := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer release()
	if err := l.write(signaling.Envelope{Type: kind}, body); err != nil {
		return signaling.Envelope{}, err
	}
	if err := conn.SetReadDeadline(time.Now().Add(handshakeTime)); err != nil {
		return signaling.Envelope{}, fmt.Errorf("set deadline: %w", err)
	}
	var reply signaling.Envelope
	if err := conn.ReadJSON(&reply); err != nil {
		return signaling.Envelope{}, fmt.Errorf("read the answer to %s: %w", kind, err)
	}
	if err := conn.SetReadDeadline(time.Time{}); err != nil {
		return signaling.Envelope{}, fmt.Errorf("set deadline: %w", err)
	}
	return reply, replyError(kind, reply)
}

// replyError makes an error of an "error" message.
func replyError(request string, e signaling.Envelope) error {
	if e.Type != "error" {
		return nil
	}
	refusal := &Error{Request: request}
	if err := json.Unmarshal(e.Body, &refusal.ErrorBody); err != nil {
		return fmt.Errorf("decode error reply to %s: %w", request, err)
	}
	return refusal
}

// resumed takes over after a resume: what the server has not got is repeated.
func (l *link) resumed(ack uint64) error {
	l.release(ack)
	for _, e := range l.pending {
		if err := l.writeEnvelope(e); err != nil {
			return err
		}
	}
	return nil
}

// release forgets what the server has.
func (l *link) release(ack uint64) {
	for len(l.pending) > 0 && l.pending[0].Seq <= ack {
		l.pending = l.pending[1:]
	}
}

// request sends a numbered message whose reply goes to f, in the loop.
func (l *link) request(kind string, body any, f func(signaling.Envelope)) error {
	l.ids++
	id := "r" + strconv.Itoa(l.ids)
	l.replies[id] = f
	return l.send(kind, id, body)
}

// send numbers a message, keeps it for a resume and writes it. While there is
// no socket it is kept only.
func (l *link) send(kind, id string, body any) error {
	data, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encode %s: %w", kind, err)
	}
	if len(l.pending) >= replayLimit {
		return errors.New("server acknowledges nothing")
	}
	l.out++
	e := signaling.Envelope{Type: kind, Seq: l.out, ID: id, Body: data}
	l.pending = append(l.pending, e)
	if l.conn == nil {
		return nil
	}
	// A failed write shows at the reader too, and there the socket is resumed.
	_ = l.writeEnvelope(e)
	return nil
}

// acknowledge tells the server how far we are, if that is news.
func (l *link) acknowledge() {
	if l.conn == nil || l.acked == l.in {
		return
	}
	_ = l.write(signaling.Envelope{Type: "ack"}, signaling.Empty{}) // as in send
}

func (l *link) write(e signaling.Envelope, body any) error {
	data, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encode %s: %w", e.Type, err)
	}
	e.Body = data
	return l.writeEnvelope(e)
}

func (l *link) writeEnvelope(e signaling.Envelope) error {
	if e.Type != "hello" && e.Type != "resume" {
		e.Ack, l.acked = l.in, l.in
	}
	if err := l.conn.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
		return fmt.Errorf("set deadline: %w", err)
	}
	if err := l.conn.WriteJSON(e); err != nil {
		return fmt.Errorf("write %s: %w", e.Type, err)
	}
	return nil
}

// accept checks the number of a received message and reports whether it is
// new. A gap is a fault of the server.
func (l *link) accept(e signaling.Envelope) (fresh bool, err error) {
	l.release(e.Ack)
	switch {
	case e.Seq == 0:
		return true, nil
	case e.Seq <= l.in:
		return false, nil
	case e.Seq != l.in+1:
		return false, fmt.Errorf("message %d (%s) came after %d", e.Seq, e.Type, l.in)
	}
	l.in = e.Seq
	return true, nil
}

// reply hands a reply to who asked.
func (l *link) reply(e signaling.Envelope) {
	if f := l.replies[e.Re]; f != nil {
		delete(l.replies, e.Re)
		f(e)
	}
}

func (l *link) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.current != nil {
		_ = l.current.Close() // nothing is left to be flushed
	}
	l.current, l.conn = nil, nil
}

func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.barred == nil {
		l.barred = make(chan struct{})
	}
	if l.current != nil {
		_ = l.current.Close() // the point is to be rude
	}
}

func (l *link) restore() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.barred != nil {
		close(l.barred)
		l.barred = nil
	}
}

func (l *link) waitRestored(ctx context.Context) error {
	l.mu.Lock()
	barred := l.barred
	l.mu.Unlock()
	if barred == nil {
		return nil
	}
	select {
	case <-barred:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
