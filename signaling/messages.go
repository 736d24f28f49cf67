package signaling

import "encoding/json"

// Subprotocol is the WebSocket subprotocol of GET /ws.
const Subprotocol = "consilium.v1"

// Envelope is every message on the wire, both ways. docs/reference/protocol.md
// is the prose of this file.
//
// Seq numbers the messages of one direction of one session, from 1, without
// gaps, across sockets; hello, welcome, resume, resumed, ack, ping and pong
// are outside the numbering and have no Seq. Ack is the highest Seq received
// in order from the other side. ID is chosen by the client for a request; the
// reply repeats it in Re. A request that is sent again (after a resume) keeps
// its Seq and ID and gets the stored reply.
type Envelope struct {
	Type string          `json:"type"`
	Seq  uint64          `json:"seq,omitempty"`
	Ack  uint64          `json:"ack,omitempty"`
	ID   string          `json:"id,omitempty"`
	Re   string          `json:"re,omitempty"`
	Body json.RawMessage `json:"body,omitempty"`
}

// Client to server, outside the numbering.
type (
	// Hello ("hello") is the first message of a new session.
	Hello struct {
		Token string `json:"token"`
		// Rejoin is the secret of the session this one continues after a page
		// reload or a server restart; the token may then be expired.
		Rejoin string `json:"rejoin,omitempty"`
		// Room is the room of the link. It decides nothing: a link of which the
		// token was cut off is told by it.
		Room    string     `json:"room,omitempty"`
		Consent *Consent   `json:"consent,omitempty"`
		Client  ClientInfo `json:"client"`
	}
	// Resume ("resume") is the first message of a new socket of a living
	// session: media has gone on meanwhile.
	Resume struct {
		Session string `json:"session"`
		Secret  string `json:"secret"`
		Ack     uint64 `json:"ack"` // highest server Seq received
	}
	// Ping ("ping") measures the round trip and the clock offset; pong answers.
	Ping struct {
		Time float64 `json:"time"` // client's clock, ms since 1970
	}
)

// Consent is what the person answered to the sentence about recording.
type Consent struct {
	Recording bool   `json:"recording"`
	Text      string `json:"text"` // version of the sentence that was shown
	Lang      string `json:"lang"`
}

// ClientInfo describes the client for the journal.
type ClientInfo struct {
	UserAgent string `json:"user_agent,omitempty"`
	Version   string `json:"version,omitempty"`
	Lang      string `json:"lang,omitempty"`
	Screen    string `json:"screen,omitempty"`
	Network   string `json:"network,omitempty"`
}

