package signaling

import (
	"errors"
	"net/http"
	"time"

	"consilium/internal/event"
	"consilium/internal/problem"
	"consilium/sfu"
)

// Codes of "error" messages that neither package event nor package problem has.
const (
	codeUnknownType     = "unknown_type"     // the server knows no such message
	codeUnexpected      = "unexpected"       // a message that has no place here
	codeSequence        = "sequence"         // Seq is missing, or one was left out
	codeReplyGone       = "reply_gone"       // repeated too late: the stored reply is gone
	codeOfferInFlight   = "offer_in_flight"  // the last offer is not answered yet
	codeConsentRequired = "consent_required" // calls are recorded: hello needs consent
	codeSessionUnknown  = "session_unknown"  // nothing to resume: say hello with rejoin
	codeTooBig          = problem.TooLarge
	codeBadMessage      = problem.BadJSON
	codeRateLimited     = problem.RateLimited
)

// failure is a refusal, as HTTP and the socket both need it.
type failure struct {
	status int // HTTP
	code   string
	text   string // for an administrator
	retry  time.Duration

	incident string // its number, if there is one

	// Of a token that was refused: who bears it, or says that he does.
	person  sfu.Person
	claimed Claimed
}

// tokenFailure says what is wrong with a token.
func tokenFailure(err error) failure {
	f := failure{status: http.StatusUnauthorized, code: string(event.TokenBad), text: err.Error()}
	var refused *TokenError
	if errors.As(err, &refused) {
		f.person, f.claimed = refused.Person, refused.Claimed
		if refused.Code != "" {
			f.code = string(refused.Code)
		}
		if refused.Forbidden {
			f.status = http.StatusForbidden
		}
	}
	return f
}

// sfuFailure says what an error of the SFU means to the client. Errors that
// are none of the known ones stay in the server's log: known is false.
func sfuFailure(err error, retry time.Duration) (f failure, known bool) {
	status, code, known := sfu.Refusal(err)
	if !known {
		return failure{status: http.StatusInternalServerError, code: problem.Internal, text: "internal error"}, false
	}
	f = failure{status: status, code: code, text: err.Error()}
	if status == http.StatusServiceUnavailable {
		f.retry = retry
	}
	return f, true
}

// write sends the failure as a problem document.
func (f failure) write(w http.ResponseWriter) {
	problem.Write(w, f.status, f.code, f.text, problem.RetryAfter(f.retry))
}

// body is the failure as an "error" message.
func (f failure) body(fatal bool) ErrorBody {
	return ErrorBody{Code: f.code, Message: f.text, Fatal: fatal, Retry: f.retry.Seconds(), Incident: f.incident}
}

// handshakeFailure says why a WebSocket handshake was refused.
func handshakeFailure(status int, reason error) failure {
	code := problem.BadRequest
	if status == http.StatusForbidden { // another origin
		code = problem.Forbidden
	}
	return failure{status: status, code: code, text: reason.Error()}
}
