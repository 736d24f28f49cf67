package signaling

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// Close codes: those of RFC 6455, section 7.4, and one of our own.
const (
	closeNormal      = websocket.CloseNormalClosure   // 1000: the session is over
	closeUnsupported = websocket.CloseUnsupportedData // 1003: a binary message
	closePolicy      = websocket.ClosePolicyViolation // 1008: refused, or flooding
	closeTooBig      = websocket.CloseMessageTooBig   // 1009
	closeRestart     = websocket.CloseServiceRestart  // 1012
	closeTakenOver   = 4001                           // the session goes on on another socket
)

// What ends the reading of a socket, beside errors of the network.
var (
	errTooBig = errors.New("message is too big")
	errBinary = errors.New("message is not text")
)

// conn is one WebSocket. It is the only type that knows the library: one
// goroutine calls read, the goroutine started by newConn writes, and any may
// call send and close.
type conn struct {
	ws           *websocket.Conn
	maxMessage   int
	timing       Timing
	queue        chan []byte     // written by send; full: the socket is cut
	pongs        chan string     // written by the ping handler; full: the pong is left out
	closing      chan closeFrame // capacity 1: the first close wins
	readerDone   chan struct{}   // closed by finishReading
	writerDone   chan struct{}   // closed by the writer as its last act
	readerOnce   sync.Once
	greeted      bool // owned by the reader: the first message has come
	remoteClosed atomic.Bool
}

type closeFrame struct {
	code   int
	reason string
}

// upgrade answers a WebSocket handshake. When it fails it has answered.
func upgrade(w http.ResponseWriter, r *http.Request, cfg *Config) (*conn, error) {
	u := websocket.Upgrader{
		Subprotocols:     []string{Subprotocol},
		HandshakeTimeout: cfg.Timing.Write,
		ReadBufferSize:   4096,
		WriteBufferSize:  4096,
		// CheckOrigin nil: the Origin's host must be the request's.
		Error: func(w http.ResponseWriter, _ *http.Request, status int, reason error) {
			handshakeFailure(status, reason).write(w)
		},
	}
	ws, err := u.Upgrade(w, r, nil)
	if err != nil {
		return nil, fmt.Errorf("upgrade to WebSocket: %w", err)
	}
	c := &conn{
		ws:         ws,
		maxMessage: cfg.Limits.MessageBytes,
		timing:     cfg.Timing,
		queue:      make(chan []byte, cfg.Limits.QueueMessages),
		pongs:      make(chan string, 1),
		closing:    make(chan closeFrame, 1),
		readerDone: make(chan struct{}),
		writerDone: make(chan struct{}),
	}
	ws.SetPongHandler(func(string) error { return c.alive() })
	// The library's own handlers would write from the reader's goroutine.
	ws.SetPingHandler(func(data string) error {
		select {
		case c.pongs <- data:
		default:
		}
		return c.alive()
	})
	ws.SetCloseHandler(func(int, string) error {
		c.remoteClosed.Store(true)
		c.close(closeNormal, "")
		return nil
	})
	go c.write()
	return c, nil
}

// offersSubprotocol reports whether the client asked for our subprotocol.
func offersSubprotocol(r *http.Request) bool {
	return slices.Contains(websocket.Subprotocols(r), Subprotocol)
}

func (c *conn) remote() string { return c.ws.RemoteAddr().String() }

// send queues a message. It never blocks: when the queue is full the socket is
// cut and send reports false.
func (c *conn) send(data []byte) bool {
	select {
	case c.queue <- data:
		return true
	default:
		c.cut()
		return false
	}
}

// close begins the close handshake after what is queued. It does not wait.
func (c *conn) close(code int, reason string) {
	select {
	case c.closing <- closeFrame{code, reason}:
	default:
	}
}

// cut ends the connection at once, without a close frame.
func (c *conn) cut() {
	// Its error says that the socket is closed already.
	_ = c.ws.Close()
}

