package signaling

import (
	"errors"
	"time"

	"consilium/internal/event"
	"consilium/internal/media"
	"consilium/sfu"
)

// welcome answers hello on the first socket.
func (s *session) welcome() {
	cfg := &s.server.cfg
	call := s.media.Call()
	state := sfu.Joined
	if s.waiting {
		state = sfu.Waiting
	}
	grants := s.who.Grants
	if grants == nil {
		grants = []string{}
	}
	s.sendUnnumbered("welcome", 0, Welcome{
		Session:    s.id,
		Secret:     s.secret,
		Call:       call.ID,
		Room:       s.who.Person.Room,
		Identity:   s.who.Person.Identity,
		Name:       s.who.Person.Name,
		Role:       s.who.Person.Role,
		Grants:     grants,
		State:      string(state),
		Recording:  cfg.Recording,
		ICEServers: s.iceServers(),
		Limits: Limits{
			MessageBytes:   cfg.Limits.MessageBytes,
			MediaTimeout:   cfg.Timing.MediaTimeout.Seconds(),
			ResumeWindow:   cfg.Timing.ResumeWindow.Seconds(),
			RelayRestart:   cfg.Timing.RelayRestart.Seconds(),
			ReportInterval: cfg.Timing.ReportInterval.Seconds(),
			TunnelAfter:    cfg.Timing.TunnelAfter.Seconds(),
		},
		Time: toMillis(time.Now()),
	})
}

func (s *session) iceServers() []ICEServer {
	servers := s.server.cfg.ICEServers(s.id, s.who.Person.Identity)
	if servers == nil {
		return []ICEServer{}
	}
	return servers
}

// takeSocket goes on on a new socket: what the client has not got is sent
// again or, if that is gone, the whole picture.
func (s *session) takeSocket(a attachment) {
	if a.ack > s.replay.last {
		s.server.refuse(a.conn, "", failure{code: codeSequence, text: "ack is higher than anything that was sent"}, closePolicy)
		return
	}
	if s.conn != nil {
		s.conn.close(closeTakenOver, "the session goes on on another socket")
	} else {
		s.lost.Stop()
		s.media.SocketBack()
	}
	s.conn, s.lostBy = a.conn, nil
	s.server.metrics.resumes.Add(1)
	missed, complete := s.replay.after(a.ack)
	s.sendUnnumbered("resumed", 0, Resumed{
		Ack: s.order.last, Snapshot: !complete, ICEServers: s.iceServers(),
	})
	if !complete {
		s.resumeWithSnapshot(a.ack)
		return
	}
	s.replay.ack(a.ack)
	for _, f := range missed {
		s.write(f.data)
	}
}

// resumeWithSnapshot forgets what the client has missed after ack, and sends
// what it needs instead: the whole picture and the replies it waits for.
func (s *session) resumeWithSnapshot(ack uint64) {
	missed := s.replies.after(ack)
	readmit := s.admitted > ack
	s.replay.restart(ack)
	if readmit {
		s.admit()
	}
	s.snapshot()
	for _, id := range missed {
		s.sendReply(id, s.replies.replies[id])
	}
}

// snapshot sends the whole picture. Who still waits to be admitted has nothing
// to see.
func (s *session) snapshot() {
	s.server.metrics.snapshots.Add(1)
	if s.waiting {
		return
	}
	s.send("state", "", s.stateBody(s.media.Call()))
	if s.seats != nil {
		s.send("seats", "", *s.seats)
	}
}

// notBack ends a session whose client did not open another socket in time. A
// page that was closed says so in its close frame: that is no failure.
func (s *session) notBack() {
	window := s.server.cfg.Timing.ResumeWindow
	s.log.Info("client did not come back", "after", window)
	if !pageClosed(s.lostBy) {
		reason := "cut by the server"
		if s.lostBy != nil {
			reason = s.lostBy.Error()
		}
		s.media.Fail(event.Failure{Code: event.SignalLost, Stage: event.StageSocket, Evidence: map[string]any{
			"reason": reason, "waited_ms": window.Milliseconds(),
		}})
	}
	s.last = &Ended{Reason: string(media.EndLost)}
}

// socketFailed handles the end of the socket, or what must end it.
func (s *session) socketFailed(err error) {
	s.lostBy = err
	switch {
	case errors.Is(err, errTooBig):
		s.send("error", "", failure{code: codeTooBig, text: err.Error()}.body(false))
		s.closeSocket(closeTooBig, codeTooBig)
	case errors.Is(err, errBinary):
		s.send("error", "", failure{code: codeBadMessage, text: err.Error()}.body(false))
		s.closeSocket(closeUnsupported, codeBadMessage)
	case errors.Is(err, errFlood):
		s.server.metrics.floods.Add(1)
		s.log.Warn("client sends too many messages: socket closed")
		s.send("error", "", failure{code: codeRateLimited, text: err.Error(), retry: time.Second}.body(false))
		s.closeSocket(closePolicy, codeRateLimited)
	default:
		s.log.Debug("socket lost", "err", err)
		s.dropSocket()
	}
}

// closeSocket closes the socket politely; the session waits for another.
func (s *session) closeSocket(code int, reason string) {
	if s.conn != nil { // send may have cut it
		s.conn.close(code, reason)
	}
	s.dropSocket()
}

// dropSocket starts the wait for another socket.
func (s *session) dropSocket() {
	if s.conn == nil {
		return
	}
	s.conn = nil
	s.lost.Reset(s.server.cfg.Timing.ResumeWindow)
	s.media.SocketLost()
}
