package browser

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
)

// wire carries whole JSON messages to and from a browser.
type wire interface {
	read() ([]byte, error)
	write([]byte) error
	close() error
}

// rpc is the request and response protocol that the Chrome DevTools Protocol
// and WebDriver BiDi share, but for the shape of errors. One goroutine reads;
// close waits for it.
type rpc struct {
	wire    wire
	onEvent func(method, session string, params json.RawMessage)

	mu      sync.Mutex
	id      int
	waiting map[int]chan message
	err     error
	done    chan struct{}
}

type message struct {
	ID      int             `json:"id"`
	Method  string          `json:"method"`
	Session string          `json:"sessionId"`
	Params  json.RawMessage `json:"params"`
	Result  json.RawMessage `json:"result"`
	// CDP has an object here, BiDi a string and a message beside it.
	Error   json.RawMessage `json:"error"`
	Message string          `json:"message"`
}

var errGone = errors.New("browser is gone")

func newRPC(w wire, onEvent func(method, session string, params json.RawMessage)) *rpc {
	r := &rpc{wire: w, onEvent: onEvent, waiting: map[int]chan message{}, done: make(chan struct{})}
	go r.run()
	return r
}

func (r *rpc) run() {
	defer close(r.done)
	for {
		data, err := r.wire.read()
		if err != nil {
			r.mu.Lock()
			r.err = err
			r.mu.Unlock()
			return
		}
		var m message
		if err := json.Unmarshal(data, &m); err != nil {
			continue // not for us: the protocols allow no such thing
		}
		if m.ID == 0 {
			r.onEvent(m.Method, m.Session, m.Params)
			continue
		}
		r.mu.Lock()
		reply := r.waiting[m.ID]
		delete(r.waiting, m.ID)
		r.mu.Unlock()
		if reply != nil {
			reply <- m
		}
	}
}

// call sends a request and decodes its result into out, unless that is nil.
func (r *rpc) call(ctx context.Context, session, method string, params, out any) error {
	reply := make(chan message, 1)
	r.mu.Lock()
	r.id++
	id := r.id
	r.waiting[id] = reply
	r.mu.Unlock()
	request := map[string]any{"id": id, "method": method, "params": params}
	if session != "" {
		request["sessionId"] = session
	}
	data, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("encode %s: %w", method, err)
	}
	if err := r.wire.write(data); err != nil {
		return fmt.Errorf("send %s: %w", method, err)
	}
	select {
	case m := <-reply:
		if len(m.Error) > 0 {
			return fmt.Errorf("%s: %s", method, strings.TrimSpace(string(bytes.Trim(m.Error, `"`))+" "+m.Message))
		}
		if out == nil {
			return nil
		}
		if err := json.Unmarshal(m.Result, out); err != nil {
			return fmt.Errorf("decode result of %s: %w", method, err)
		}
		return nil
	case <-r.done:
		return fmt.Errorf("%s: %w", method, errGone)
	case <-ctx.Done():
		r.mu.Lock()
		delete(r.waiting, id)
		r.mu.Unlock()
		return fmt.Errorf("%s: %w", method, ctx.Err())
	}
}

func (r *rpc) close() {
	_ = r.wire.close() // the browser is going anyway
	<-r.done
}
