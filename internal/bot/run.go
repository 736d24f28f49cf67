package bot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"consilium/internal/media"
	"consilium/signaling"
)

// ackInterval is the longest an acknowledgement waits.
const ackInterval = 200 * time.Millisecond

// incoming is a message, or the end of a socket.
type incoming struct {
	conn     *websocket.Conn
	envelope signaling.Envelope
	err      error
}

// loop is what Run owns while it runs.
type loop struct {
	*Bot
	ctx   context.Context
	wg    sync.WaitGroup
	inbox chan incoming
}

// Run joins, publishes and stays until Leave, the server's "ended" or the end
// of ctx, and then returns nil. Every goroutine has ended by then. It may be
// called once.
func (b *Bot) Run(ctx context.Context) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	b.mu.Lock()
	b.stop = cancel
	b.mu.Unlock()
	l := &loop{Bot: b, ctx: ctx, inbox: make(chan incoming, 64)}
	defer func() {
		cancel()
		b.link.close()
		b.mu.Lock()
		peer := b.peer
		b.mu.Unlock()
		if peer != nil {
			peer.close()
		}
		if b.cfg.Socket != nil {
			_ = b.cfg.Socket.Close() // closed with the mux already, as a rule
		}
		l.wg.Wait()
		b.mu.Lock()
		b.err = err
		b.mu.Unlock()
		close(b.done)
	}()
	if err := l.join(); err != nil {
		return fmt.Errorf("join: %w", err)
	}
	return l.serve()
}

// join opens the first socket and the PeerConnection.
func (l *loop) join() error {
	reply, err := l.link.open(l.ctx, "hello", signaling.Hello{
		Token: l.cfg.Token, Rejoin: l.cfg.Rejoin, Consent: l.cfg.Consent,
		Client: signaling.ClientInfo{UserAgent: "consilium-bot", Lang: "en"},
	})
	if err != nil {
		return err
	}
	var welcome signaling.Welcome
	if err := json.Unmarshal(reply.Body, &welcome); err != nil || reply.Type != "welcome" {
		return fmt.Errorf("hello was answered by %q: %w", reply.Type, err)
	}
	peer, err := newPeer(l.cfg, welcome.ICEServers, l.onState)
	if err != nil {
		return err
	}
	peer.pc.OnICECandidate(l.trickle)
	l.mu.Lock()
	l.welcome, l.peer = welcome, peer
	l.mu.Unlock()
	l.read()
	if welcome.State != "waiting" {
		return l.publish()
	}
	return nil
}

// publish makes the first offer.
func (l *loop) publish() error {
	for _, source := range []media.Source{media.Microphone, media.Camera, media.Screen} {
		if l.publishes(source) {
			if err := l.addSender(source); err != nil {
				return err
			}
		}
	}
	if err := l.peer.addSeats(l.cfg.Persons, l.cfg.Screens); err != nil {
		return err
	}
	return l.negotiate()
}

// read starts the reader of the current socket.
func (l *loop) read() {
	conn := l.link.conn
	l.wg.Go(func() {
		for {
			var in incoming
			in.conn = conn
			in.err = conn.ReadJSON(&in.envelope)
			select {
			case l.inbox <- in:
			case <-l.ctx.Done():
				return
			}
			if in.err != nil {
				return
			}
		}
	})
}