// Client to server, numbered. Those marked (request) carry an ID and are
// answered by "ok", "answer" or "error".
type (
	// OfferBody ("offer", request) is answered by "answer". One offer may be
	// in flight.
	OfferBody struct {
		SDP    string        `json:"sdp"`
		Tracks []SentTrack   `json:"tracks"`
		Seats  []SeatRequest `json:"seats"`
	}
	// SentTrack says what a sending m-line carries.
	SentTrack struct {
		MID    string `json:"mid"`
		Source string `json:"source"` // mic, cam or screen
		Muted  bool   `json:"muted"`
	}
	// SeatRequest says which receive-only m-lines make one seat; a screen's
	// seat has no audio.
	SeatRequest struct {
		Audio string `json:"audio,omitempty"`
		Video string `json:"video"`
	}
	// Candidate ("candidate") reports a trickled ICE candidate. The server
	// does not use it (it learns the client from its checks); it is logged.
	Candidate struct {
		Candidate string `json:"candidate"`
		MID       string `json:"mid,omitempty"`
	}
	// Publish ("publish", request) announces that a sending m-line now
	// carries a source, is muted, or carries nothing any more (active false:
	// the client has called replaceTrack(null)).
	Publish struct {
		MID    string `json:"mid"`
		Source string `json:"source"`
		Active bool   `json:"active"`
		Muted  bool   `json:"muted"`
	}
	// ViewBody ("view") tells which video tracks the client shows and how
	// large, in device pixels; tracks not listed are not visible.
	ViewBody struct {
		Tracks []View `json:"tracks"`
	}
	// View is one visible track.
	View struct {
		Track  string `json:"track"`
		Width  int    `json:"width"`
		Height int    `json:"height"`
	}
	// Report ("report") is sent every 2 s: what was decoded so far, by track,
	// and what the client measured, for the journal.
	Report struct {
		Decoded map[string]Decoded `json:"decoded"`
		Stats   map[string]float64 `json:"stats,omitempty"`
	}
	// Decoded counts what came out of the decoder of a track.
	Decoded struct {
		Frames  uint64  `json:"frames,omitempty"`  // video
		Samples uint64  `json:"samples,omitempty"` // audio
		Lost    int64   `json:"lost,omitempty"`
		Jitter  float64 `json:"jitter,omitempty"` // seconds
	}
	// Log ("log") carries entries of the client's own log into the journal.
	Log struct {
		Entries []LogEntry `json:"entries"`
	}
	// LogEntry is one entry. Code is set when it says that something failed.
	LogEntry struct {
		Time  float64        `json:"time"` // client's clock, ms since 1970
		Stage string         `json:"stage"`
		Text  string         `json:"text"`
		Code  string         `json:"code,omitempty"`
		Data  map[string]any `json:"data,omitempty"`
	}
	// Target ("admit", "remove", requests) names a participant.
	Target struct {
		Participant string `json:"participant"`
	}
	// MuteOther ("mute", request) mutes a source of somebody else.
	MuteOther struct {
		Participant string `json:"participant"`
		Source      string `json:"source"`
	}
	// Empty is the body of "end" (request: ends the call for everybody),
	// "turn" (request: fresh TURN credentials, answered by "turn") and
	// "leave".
	Empty struct{}
)

// Server to client, outside the numbering.
type (
	// Welcome ("welcome") answers hello.
	Welcome struct {
		Session    string      `json:"session"`
		Secret     string      `json:"secret"` // for resume and rejoin
		Call       string      `json:"call"`
		Room       string      `json:"room"`
		Identity   string      `json:"identity"`
		Name       string      `json:"name"`
		Role       string      `json:"role"`
		Grants     []string    `json:"grants"`
		State      string      `json:"state"` // joined or waiting
		Recording  bool        `json:"recording"`
		ICEServers []ICEServer `json:"ice_servers"`
		Limits     Limits      `json:"limits"`
		Time       float64     `json:"time"` // server's clock, ms since 1970
	}
	// ICEServer is an RTCIceServer.
	ICEServer struct {
		URLs       []string `json:"urls"`
		Username   string   `json:"username,omitempty"`
		Credential string   `json:"credential,omitempty"`
	}
	// Limits are what the client needs to know of the server's limits.
	Limits struct {
		MessageBytes   int     `json:"message_bytes"`
		MediaTimeout   float64 `json:"media_timeout"`   // seconds
		ResumeWindow   float64 `json:"resume_window"`   // seconds a lost socket may take to come back
		RelayRestart   float64 `json:"relay_restart"`   // seconds after the answer: restart ICE relay-only
		ReportInterval float64 `json:"report_interval"` // seconds
		TunnelAfter    float64 `json:"tunnel_after"`    // seconds after the answer: open GET /ws/media; 0: there is none
	}
	// Resumed ("resumed") answers resume. What the client has not got follows,
	// under its old numbers. If Snapshot, not all of that was kept: a state and
	// a seats message and the missing replies follow instead, numbered from the
	// client's ack + 1, so that there is no gap.
	Resumed struct {
		Ack        uint64      `json:"ack"` // highest client Seq received
		Snapshot   bool        `json:"snapshot"`
		ICEServers []ICEServer `json:"ice_servers"`
	}
	// Pong ("pong") answers ping.
	Pong struct {
		Time   float64 `json:"time"`   // repeated from the ping
		Server float64 `json:"server"` // server's clock, ms since 1970
	}
)

