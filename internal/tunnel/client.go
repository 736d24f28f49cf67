package tunnel

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// DialConfig says which tunnel to open. URL and Open are required.
type DialConfig struct {
	URL   string // of the server: http://host:port
	Open  Open   // with session and secret of the welcome message
	Proxy func(*http.Request) (*url.URL, error)
	TLS   *tls.Config
	// OnFrame gets every frame of the server, OnKeyframe its requests for one.
	// Both are called from the goroutine that reads, and may be nil. The payload
	// may be kept.
	OnFrame    func(Frame)
	OnKeyframe func(mid string)
}

// Client is a client of GET /ws/media, as the page is one. Send, Keyframe and
// Want may be called from any goroutine.
type Client struct {
	cfg   DialConfig
	ws    *websocket.Conn
	lines chan Lines // capacity 1: the answer to open or Want
	done  chan struct{}

	mu     sync.Mutex // of writing, and of what follows
	came   uint64
	told   time.Time
	flight flight
	err    error
}

// Dial opens a tunnel and returns its m-lines. ctx counts until then; Close
// ends the tunnel's socket.
func Dial(ctx context.Context, cfg DialConfig) (*Client, Lines, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil {
		return nil, Lines{}, fmt.Errorf("parse URL of the server: %w", err)
	}
	u.Scheme = strings.Replace(u.Scheme, "http", "ws", 1)
	u.Path = "/ws/media"
	dialer := websocket.Dialer{
		Subprotocols: []string{Subprotocol}, HandshakeTimeout: helloTimeout, Proxy: cfg.Proxy, TLSClientConfig: cfg.TLS,
	}
	ws, response, err := dialer.DialContext(ctx, u.String(), nil)
	if err != nil {
		if response != nil {
			return nil, Lines{}, fmt.Errorf("open media socket: %w (%s)", err, response.Status)
		}
		return nil, Lines{}, fmt.Errorf("open media socket: %w", err)
	}
	ws.SetReadLimit(maxMessage)
	keepShort(ws.NetConn())
	c := &Client{cfg: cfg, ws: ws, lines: make(chan Lines, 1), done: make(chan struct{})}
	go c.read()
	lines, err := c.request(ctx, "open", cfg.Open)
	if err != nil {
		c.Close()
	}
	return c, lines, err
}

// Want asks for m-lines and returns all there are.
func (c *Client) Want(ctx context.Context, w Wanted) (Lines, error) {
	return c.request(ctx, "lines", w)
}

func (c *Client) request(ctx context.Context, kind string, body any) (Lines, error) {
	if err := c.text(kind, body); err != nil {
		return Lines{}, err
	}
	select {
	case lines := <-c.lines:
		return lines, nil
	case <-c.done:
		return Lines{}, fmt.Errorf("%s: %w", kind, c.Err())
	case <-ctx.Done():
		return Lines{}, fmt.Errorf("%s: %w", kind, ctx.Err())
	}
}

// Send sends a frame. It blocks while the socket takes no more.
func (c *Client) Send(f Frame) error {
	raw := f.AppendTo(nil)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flight.add(len(raw), time.Now())
	return c.write(websocket.BinaryMessage, raw)
}

// Flight is how long the oldest frame that may not have arrived is on its way.
func (c *Client) Flight() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.flight.age(time.Now())
}

// Keyframe asks for a keyframe of an m-line.
func (c *Client) Keyframe(mid string) error { return c.text("keyframe", Keyframe{MID: mid}) }

// Done is closed when the socket has ended; Err then says why.
func (c *Client) Done() <-chan struct{} { return c.done }

// Err is why the socket ended: a *Refused if the server said so.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Close closes the socket and waits for its reader.
func (c *Client) Close() {
	_ = c.ws.Close() // it may be closed already
	<-c.done
}

func (c *Client) text(kind string, body any) error {
	raw, err := encode(kind, body)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.write(websocket.TextMessage, raw)
}

// write writes a message; mu is held.
func (c *Client) write(kind int, raw []byte) error {
	if err := c.ws.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return fmt.Errorf("write media socket: %w", err)
	}
	if err := c.ws.WriteMessage(kind, raw); err != nil {
		return fmt.Errorf("write media socket: %w", err)
	}
	return nil
}

// read reads the socket to its end.
func (c *Client) read() {
	defer close(c.done)
	for {
		kind, raw, err := c.ws.ReadMessage()
		if err == nil && kind == websocket.BinaryMessage {
			err = c.frame(raw)
		} else if err == nil {
			err = c.message(raw)
		}
		if err != nil {
			c.mu.Lock()
			c.err = err
			c.mu.Unlock()
			_ = c.ws.Close() // as in Close
			return
		}
	}
}

// frame takes a frame, and tells the server now and then what has come.
func (c *Client) frame(raw []byte) error {
	f, err := ParseFrame(raw)
	if err != nil {
		return err
	}
	if c.cfg.OnFrame != nil {
		c.cfg.OnFrame(f)
	}
	c.mu.Lock()
	c.came += uint64(len(raw))
	came, tell := c.came, time.Since(c.told) >= receivedEvery
	if tell {
		c.told = time.Now()
	}
	c.mu.Unlock()
	if !tell {
		return nil
	}
	return c.text("received", Received{Bytes: came})
}

// message takes a text message.
func (c *Client) message(raw []byte) error {
	var m Message
	if err := json.Unmarshal(raw, &m); err != nil {
		return fmt.Errorf("decode message: %w", err)
	}
	switch m.Type {
	case "lines":
		var lines Lines
		if err := json.Unmarshal(m.Body, &lines); err != nil {
			return fmt.Errorf("decode lines: %w", err)
		}
		select {
		case c.lines <- lines:
		case <-time.After(writeTimeout): // nobody asked
		}
	case "keyframe":
		var k Keyframe
		if err := json.Unmarshal(m.Body, &k); err != nil {
			return fmt.Errorf("decode keyframe: %w", err)
		}
		if c.cfg.OnKeyframe != nil {
			c.cfg.OnKeyframe(k.MID)
		}
	case "received":
		var r Received
		if err := json.Unmarshal(m.Body, &r); err != nil {
			return fmt.Errorf("decode received: %w", err)
		}
		c.mu.Lock()
		c.flight.received(r.Bytes)
		c.mu.Unlock()
	case "error":
		refused := &Refused{}
		if err := json.Unmarshal(m.Body, &refused.Refusal); err != nil {
			return fmt.Errorf("decode error: %w", err)
		}
		return refused
	}
	return nil
}