// alive renews the deadline, once the client has said who it is.
func (c *conn) alive() error {
	if !c.greeted {
		return nil
	}
	return c.extend(c.timing.PongTimeout)
}

// extend gives the client d from now to be heard of.
func (c *conn) extend(d time.Duration) error {
	return c.ws.SetReadDeadline(time.Now().Add(d))
}

// read returns the next message. The first must come within Timing.Hello, after
// it a message or a pong within Timing.PongTimeout. After errTooBig and
// errBinary the socket may still be written to; after any other error it is
// dead.
func (c *conn) read() ([]byte, error) {
	timeout := c.timing.PongTimeout
	if !c.greeted {
		timeout = c.timing.Hello
	}
	if err := c.extend(timeout); err != nil {
		return nil, err
	}
	kind, r, err := c.ws.NextReader()
	if err != nil {
		return nil, err
	}
	if kind != websocket.TextMessage {
		return nil, errBinary
	}
	data, err := io.ReadAll(io.LimitReader(r, int64(c.maxMessage)+1))
	if err != nil {
		return nil, err
	}
	if len(data) > c.maxMessage {
		return nil, errTooBig
	}
	c.greeted = true
	return data, nil
}

// pageClosed reports whether the error that ended the reading was the goodbye
// of a page that is closed or reloaded (RFC 6455, section 7.4.1).
func pageClosed(err error) bool { return websocket.IsCloseError(err, websocket.CloseGoingAway) }

// finishReading lets the client finish the close handshake, throws away what
// it still sends, and returns when the socket is closed and the writer gone.
func (c *conn) finishReading(after error) {
	if errors.Is(after, errTooBig) || errors.Is(after, errBinary) || after == nil {
		// Unread bytes would make the kernel reset the connection, and the
		// close frame would be lost.
		c.ws.SetPongHandler(nil)
		c.ws.SetPingHandler(func(string) error { return nil })
		for err := c.extend(c.timing.CloseWait); err == nil; {
			_, _, err = c.ws.NextReader()
		}
	}
	c.readerOnce.Do(func() { close(c.readerDone) })
	<-c.writerDone
}

// write is the writer: it owns every write to the socket and closes it.
func (c *conn) write() {
	defer close(c.writerDone)
	defer c.cut()
	ping := time.NewTicker(c.timing.PingInterval)
	defer ping.Stop()
	for {
		var err error
		select {
		case data := <-c.queue:
			err = c.writeText(data)
		case data := <-c.pongs:
			err = c.writeControl(websocket.PongMessage, []byte(data))
		case <-ping.C:
			err = c.writeControl(websocket.PingMessage, nil)
		case f := <-c.closing:
			c.writeClose(f)
			return
		case <-c.readerDone:
			select {
			case f := <-c.closing: // the client has closed: echo it
				c.writeClose(f)
			default:
			}
			return
		}
		if err != nil {
			return
		}
	}
}

// writeClose sends what is queued, then the close frame, and waits for the
// client's half of the handshake (RFC 6455, section 7.1.1).
func (c *conn) writeClose(f closeFrame) {
	for len(c.queue) > 0 {
		if err := c.writeText(<-c.queue); err != nil {
			return
		}
	}
	if err := c.writeControl(websocket.CloseMessage, websocket.FormatCloseMessage(f.code, f.reason)); err != nil {
		return
	}
	if c.remoteClosed.Load() {
		return
	}
	wait := time.NewTimer(c.timing.CloseWait)
	defer wait.Stop()
	select {
	case <-c.readerDone:
	case <-wait.C:
	}
}

func (c *conn) writeText(data []byte) error {
	if err := c.ws.SetWriteDeadline(time.Now().Add(c.timing.Write)); err != nil {
		return err
	}
	return c.ws.WriteMessage(websocket.TextMessage, data)
}

func (c *conn) writeControl(kind int, data []byte) error {
	return c.ws.WriteControl(kind, data, time.Now().Add(c.timing.Write))
}
