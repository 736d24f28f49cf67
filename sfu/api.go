package sfu

import (
	"context"
	"errors"
	"time"

	"consilium/internal/event"
	"consilium/internal/media"
)

// Errors that callers tell apart. What comes back wraps one of them and says
// what was wrong in words that may be shown to an administrator. Refusal gives
// its status to clients.
var (
	ErrBadOffer  = errors.New("offer can't be used")                // 422, or 400 where it is not SDP
	ErrNotSDP    = errors.New("not SDP")                            // 400
	ErrNoGrant   = errors.New("not granted")                        // 403
	ErrNotFound  = errors.New("not found")                          // 404
	ErrWaiting   = errors.New("waiting to be admitted")             // 409
	ErrConflict  = errors.New("not possible in this state")         // 409
	ErrClosed    = errors.New("session is closed")                  // 404
	ErrBusy      = errors.New("server is at its limit")             // 503 SERVER_BUSY
	ErrDraining  = errors.New("server is restarting")               // 503 SERVER_RESTART
	ErrRecording = errors.New("recording is not possible just now") // 503 and the code of CodedError
)

// CodedError is an error with the failure code that people are told. A Recorder
// returns one when it knows better than RECORDER_FAILED, and an ErrRecording of
// Session.Offer is always one.
type CodedError struct {
	Code event.Code
	Err  error
}

func (e *CodedError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *CodedError) Unwrap() error { return e.Err }

// Grants are what a person may do in a call.
type Grants struct {
	PublishAudio, PublishVideo, PublishScreen bool
	Subscribe                                 bool
	Admit, Mute, Remove, End                  bool
}

// Person is who joins. It comes from a verified token.
type Person struct {
	Room     string
	Identity string
	Name     string // shown to others; may be empty
	Role     string
	Lang     string
	Grants   Grants
}

// Mode is what a session is for.
type Mode uint8

const (
	// Interactive sessions publish and subscribe; they come over the
	// WebSocket. There is at most one per participant: a new one replaces it.
	Interactive Mode = iota
	// Publisher sessions only send (WHIP).
	Publisher
	// Player sessions only receive, from one participant (WHEP). They are not
	// participants: nobody sees them and no participant event is emitted.
	Player
)

// JoinRequest opens a session.
type JoinRequest struct {
	Person
	Mode Mode
	// Rejoin is the session this one continues (a page reload, a server
	// restart); the participant then keeps his place and no one sees him leave.
	Rejoin string
	// Admitted says that the participant was let in before the server
	// restarted, and need not wait again.
	Admitted bool
	// Target, for a Player, is the identity whose tracks are played, and
	// Sources what is wanted of them, in the order of the offer's m-lines:
	// nil means microphone for audio, camera and then screen for video.
	Target  string
	Sources []media.Source
	// Notify gets what the session must be told. It is called from the loop
	// of the call, in order, and must not block. May be nil.
	Notify func(Notice)
	// Consent is the person's agreement to the recording, for the event
	// consent.given; nil where none was asked for.
	Consent *Consent
	// Client describes the other end for the journal (user agent, protocol).
	Client map[string]any
	// Offer, if set, is what the session will offer first. It is checked before
	// anybody joins: nobody hears of somebody who could never have connected.
	Offer *Offer
}

// Consent is what a person agreed to: the version of the sentence about the
// recording, and the language it was shown in.
type Consent struct{ Text, Lang string }

// SentTrack tells what a sending m-line of an offer carries.
type SentTrack struct {
	MID    string
	Source media.Source
	Muted  bool
}

// SeatRequest tells which receive-only m-lines of an offer make one seat. A
// seat for a person has an audio and a video m-line, a seat for a screen only
// a video m-line.
type SeatRequest struct {
	Audio string // mid, or ""
	Video string // mid
}

// Offer is an SDP offer with the meaning of its m-lines. Sending m-lines not
// named in Tracks, and receive-only ones not named in Seats, are given their
// meaning by order: first audio microphone, first video camera, next screen;
// first receive-only audio with first receive-only video, and so on.
type Offer struct {
	SDP    string
	Tracks []SentTrack
	Seats  []SeatRequest
}

// Answer is the server's answer to an offer.
type Answer struct {
	SDP string
	// Candidates are the host candidates of SDP, for a log.
	Candidates []string
}

// Seat says who sits where: which of the session's m-lines carry whose media.
// An empty seat has no Session.
type Seat struct {
	ID          string // "seat-0", "screen-0": the msid of its m-lines
	Audio       string // mid, "" for a screen
	Video       string // mid
	Participant string // identity
	Session     string
	AudioTrack  string // track ids, "" when not published
	VideoTrack  string
}

