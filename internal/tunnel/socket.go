package tunnel

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// Timing of a socket.
const (
	helloTimeout   = 10 * time.Second // to the first message
	silenceTimeout = 30 * time.Second // without a message or a pong: dead
	pingEvery      = 10 * time.Second
	writeTimeout   = 10 * time.Second
	closeWait      = 2 * time.Second
	receivedEvery  = 100 * time.Millisecond // between two messages "received"
	writerTick     = 50 * time.Millisecond
	// maxFlight is how long frames may be on their way: beyond it no pictures
	// are sent, so that sound is not behind them.
	maxFlight = 600 * time.Millisecond
)

// Close codes: of RFC 6455, section 7.4, and one of our own, as on GET /ws.
const (
	closeNormal    = websocket.CloseNormalClosure
	closePolicy    = websocket.ClosePolicyViolation
	closeTakenOver = 4001
)

// maxControls is how many text messages may wait for the socket; more are
// dropped, as they are repeated (keyframe) or the socket is dead (lines).
const maxControls = 64

// socket is one WebSocket of a page. One goroutine reads, one writes, any may
// call the rest.
type socket struct {
	ws       *websocket.Conn
	controls chan []byte   // text messages; written by send, read by write
	closing  chan closing  // capacity 1: the first wins
	done     chan struct{} // closed by finish
	once     sync.Once
	came     atomic.Uint64 // bytes of frame messages read
	mu       sync.Mutex
	flight   flight
}

type closing struct {
	code   int
	reason string
}

func newSocket(ws *websocket.Conn) *socket {
	ws.SetReadLimit(maxMessage)
	keepShort(ws.NetConn())
	return &socket{
		ws: ws, controls: make(chan []byte, maxControls), closing: make(chan closing, 1), done: make(chan struct{}),
	}
}

// keepShort has the kernel take no more than it can soon send: what waits,
// waits in queue, where it can be thrown away.
func keepShort(c net.Conn) {
	for {
		inner, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		c = inner.NetConn()
	}
	if tcp, ok := c.(*net.TCPConn); ok {
		limitUnsent(tcp)
	}
}

func (k *socket) remote() string { return k.ws.RemoteAddr().String() }

// greet reads the first message.
func (k *socket) greet() (*Open, error) {
	if err := k.ws.SetReadDeadline(time.Now().Add(helloTimeout)); err != nil {
		return nil, fmt.Errorf("wait for the first message: %w", err)
	}
	kind, raw, err := k.ws.ReadMessage()
	if err != nil {
		return nil, fmt.Errorf("read the first message: %w", err)
	}
	if kind != websocket.TextMessage {
		return nil, badMessage(fmt.Errorf("the first message is not text"))
	}
	body, err := decode(raw)
	if err != nil {
		return nil, badMessage(err)
	}
	open, ok := body.(*Open)
	if !ok {
		return nil, &Refused{Refusal{Code: "unexpected", Message: "the first message is open"}}
	}
	k.ws.SetPongHandler(func(string) error { return k.alive() })
	return open, nil
}

func (k *socket) alive() error { return k.ws.SetReadDeadline(time.Now().Add(silenceTimeout)) }

// read returns the next message.
func (k *socket) read() (binary bool, raw []byte, err error) {
	if err := k.alive(); err != nil {
		return false, nil, fmt.Errorf("read media socket: %w", err)
	}
	kind, raw, err := k.ws.ReadMessage()
	if err != nil {
		return false, nil, fmt.Errorf("read media socket: %w", err)
	}
	if kind == websocket.BinaryMessage {
		k.came.Add(uint64(len(raw)))
		return true, raw, nil
	}
	return false, raw, nil
}

// send queues a text message. It never blocks.
func (k *socket) send(kind string, body any) {
	raw, err := encode(kind, body)
	if err != nil {
		return // our own types can be encoded
	}
	select {
	case k.controls <- raw:
	default:
	}
}

// close begins the end of the socket. It does not wait.
func (k *socket) close(code int, reason string) {
	select {
	case k.closing <- closing{code, reason}:
	default:
	}
}

// refuse says why and closes; the writer is not running.
func (k *socket) refuse(r Refusal) {
	raw, err := encode("error", r)
	if err != nil {
		return // our own types can be encoded
	}
	if k.writeText(raw) != nil {
		return
	}
	k.writeClose(closing{closePolicy, r.Code})
	for err == nil { // unread bytes would make the kernel reset the connection
		_, _, err = k.ws.NextReader()
	}
}

func (k *socket) cut() { _ = k.ws.Close() } // it may be closed already

// finish ends the writer: nothing is read any more.
func (k *socket) finish() { k.once.Do(func() { close(k.done) }) }

// received takes what the page has got.
func (k *socket) received(total uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.flight.received(total)
}

// flows reports whether there is room for pictures on the way to the page.
func (k *socket) flows(now time.Time) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.flight.age(now) < maxFlight
}

func (k *socket) writeText(raw []byte) error {
	if err := k.ws.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return fmt.Errorf("write media socket: %w", err)
	}
	return k.ws.WriteMessage(websocket.TextMessage, raw)
}

// writeFrame sends a frame and notes that it is on its way.
func (k *socket) writeFrame(raw []byte) error {
	now := time.Now()
	k.mu.Lock()
	k.flight.add(len(raw), now)
	k.mu.Unlock()
	if err := k.ws.SetWriteDeadline(now.Add(writeTimeout)); err != nil {
		return fmt.Errorf("write media socket: %w", err)
	}
	return k.ws.WriteMessage(websocket.BinaryMessage, raw)
}

// writeClose says goodbye and gives the page a while to answer (RFC 6455,
// section 7.1.1): its reader ends when it does.
func (k *socket) writeClose(c closing) {
	deadline := time.Now().Add(closeWait)
	if k.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(c.code, c.reason), deadline) == nil {
		_ = k.ws.SetReadDeadline(deadline) // fails when it is closed already
	}
}