// serve is the loop.
func (l *loop) serve() error {
	ack := time.NewTicker(ackInterval)
	defer ack.Stop()
	interval := time.Duration(l.welcome.Limits.ReportInterval * float64(time.Second))
	if interval <= 0 {
		interval = 2 * time.Second
	}
	report := time.NewTicker(interval)
	defer report.Stop()
	for {
		var err error
		select {
		case <-l.ctx.Done():
			return nil
		case in := <-l.inbox:
			err = l.take(in)
		case f := <-l.commands:
			f()
		case <-ack.C:
			l.link.acknowledge()
		case <-report.C:
			err = l.link.send("report", "", l.report())
		}
		if err == nil {
			err = l.failed
		}
		if errors.Is(err, errOver) || err != nil && l.ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

var errOver = errors.New("the server ended the session")

// take handles a message, or resumes after the end of a socket.
func (l *loop) take(in incoming) error {
	if in.conn != l.link.conn {
		return nil // of a socket that is gone
	}
	if in.err != nil {
		l.link.close()
		l.log.Debug("socket lost", "error", in.err)
		return l.resume()
	}
	fresh, err := l.link.accept(in.envelope)
	if err != nil || !fresh {
		return err
	}
	if in.envelope.Re != "" {
		l.link.reply(in.envelope)
		return nil
	}
	return l.dispatch(in.envelope)
}

// resume opens sockets until one takes up the session. Commands wait.
func (l *loop) resume() error {
	deadline := time.Now().Add(time.Minute)
	for {
		reply, err := l.link.open(l.ctx, "resume", signaling.Resume{
			Session: l.welcome.Session, Secret: l.welcome.Secret, Ack: l.link.in,
		})
		var refusal *Error
		if errors.As(err, &refusal) {
			return fmt.Errorf("resume: %w", err)
		}
		if err == nil {
			return l.resumedWith(reply)
		}
		l.link.close()
		if time.Now().After(deadline) {
			return fmt.Errorf("resume: %w", err)
		}
		select {
		case <-time.After(backOff):
		case <-l.ctx.Done():
			return nil
		}
	}
}

func (l *loop) resumedWith(reply signaling.Envelope) error {
	var resumed signaling.Resumed
	if err := json.Unmarshal(reply.Body, &resumed); err != nil || reply.Type != "resumed" {
		return fmt.Errorf("resume was answered by %q: %w", reply.Type, err)
	}
	l.mu.Lock()
	l.resumes++
	if resumed.Snapshot {
		l.snapshots++
	}
	l.mu.Unlock()
	l.read()
	return l.link.resumed(resumed.Ack)
}

// dispatch applies a message that is no reply. Unknown ones are ignored, as
// the protocol asks of a client.
func (l *loop) dispatch(e signaling.Envelope) error {
	l.log.Debug("message", "type", e.Type, "seq", e.Seq, "body", string(e.Body))
	switch e.Type {
	case "admitted":
		return l.publish()
	case "seats":
		return l.takeSeats(e)
	case "error":
		return replyError("session", e)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	var err error
	switch e.Type {
	case "state":
		l.state = signaling.State{}
		err = json.Unmarshal(e.Body, &l.state)
	case "participant":
		var p signaling.Participant
		err = json.Unmarshal(e.Body, &p)
		l.upsert(p)
	case "participant_left":
		var left signaling.ParticipantLeft
		err = json.Unmarshal(e.Body, &left)
		l.remove(left.Identity)
	case "recording":
		err = json.Unmarshal(e.Body, &l.state.Recording)
	case "event":
		var event signaling.EventBody
		err = json.Unmarshal(e.Body, &event)
		l.events = append(l.events, event)
	case "muted":
		var muted signaling.Muted
		err = json.Unmarshal(e.Body, &muted)
		if s := l.peer.sender(media.Source(muted.Source)); s != nil {
			s.pause(true)
		}
	case "ended":
		l.ended = &signaling.Ended{}
		if err = json.Unmarshal(e.Body, l.ended); err == nil {
			err = errOver
		}
	}
	if err != nil && !errors.Is(err, errOver) {
		return fmt.Errorf("decode %s: %w", e.Type, err)
	}
	return err
}

func (l *loop) takeSeats(e signaling.Envelope) error {
	var seats signaling.Seats
	if err := json.Unmarshal(e.Body, &seats); err != nil {
		return fmt.Errorf("decode seats: %w", err)
	}
	l.mu.Lock()
	l.seats = seats
	l.mu.Unlock()
	for _, seat := range seats.Seats {
		l.peer.assign(seat.Audio, seat.AudioTrack)
		l.peer.assign(seat.Video, seat.VideoTrack)
	}
	return l.addMissing()
}

func (b *Bot) upsert(p signaling.Participant) {
	for i, old := range b.state.Participants {
		if old.Identity == p.Identity {
			b.state.Participants[i] = p
			return
		}
	}
	b.state.Participants = append(b.state.Participants, p)
}

func (b *Bot) remove(identity string) {
	for i, p := range b.state.Participants {
		if p.Identity == identity {
			b.state.Participants = append(b.state.Participants[:i:i], b.state.Participants[i+1:]...)
			return
		}
	}
}
