package signaling

import (
	"context"
	"encoding/json"
	"log/slog"
	"time"

	"golang.org/x/time/rate"

	"consilium/internal/media"
	"consilium/sfu"
)

// session is one participant's connection over its sockets. Its loop owns
// everything below the line; other goroutines talk to it through the channels.
type session struct {
	server  *Server
	who     Claims
	consent bool
	id      string
	secret  string // for resume, and for rejoin until he is admitted
	media   Session
	log     *slog.Logger
	limiter *rate.Limiter // of messages; used by the reader of the socket

	notices *noticeQueue    // written by the call's loop
	inputs  chan input      // unbuffered, written by the reader of the socket
	sockets chan attachment // unbuffered, written by the reader of a new socket
	results chan result     // unbuffered, written by the worker
	jobs    chan job        // read by the worker; full: the request is refused
	done    chan struct{}   // closed when the loop is over

	// ---- owned by the loop
	conn     *conn // nil while lost
	lost     *time.Timer
	lostBy   error // what ended the last socket; nil: we did
	ack      *time.Timer
	ackDue   bool
	replay   replayBuffer
	order    inOrder
	replies  replyStore
	clock    clientClock
	offering bool   // an offer is not answered yet
	waiting  bool   // to be admitted
	admitted uint64 // Seq of the message that ended the waiting
	seats    *Seats // the newest, for a snapshot
	last     *Ended // set when the session has ended
}

// input is what the reader of a socket has for the loop: a message, or why
// there will be no more.
type input struct {
	conn *conn
	msg  incoming
	err  error
}

// attachment is a new socket for a session.
type attachment struct {
	conn *conn
	ack  uint64
}

// maxJobs bounds the requests that wait for the worker.
const maxJobs = 64

func newSession(s *Server, who identified, consent bool) *session {
	l := s.cfg.Limits
	return &session{
		server:  s,
		who:     who.Claims,
		consent: consent,
		limiter: rate.NewLimiter(rate.Limit(l.MessageRate), l.MessageBurst),
		notices: newNoticeQueue(),
		inputs:  make(chan input),
		sockets: make(chan attachment),
		results: make(chan result),
		jobs:    make(chan job, maxJobs),
		done:    make(chan struct{}),
		lost:    stoppedTimer(),
		ack:     stoppedTimer(),
		replay:  replayBuffer{maxFrames: l.ReplayMessages, maxBytes: l.ReplayBytes},
	}
}

func stoppedTimer() *time.Timer {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}

// adopt takes over a session of the SFU and makes the secret that belongs to
// it. If it fails, the SFU's session is over.
func (s *session) adopt(m Session) error {
	s.id, s.media, s.waiting = m.ID(), m, m.State() == sfu.Waiting
	secret, err := s.newSecret()
	if err != nil {
		m.Leave(media.EndLost)
		return err
	}
	s.secret = secret
	s.log = s.server.cfg.Log.With("session", s.id, "room", s.who.Person.Room, "identity", s.who.Person.Identity)
	return nil
}

// newSecret makes a secret by which the client comes back as what he is now.
func (s *session) newSecret() (string, error) {
	now := time.Now()
	return s.server.secrets.sign(secretClaims{
		Session:  s.id,
		Person:   s.who.Person,
		Grants:   s.who.Grants,
		Consent:  s.consent,
		Admitted: !s.waiting,
		Issued:   now.Unix(),
		Expires:  now.Add(s.server.cfg.Timing.SecretTTL).Unix(),
	})
}

// start runs the loop; Server.enter has counted it in.
func (s *session) start(c *conn) {
	s.conn = c
	go func() {
		defer s.server.wg.Done()
		s.run()
	}()
}

// attach gives the session a new socket; false if the session is over.
func (s *session) attach(c *conn, ack uint64) bool {
	select {
	case s.sockets <- attachment{c, ack}:
		return true
	case <-s.done:
		return false
	}
}

