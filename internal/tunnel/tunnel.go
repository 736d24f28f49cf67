package tunnel

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// offerTimeout bounds one negotiation; it waits for the recorder to be ready.
	offerTimeout = 10 * time.Second
	// hardRate is how many times its rate a page may send before its socket is
	// read more slowly, so that its own TCP holds it back.
	hardRate = 3
)

// tunnel is the media of one session: a peer, and the socket of the page while
// there is one.
type tunnel struct {
	server  *Server
	id      string
	session Session
	peer    *peer
	out     *queue

	negotiating sync.Mutex // held for a negotiation; sockets may change meanwhile

	mu     sync.Mutex
	socket *socket // nil while lost
	lost   *time.Timer
	over   bool
}

func newTunnel(s *Server, id string, session Session) (*tunnel, error) {
	t := &tunnel{server: s, id: id, session: session, out: newQueue(s.drop), lost: time.NewTimer(s.cfg.Resume)}
	conn, err := s.cfg.OpenConn()
	if err != nil {
		return nil, err
	}
	t.peer, err = newPeer(peerConfig{
		Conn: conn, Certificate: s.certificate, Out: t.out, Drop: s.drop, Keyframe: t.askPage,
		Log: s.cfg.Log.With("session", id),
	})
	return t, err
}

// watch ends the tunnel when its session is over, the server stops, or its
// socket does not come back.
func (t *tunnel) watch() {
	select {
	case <-t.session.Done():
	case <-t.server.stop.Done():
	case <-t.lost.C:
	}
	t.server.forget(t)
	t.mu.Lock()
	t.over = true
	k := t.socket
	t.mu.Unlock()
	t.lost.Stop()
	if k != nil {
		k.close(closeNormal, "the session is over")
	}
	t.peer.close()
}

// attach makes a socket that of the tunnel; the one before is closed. False if
// the tunnel is over.
func (t *tunnel) attach(k *socket) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over {
		return false
	}
	if t.socket != nil {
		t.socket.close(closeTakenOver, "the tunnel goes on on another socket")
	}
	t.socket = k
	t.lost.Stop()
	return true
}

// detach says that a socket is gone.
func (t *tunnel) detach(k *socket) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.socket == k && !t.over {
		t.socket = nil
		t.lost.Reset(t.server.cfg.Resume)
	}
}

// askPage asks the page for a keyframe of what it sends.
func (t *tunnel) askPage(mid string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.socket != nil {
		t.socket.send("keyframe", Keyframe{MID: mid})
	}
}

// serve lets a socket carry the tunnel until it ends. The error is a *Refused
// if the page did something wrong.
func (t *tunnel) serve(k *socket, w *Wanted) error {
	if !t.attach(k) {
		return &Refused{Refusal{Code: "session_unknown", Message: "session is over"}}
	}
	defer t.detach(k)
	if err := t.negotiate(k, w); err != nil {
		return err
	}
	t.out.restart(t.peer.videoLines())
	written := make(chan struct{})
	go func() {
		defer close(written)
		k.write(t)
	}()
	err := t.read(k)
	k.finish()
	<-written
	return err
}

// read takes what the page sends.
func (t *tunnel) read(k *socket) error {
	bytes := float64(t.server.cfg.Bitrate) / 8
	soft := rate.NewLimiter(rate.Limit(bytes), int(2*bytes)+maxMessage)
	hard := rate.NewLimiter(rate.Limit(hardRate*bytes), int(hardRate*2*bytes)+maxMessage)
	var broken brokenLines
	for {
		binary, raw, err := k.read()
		if err != nil {
			return err
		}
		if err := hard.WaitN(t.server.stop, len(raw)+64); err != nil {
			return fmt.Errorf("read media socket: %w", err)
		}
		if !binary {
			if err := t.message(k, raw); err != nil {
				return err
			}
			continue
		}
		f, err := ParseFrame(raw)
		if err != nil {
			return badMessage(err)
		}
		t.server.framesIn.Add(1)
		t.server.bytesIn.Add(uint64(len(raw)))
		if !broken.pass(f, soft.AllowN(time.Now(), len(raw))) {
			t.server.drop(dropRate, 1)
			continue
		}
		if err := t.peer.send(f, time.Now()); err != nil {
			return err
		}
	}
}

// brokenLines are the lines of video on which a frame of the page was dropped:
// what follows is of no use up to the next keyframe.
type brokenLines map[uint16]bool

// pass says whether a frame goes on; fits, whether it keeps the rate.
func (b *brokenLines) pass(f Frame, fits bool) bool {
	if f.Codec.Audio() {
		return fits
	}
	if *b == nil {
		*b = brokenLines{}
	}
	if len(*b) > maxSources { // lines that do not exist
		clear(*b)
	}
	if fits && (f.Key || !(*b)[f.Line]) {
		delete(*b, f.Line)
		return true
	}
	(*b)[f.Line] = true
	return false
}

func badMessage(err error) error {
	return &Refused{Refusal{Code: "bad_message", Message: err.Error()}}
}

// message takes a text message of the page.
func (t *tunnel) message(k *socket, raw []byte) error {
	body, err := decode(raw)
	if err != nil {
		return badMessage(err)
	}
	switch b := body.(type) {
	case *Wanted:
		return t.negotiate(k, b)
	case *Keyframe:
		for _, mid := range t.peer.videoLines() {
			if b.MID == fmt.Sprint(mid) {
				t.peer.askKeyframe(mid)
			}
		}
	case *Received:
		k.received(b.Bytes)
		t.out.poke()
	case *Open:
		return &Refused{Refusal{Code: "unexpected", Message: "open is only the first message"}}
	}
	return nil
}

// negotiate adds what is wanted, and tells the page which m-lines there are.
func (t *tunnel) negotiate(k *socket, w *Wanted) error {
	if err := w.check(); err != nil {
		return badMessage(err)
	}
	t.negotiating.Lock()
	defer t.negotiating.Unlock()
	added, err := t.peer.want(w)
	if err == nil && (added || !t.peer.offered) {
		ctx, cancel := context.WithTimeout(t.server.stop, offerTimeout)
		defer cancel()
		err = t.peer.negotiate(ctx, t.session, w)
	}
	if err != nil {
		t.server.cfg.Log.Info("offer of a tunnel failed", "session", t.id, "err", err)
		if !t.peer.offered {
			t.server.forget(t) // the next socket begins anew
			t.lost.Reset(0)
		}
		return &Refused{t.server.cfg.Refuse(err)}
	}
	lines := t.peer.lines()
	lines.Bitrate = t.server.cfg.Bitrate
	k.send("lines", lines)
	return nil
}
