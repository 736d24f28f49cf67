package tunnel

import (
	"errors"
	"fmt"
	"time"

	"github.com/gorilla/websocket"
)

var errFinished = errors.New("media socket is finished")

// writer is the one goroutine that writes to a socket.
type writer struct {
	*socket
	tunnel *tunnel
	more   chan struct{} // closed: a frame was written, there may be another

	pinged time.Time
	told   uint64 // bytes, in the last "received"
	toldAt time.Time
	buf    []byte
}

// write sends what the tunnel has for the page until the socket is finished.
func (k *socket) write(t *tunnel) {
	w := writer{socket: k, tunnel: t, more: make(chan struct{}), pinged: time.Now()}
	close(w.more)
	tick := time.NewTicker(writerTick)
	defer tick.Stop()
	for {
		if err := w.step(tick.C); err != nil {
			if !errors.Is(err, errFinished) {
				k.cut() // ends the reader too
			}
			return
		}
	}
}

// step writes at most one message, or waits for something to write.
func (w *writer) step(tick <-chan time.Time) error {
	if err := w.due(time.Now()); err != nil {
		return err
	}
	wrote, err := w.frame(time.Now())
	if err != nil {
		return err
	}
	var more <-chan struct{}
	if wrote {
		more = w.more
	}
	select {
	case raw := <-w.controls:
		return w.writeText(raw)
	case c := <-w.closing:
		w.writeClose(c)
		<-w.done // the page has answered, or not in time
		return errFinished
	case <-w.done:
		return errFinished
	case <-more:
	case <-w.tunnel.out.ready:
	case <-tick:
	}
	return nil
}

// due does what is done from time to time.
func (w *writer) due(now time.Time) error {
	if came := w.came.Load(); came != w.told && now.Sub(w.toldAt) >= receivedEvery {
		w.told, w.toldAt = came, now
		raw, err := encode("received", Received{Bytes: came})
		if err != nil {
			return err
		}
		if err := w.writeText(raw); err != nil {
			return err
		}
	}
	if now.Sub(w.pinged) >= pingEvery {
		w.pinged = now
		if err := w.ws.WriteControl(websocket.PingMessage, nil, now.Add(writeTimeout)); err != nil {
			return fmt.Errorf("ping media socket: %w", err)
		}
	}
	if w.flows(now) {
		for _, line := range w.tunnel.out.waiting() {
			w.tunnel.peer.askKeyframe(line)
		}
	}
	return nil
}

// frame writes the next frame, if there is one and room for it.
func (w *writer) frame(now time.Time) (bool, error) {
	f, ok := w.tunnel.out.take(now, w.flows(now))
	if !ok {
		return false, nil
	}
	w.buf = f.AppendTo(w.buf[:0])
	w.tunnel.server.framesOut.Add(1)
	w.tunnel.server.bytesOut.Add(uint64(len(w.buf)))
	return true, w.writeFrame(w.buf)
}