// read reads a socket of the session until it can't be read any more or the
// session is over (nil).
func (s *session) read(c *conn) error {
	for {
		raw, err := c.read()
		in := input{conn: c, err: err}
		switch {
		case err != nil:
		case !s.limiter.Allow():
			in.err = errFlood
		default:
			in.msg = decode(raw)
		}
		select {
		case s.inputs <- in:
		case <-s.done:
			return nil
		}
		if in.err != nil {
			return err // nil after a flood: what still comes is thrown away
		}
	}
}

// run is the loop.
func (s *session) run() {
	ctx, cancel := context.WithCancel(context.Background())
	workerDone := make(chan struct{})
	go func() {
		defer close(workerDone)
		s.work(ctx)
	}()
	s.welcome()
	for s.last == nil {
		s.step()
	}
	cancel()
	<-workerDone
	s.end()
}

// step handles one thing that happened.
func (s *session) step() {
	select {
	case in := <-s.inputs:
		s.input(in)
	case a := <-s.sockets:
		s.takeSocket(a)
	case <-s.notices.wake:
		s.takeNotices()
	case r := <-s.results:
		s.finish(r)
	case <-s.ack.C:
		s.sendAck()
	case <-s.lost.C:
		s.notBack()
	case <-s.media.Done():
		s.takeNotices()
		if s.last == nil { // it ended without a last word
			s.notify(sfu.NoticeEnded{Reason: media.EndLost})
		}
	case <-s.server.stop.Done():
		s.endByShutdown()
	}
	if s.ackDue && s.last == nil {
		s.ackDue = false
		s.ack.Reset(s.server.cfg.Timing.AckDelay)
	}
}

// end says goodbye to the socket and to the SFU.
func (s *session) end() {
	reason := media.EndReason(s.last.Reason)
	rejoinable := reason == media.EndLost || reason == media.EndReplaced || reason == media.EndShutdown
	s.server.hub.remove(s, rejoinable)
	close(s.done)
	s.lost.Stop()
	s.ack.Stop()
	if s.conn != nil {
		code := closeNormal
		if reason == media.EndShutdown {
			code = closeRestart
		}
		s.conn.close(code, s.last.Reason)
	}
	select {
	case <-s.media.Done():
	default:
		s.media.Leave(reason)
	}
}

// send numbers a message, keeps it for a resume and sends it if it can.
func (s *session) send(kind, re string, body any) {
	raw, err := json.Marshal(body)
	if err != nil {
		s.log.Error("encode message", "type", kind, "err", err)
		return
	}
	s.sendRaw(kind, re, raw)
}

func (s *session) sendRaw(kind, re string, body []byte) {
	data, err := json.Marshal(Envelope{Type: kind, Seq: s.replay.next(), Ack: s.order.last, Re: re, Body: body})
	if err != nil {
		s.log.Error("encode message", "type", kind, "err", err)
		return
	}
	s.ack.Stop() // the message carries it
	s.ackDue = false
	s.replay.add(data)
	s.write(data)
}

// sendUnnumbered sends a message that is outside the numbering.
func (s *session) sendUnnumbered(kind string, ack uint64, body any) {
	raw, err := json.Marshal(body)
	if err != nil {
		s.log.Error("encode message", "type", kind, "err", err)
		return
	}
	data, err := json.Marshal(Envelope{Type: kind, Ack: ack, Body: raw})
	if err != nil {
		s.log.Error("encode message", "type", kind, "err", err)
		return
	}
	s.write(data)
}

func (s *session) sendAck() { s.sendUnnumbered("ack", s.order.last, Empty{}) }

// write gives bytes to the socket, if there is one. A socket that can't take
// them is cut: the client resumes with another.
func (s *session) write(data []byte) {
	if s.conn == nil || s.conn.send(data) {
		return
	}
	s.server.metrics.slow.Add(1)
	s.log.Warn("socket is too slow: cut")
	s.dropSocket()
}
