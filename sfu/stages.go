package sfu

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/webrtc/v4"

	"consilium/internal/event"
	"consilium/internal/media"
)

// stages is how far a session has come on its way to media. Owned by the
// call's loop.
type stages struct {
	answered   time.Time // first answer
	ice        webrtc.ICEConnectionState
	dtls       webrtc.DTLSTransportState
	iceAt      time.Time // first connected
	dtlsAt     time.Time
	candidates []string      // offered by the client, in SDP and trickled; the first of them
	cause      event.Failure // the first cause the client named
	failed     bool          // participant.failed was emitted
	inTimedOut bool          // media.timeout, direction in, for want of a connection
	udp        udpWatch
}

// connected reports whether media could ever flow.
func (s *stages) connected() bool { return !s.dtlsAt.IsZero() }

// watch looks at the clocks of the session.
func (x *Session) watch(now time.Time) {
	for _, t := range x.published {
		t.watch(now)
	}
	for _, s := range x.seats {
		s.watch(x, now)
	}
	x.watchUDP(now)
	st := &x.stages
	switch {
	case st.connected() && st.inTimedOut:
		st.inTimedOut = false
		x.tellSelf(event.Event{Type: event.MediaResumed, Data: map[string]any{"direction": string(event.In)}})
	case st.answered.IsZero(), st.connected(), st.inTimedOut:
	case slices.ContainsFunc(x.published, func(t *track) bool { return !t.muted }): // its clock tells
	case now.Sub(st.answered) >= x.patience():
		st.inTimedOut = true
		f := x.failure(event.In)
		x.failed(f)
		x.tellSelf(event.Event{Type: event.MediaTimeout, Failure: f,
			Data: map[string]any{"waited_ms": now.Sub(st.answered).Milliseconds()}})
	}
}

// patience is how long after the answer the first packet may take. Who is not
// connected is judged a twentieth earlier, at 9.5 s of 10, so that the verdict
// has reached everybody when the time is over.
func (x *Session) patience() time.Duration {
	limit := x.c.s.cfg.Media.Timeout
	if !x.stages.connected() {
		limit -= limit / 20
	}
	return limit
}

// failure says how far the session came and what is missing: the first cause
// wins, and what the client saw itself is a cause before anything we infer.
func (x *Session) failure(d event.Direction) event.Failure {
	st := &x.stages
	f := event.Failure{Direction: d}
	switch {
	case st.iceAt.IsZero():
		f.Stage, f.Code = event.StageICE, event.NoRoute
		if len(st.candidates) == 0 {
			f.Code = event.NoCandidates
		}
	case st.dtlsAt.IsZero():
		f.Stage, f.Code = event.StageDTLS, event.DTLSFailed
	case d == event.Out:
		f.Stage, f.Code = event.StageFirstRTP, event.NoMediaOut
	default:
		f.Stage, f.Code = event.StageFirstFrame, event.NoMediaIn
	}
	if !st.connected() && st.cause.Code != "" {
		f.Code, f.Stage = st.cause.Code, st.cause.Stage
	}
	f.Evidence = map[string]any{
		"ice": st.ice.String(), "dtls": st.dtls.String(), "candidates_offered": len(st.candidates),
	}
	maps.Copy(f.Evidence, st.cause.Evidence)
	return f
}

// named takes the client's word for why it does not connect. The first counts,
// and is told at once: the client waits as long as there is hope. What it says
// of its devices is no reason to have no connection.
func (x *Session) named(f event.Failure) {
	st := &x.stages
	onTheWay := f.Stage == event.StageNegotiate || f.Stage == event.StageICE || f.Stage == event.StageDTLS
	if f.Code == "" || !onTheWay || st.cause.Code != "" || st.connected() {
		return
	}
	st.cause = f
	x.giveUp()
}

// giveUp says that there will be no connection, before the clock does.
func (x *Session) giveUp() {
	if x.stages.answered.IsZero() {
		return
	}
	d := event.In
	if slices.ContainsFunc(x.published, func(t *track) bool { return !t.muted }) {
		d = event.Out
	}
	x.failed(x.failure(d))
}