// View is what a subscriber sees of a track. Width and Height are in device
// pixels; zero means it is not visible, and its video is paused.
type View struct {
	Track         string
	Width, Height int
}

// TrackState is where a track is in its life.
type TrackState string

// States of a track.
const (
	TrackWaiting TrackState = "waiting" // announced, no RTP yet
	TrackFlowing TrackState = "flowing"
	TrackStalled TrackState = "stalled"
	TrackEnded   TrackState = "ended"
)

// TrackInfo describes a published track to others.
type TrackInfo struct {
	ID      string
	Session string
	Source  media.Source
	Codec   string
	Muted   bool
	State   TrackState
}

// ParticipantInfo describes a participant to others.
type ParticipantInfo struct {
	Identity string
	Name     string
	Role     string
	State    ParticipantState
	Sessions []string
	Tracks   []TrackInfo
}

// ParticipantState is where a participant is.
type ParticipantState string

// States of a participant.
const (
	Waiting      ParticipantState = "waiting" // held until admitted
	Joined       ParticipantState = "joined"
	Reconnecting ParticipantState = "reconnecting" // signalling or media is lost; the seat is kept
	Left         ParticipantState = "left"
)

// CallInfo describes a call.
type CallInfo struct {
	ID           string
	Room         string
	ExternalID   string
	Metadata     map[string]string
	Started      time.Time
	Ended        time.Time // zero while it lives
	Recording    NoticeRecording
	Hold         bool
	Participants []ParticipantInfo // the waiting ones too
}

// CallSpec opens a call before anybody is in it.
type CallSpec struct {
	Room       string
	ExternalID string
	Metadata   map[string]string
	// Hold keeps patients and companions waiting until they are admitted.
	Hold bool
	// Awaited are the identities that were invited. If it is set, nobody is told
	// that he is alone who is the only one of them.
	Awaited []string
}

// Notice is what a session is told. The concrete types follow.
type Notice interface{ notice() }

type (
	// NoticeState is the whole picture: sent once when the session is
	// admitted. Others are in Call.Participants; so is the session's own.
	NoticeState struct{ Call CallInfo }
	// NoticeParticipant says that a participant came or changed. The waiting
	// ones are told only to those who may admit.
	NoticeParticipant struct{ Participant ParticipantInfo }
	// NoticeParticipantLeft says that a participant is gone.
	NoticeParticipantLeft struct {
		Identity string
		Reason   media.EndReason
	}
	// NoticeSeats lists every seat of the session, and how many more of each
	// kind are needed for everybody to be seen.
	NoticeSeats struct {
		Seats                          []Seat
		MissingPersons, MissingScreens int
	}
	// NoticeRecording says whether the call is being recorded. Code says why it
	// is not although it should be; with On, why something of it is not.
	NoticeRecording struct {
		On       bool
		Code     event.Code
		Incident string // its number
	}
	// NoticeEvent is an event that concerns the session: media.timeout,
	// media.stalled and so on.
	NoticeEvent struct{ Event event.Event }
	// NoticeMute asks the publisher to mute a source: somebody who may do so
	// asked for it. The server forwards nothing of it until it is unmuted.
	NoticeMute struct {
		Source media.Source
		By     string
	}
	// NoticeEnded is the last notice: the session is over and why.
	NoticeEnded struct {
		Reason media.EndReason
		Code   event.Code // SESSION_REPLACED, SERVER_RESTART or empty
		By     string     // identity of who removed him or ended the call
	}
)

func (NoticeState) notice()           {}
func (NoticeParticipant) notice()     {}
func (NoticeParticipantLeft) notice() {}
func (NoticeSeats) notice()           {}
func (NoticeRecording) notice()       {}
func (NoticeEvent) notice()           {}
func (NoticeMute) notice()            {}
func (NoticeEnded) notice()           {}

// Recorder makes recordings. Arm returns when everything needed to record the
// call is in place (directory, space, index) or fails; it is called off the
// call's loop and must return soon after ctx has ended. Its error may be a
// *CodedError.
type Recorder interface {
	Arm(ctx context.Context, call media.Call) (Recording, error)
}

// Recording records one call.
type Recording interface {
	// Track returns the sink of a track. It never blocks and never fails: a
	// track that can't be recorded gets a sink that counts. keyframe asks the
	// publisher for a keyframe; calls to it are merged and rate-limited.
	Track(t media.Track, keyframe func()) media.Sink
	// Note adds an event of the call to the recording's manifest.
	Note(event.Event)
	// End says that the call is over; no Track or Note call follows.
	End(at time.Time)
}
