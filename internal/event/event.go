// Package event defines what Consilium tells the world about a call: one
// struct, a closed list of types and a closed list of failure codes. The same
// event goes, in order, to the participants concerned, to the webhook and the
// event feed of the medical information system (MIS), to the call's journal
// and to metrics.
//
// The package is a leaf: it imports nothing of ours.
package event

import (
	"strings"
	"time"
)

// Type names what happened. The list is part of the public contract.
type Type string

// Event types.
const (
	CallStarted Type = "call.started"
	CallEnded   Type = "call.ended"

	ParticipantInvited  Type = "participant.invited"
	ParticipantRinging  Type = "participant.ringing"
	ParticipantDeclined Type = "participant.declined"
	ParticipantNoAnswer Type = "participant.no_answer"
	ParticipantWaiting  Type = "participant.waiting"
	ParticipantAdmitted Type = "participant.admitted"
	ParticipantJoined   Type = "participant.joined"
	ParticipantLeft     Type = "participant.left"
	ParticipantFailed   Type = "participant.failed"

	ICEConnected Type = "ice.connected"

	MediaFlowing Type = "media.flowing"
	MediaStalled Type = "media.stalled"
	MediaResumed Type = "media.resumed"
	MediaTimeout Type = "media.timeout"

	QualityPoor      Type = "quality.poor"
	QualityRecovered Type = "quality.recovered"

	RecordingArmed   Type = "recording.armed"
	RecordingStarted Type = "recording.started"
	RecordingReady   Type = "recording.ready"
	RecordingFailed  Type = "recording.failed"
	RecordingSpace   Type = "recording.space"
	RecordingUpload  Type = "recording.upload"

	ConsentGiven   Type = "consent.given"
	ConsentRefused Type = "consent.refused"

	PrecheckCompleted Type = "precheck.completed"
)

// Notes: entries of a call's journal that are not events of the contract.
// They appear in the timeline only, never in the feed or at the webhook.
const (
	NoteCandidate   Type = "note.candidate"   // an ICE candidate: whose, what, and what became of it
	NoteState       Type = "note.state"       // a state of ICE, DTLS or signalling changed
	NoteNegotiation Type = "note.negotiation" // an offer was answered or refused
	NoteClient      Type = "note.client"      // an entry of the client's own log
	NoteTrack       Type = "note.track"       // a track was published, muted or ended
	NoteClock       Type = "note.clock"       // the server's wall clock was set
)

// Public reports whether events of type t go to the feed and the webhook.
func (t Type) Public() bool { return !strings.HasPrefix(string(t), "note.") }

// Types returns every event type, in the order of the contract.
func Types() []Type {
	return []Type{
		CallStarted, CallEnded,
		ParticipantInvited, ParticipantRinging, ParticipantDeclined, ParticipantNoAnswer,
		ParticipantWaiting, ParticipantAdmitted, ParticipantJoined, ParticipantLeft, ParticipantFailed,
		ICEConnected,
		MediaFlowing, MediaStalled, MediaResumed, MediaTimeout,
		QualityPoor, QualityRecovered,
		RecordingArmed, RecordingStarted, RecordingReady, RecordingFailed, RecordingSpace, RecordingUpload,
		ConsentGiven, ConsentRefused,
		PrecheckCompleted,
	}
}

// Code says why a call, or a part of it, failed. The list is closed: words for
// patient, doctor and administrator exist for each, in every language.
type Code string

// Failure codes.
const (
	InsecurePage    Code = "INSECURE_PAGE"
	CertUntrusted   Code = "CERT_UNTRUSTED"
	CamDenied       Code = "CAM_DENIED"
	CamBusy         Code = "CAM_BUSY"
	CamNone         Code = "CAM_NONE"
	MicDenied       Code = "MIC_DENIED"
	MicBusy         Code = "MIC_BUSY"
	MicNone         Code = "MIC_NONE"
	BrowserOld      Code = "BROWSER_OLD"
	InAppBrowser    Code = "IN_APP_BROWSER"
	FramePolicy     Code = "FRAME_POLICY"
	SignalLost      Code = "SIGNAL_LOST"
	UDPBlocked      Code = "UDP_BLOCKED"
	NoRoute         Code = "NO_ROUTE"
	TURNAuth        Code = "TURN_AUTH"
	NoCandidates    Code = "NO_CANDIDATES"
	DTLSFailed      Code = "DTLS_FAILED"
	NoMediaOut      Code = "NO_MEDIA_OUT"
	NoMediaIn       Code = "NO_MEDIA_IN"
	MicSilent       Code = "MIC_SILENT"
	Interrupted     Code = "INTERRUPTED"
	UplinkWeak      Code = "UPLINK_WEAK"
	DownlinkWeak    Code = "DOWNLINK_WEAK"
	CPUWeak         Code = "CPU_WEAK"
	ServerBusy      Code = "SERVER_BUSY"
	ServerRestart   Code = "SERVER_RESTART"
	TokenBad        Code = "TOKEN_BAD"
	TokenExpired    Code = "TOKEN_EXPIRED"
	TokenEarly      Code = "TOKEN_EARLY"
	SessionReplaced Code = "SESSION_REPLACED"
	RecorderFailed  Code = "RECORDER_FAILED"
	DiskFull        Code = "DISK_FULL"
	PeerAbsent      Code = "PEER_ABSENT"
	ConsentDeclined Code = "CONSENT_REFUSED"
	Unknown         Code = "UNKNOWN"
)