// failed emits participant.failed once, for a session that never connected.
func (x *Session) failed(f event.Failure) {
	if x.stages.failed || x.stages.connected() {
		return
	}
	x.stages.failed = true
	f.Evidence = maps.Clone(f.Evidence)
	x.tellCall(event.Event{Type: event.ParticipantFailed, Failure: f, Data: map[string]any{}})
}

// iceChanged and dtlsChanged take the states of the PeerConnection; they run in
// the loop.
func (x *Session) iceChanged(s webrtc.ICEConnectionState) {
	st := &x.stages
	st.ice = s
	x.noteState("ice", s.String())
	if s == webrtc.ICEConnectionStateConnected && st.iceAt.IsZero() {
		st.iceAt = time.Now()
	}
	switch s {
	case webrtc.ICEConnectionStateConnected:
		x.emitPath()
	case webrtc.ICEConnectionStateFailed:
		if x.mode != Interactive {
			x.close(media.EndLost, "", "")
		}
	}
}

func (x *Session) dtlsChanged(s webrtc.DTLSTransportState) {
	st := &x.stages
	st.dtls = s
	x.noteState("dtls", s.String())
	switch {
	case s == webrtc.DTLSTransportStateConnected && st.dtlsAt.IsZero():
		st.dtlsAt = time.Now()
		x.peer.transport.connected()
	case s == webrtc.DTLSTransportStateFailed:
		x.giveUp() // a handshake is not repeated
	case s == webrtc.DTLSTransportStateClosed && st.connected() && x.mode != Interactive:
		// A close_notify of WHIP or WHEP counts as DELETE.
		x.close(media.EndLeft, "", "")
	}
}

func (x *Session) noteState(what, state string) {
	x.emit(event.Event{Type: event.NoteState, Data: map[string]any{"text": what + " " + state, what: state}})
}

// emitPath says by which path the session is connected.
func (x *Session) emitPath() {
	p := x.path()
	data := map[string]any{"path": p.kind, "protocol": p.protocol, "local": p.local}
	if !x.stages.answered.IsZero() {
		data["after_ms"] = time.Since(x.stages.answered).Milliseconds()
	}
	x.emit(event.Event{Type: event.ICEConnected, Data: data})
}

// noteCandidate writes down a candidate of the client, once, and why it is not
// used.
func (x *Session) noteCandidate(candidate, mid string) {
	if strings.TrimSpace(candidate) == "" {
		return // end of candidates
	}
	st := &x.stages
	if len(st.candidates) >= maxNotedCandidates || slices.Contains(st.candidates, candidate) {
		return // a renegotiation repeats them all
	}
	st.candidates = append(st.candidates, candidate)
	about := describeCandidate(candidate, mid)
	if about["protocol"] == "udp" && about["type"] != ice.CandidateTypeRelay.String() {
		st.udp.offered++
	}
	x.emit(event.Event{Type: event.NoteCandidate, Data: about})
}

// maxNotedCandidates bounds what a client can write in the journal.
const maxNotedCandidates = 64

// describeCandidate says what a candidate is and why it was ignored.
func describeCandidate(candidate, mid string) map[string]any {
	data := map[string]any{"text": "candidate ignored", "mid": mid, "side": "client"}
	c, err := ice.UnmarshalCandidate(strings.TrimPrefix(strings.TrimSpace(candidate), "candidate:"))
	if err != nil {
		data["candidate"], data["reason"] = clip(candidate, 200), "it can't be parsed"
		return data
	}
	data["type"], data["protocol"], data["address"], data["port"] = c.Type().String(), c.NetworkType().NetworkShort(), c.Address(), c.Port()
	if strings.HasSuffix(c.Address(), ".local") {
		data["reason"] = "the browser hides the address behind a .local name (normal); the server learns it from connectivity checks"
		return data
	}
	data["reason"] = "the server never dials: it learns the address from connectivity checks"
	return data
}

func clip(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}