// Server to client, numbered.
type (
	// AnswerBody ("answer") answers an offer.
	AnswerBody struct {
		SDP string `json:"sdp"`
	}
	// State ("state") is the whole picture; sent when admitted and after a
	// resume with a snapshot.
	State struct {
		Call         string        `json:"call"`
		Recording    RecordingBody `json:"recording"`
		Participants []Participant `json:"participants"`
	}
	// Participant ("participant") came or changed. The client finds itself
	// among them by its identity.
	Participant struct {
		Identity string      `json:"identity"`
		Name     string      `json:"name"`
		Role     string      `json:"role"`
		State    string      `json:"state"` // waiting, joined, reconnecting
		Sessions []string    `json:"sessions"`
		Tracks   []TrackInfo `json:"tracks"`
	}
	// TrackInfo describes a published track.
	TrackInfo struct {
		ID      string `json:"id"`
		Session string `json:"session"`
		Source  string `json:"source"`
		Muted   bool   `json:"muted"`
		State   string `json:"state"` // waiting, flowing, stalled
	}
	// ParticipantLeft ("participant_left").
	ParticipantLeft struct {
		Identity string `json:"identity"`
		Reason   string `json:"reason"`
	}
	// Seats ("seats") lists every seat and how many are missing: the client
	// then adds them and offers again.
	Seats struct {
		Seats          []Seat `json:"seats"`
		MissingPersons int    `json:"missing_persons"`
		MissingScreens int    `json:"missing_screens"`
	}
	// Seat says whose media a pair of m-lines carries; empty strings if none.
	Seat struct {
		ID          string `json:"id"`
		Audio       string `json:"audio"` // mid
		Video       string `json:"video"` // mid
		Participant string `json:"participant"`
		Session     string `json:"session"`
		AudioTrack  string `json:"audio_track"`
		VideoTrack  string `json:"video_track"`
	}
	// RecordingBody ("recording") is the recording sign.
	RecordingBody struct {
		On       bool   `json:"on"`
		Code     string `json:"code,omitempty"`
		Incident string `json:"incident,omitempty"` // number of the failure
	}
	// EventBody ("event") is an event that concerns this participant.
	EventBody struct {
		Type        string         `json:"type"`
		Time        string         `json:"time"`
		Participant string         `json:"participant,omitempty"`
		Track       string         `json:"track,omitempty"`
		Code        string         `json:"code,omitempty"`
		Stage       string         `json:"stage,omitempty"`
		Direction   string         `json:"direction,omitempty"`
		Data        map[string]any `json:"data,omitempty"`
	}
	// Admitted ("admitted") ends the waiting. Secret takes the place of that of
	// the welcome for a rejoin: with it nobody waits again after a restart.
	Admitted struct {
		Secret string `json:"secret,omitempty"`
	}
	// Muted ("muted"): somebody muted a source of yours; mute it locally.
	Muted struct {
		Source string `json:"source"`
		By     string `json:"by"`
	}
	// TURNBody ("turn") has fresh TURN credentials.
	TURNBody struct {
		ICEServers []ICEServer `json:"ice_servers"`
	}
	// Ended ("ended") is the last message: left, removed, replaced, call_ended
	// or shutdown. The socket then closes; there is nothing to resume.
	Ended struct {
		Reason string  `json:"reason"`
		Code   string  `json:"code,omitempty"`
		By     string  `json:"by,omitempty"`
		Retry  float64 `json:"retry,omitempty"` // seconds after which to join again; 0: don't
	}
	// ErrorBody ("error") refuses the session if Fatal; otherwise the request
	// in Re or, without Re, a message that had no ID: then nothing else happens.
	ErrorBody struct {
		Code    string  `json:"code"`    // a failure code, or a problem code of the HTTP API
		Message string  `json:"message"` // for an administrator, in English
		Fatal   bool    `json:"fatal,omitempty"`
		Retry   float64 `json:"retry,omitempty"`
		// Incident is the number of the failure, to be told to the clinic.
		Incident string `json:"incident,omitempty"`
	}
)