// Codes returns every failure code, in the order of the contract.
func Codes() []Code {
	return []Code{
		InsecurePage, CertUntrusted, CamDenied, CamBusy, CamNone, MicDenied, MicBusy, MicNone,
		BrowserOld, InAppBrowser, FramePolicy, SignalLost, UDPBlocked, NoRoute, TURNAuth, NoCandidates,
		DTLSFailed, NoMediaOut, NoMediaIn, MicSilent, Interrupted, UplinkWeak, DownlinkWeak, CPUWeak,
		ServerBusy, ServerRestart, TokenBad, TokenExpired, TokenEarly, SessionReplaced,
		RecorderFailed, DiskFull, PeerAbsent, ConsentDeclined, Unknown,
	}
}

// Stage is a step on the way to a working call; a failure names the step that
// was missed. Order is the order in which a call passes them.
type Stage string

// Stages of a call.
const (
	StagePage       Stage = "page"
	StageSocket     Stage = "socket"
	StageDevices    Stage = "devices"
	StageNegotiate  Stage = "offer"
	StageICE        Stage = "ice"
	StageDTLS       Stage = "dtls"
	StageFirstRTP   Stage = "first_rtp"
	StageFirstFrame Stage = "first_frame"
	StageFlowing    Stage = "flowing"
)

// Direction of a media failure, seen from the participant it names.
type Direction string

// Directions.
const (
	// Out: nothing arrives from the participant, who should be publishing.
	Out Direction = "out"
	// In: the participant decodes nothing of what is sent to him.
	In Direction = "in"
)

// Event is one thing that happened in a call. It is a value: once emitted it
// is not changed, and Data and Evidence must not be written to.
type Event struct {
	// ID orders events: later events have lexically greater ids. It is set by
	// the journal when the event is emitted and is empty before.
	ID   string    `json:"id"`
	Type Type      `json:"type"`
	Time time.Time `json:"time"`

	Call        string `json:"call,omitempty"`
	Room        string `json:"room,omitempty"`
	Participant string `json:"participant,omitempty"` // identity
	Session     string `json:"session,omitempty"`
	Track       string `json:"track,omitempty"`

	// ExternalID and Metadata are the MIS's own, given with POST /v1/calls.
	ExternalID string            `json:"external_id,omitempty"`
	Metadata   map[string]string `json:"metadata,omitempty"`

	// Failure is set for media.timeout and participant.failed (and may be set
	// for recording.failed).
	Failure

	// Data holds what is specific to the type; docs/reference/events.md lists
	// the keys. Values are JSON scalars, or small maps and slices of them.
	Data map[string]any `json:"data"`
}

// IncidentKey is the key of Data that holds the incident number of a failure.
const IncidentKey = "incident"

// Incident returns the incident number of a failure (package incident), "" if
// it has none. The journal gives it.
func (e Event) Incident() string {
	number, _ := e.Data[IncidentKey].(string)
	return number
}

// Failure says what failed and how we know.
type Failure struct {
	Code      Code           `json:"code,omitempty"`
	Stage     Stage          `json:"stage,omitempty"`
	Direction Direction      `json:"direction,omitempty"`
	Evidence  map[string]any `json:"evidence,omitempty"`
}

// Sink takes events. Emit never blocks and never fails: what can't be kept is
// counted by the sink. It is safe for concurrent use.
type Sink interface {
	Emit(Event)
}

// Func makes a Sink of a function.
type Func func(Event)

// Emit calls f.
func (f Func) Emit(e Event) { f(e) }
