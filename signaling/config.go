package signaling

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"consilium/internal/event"
	"consilium/internal/media"
	"consilium/sfu"
)

// SFU opens sessions. Use Adapt to make one of an *sfu.Server.
type SFU interface {
	// Join opens a session. It may block (at most until ctx ends) and returns
	// one of the errors of package sfu, wrapped.
	Join(ctx context.Context, r sfu.JoinRequest) (Session, error)
}

// Session is what signalling needs of an sfu.Session. Every method is safe for
// concurrent use; those without a context do not block.
type Session interface {
	ID() string
	Call() sfu.CallInfo
	State() sfu.ParticipantState

	Offer(ctx context.Context, o sfu.Offer) (sfu.Answer, error)
	Publish(ctx context.Context, mid string, source media.Source, active, muted bool) error
	View(ctx context.Context, tracks []sfu.View) error
	Candidate(candidate, mid string)
	Decoded(counts map[string]uint64)
	ClientLog(stage event.Stage, text string, f event.Failure, data map[string]any, at time.Time)

	Admit(ctx context.Context, identity string) error
	Remove(ctx context.Context, identity string) error
	Mute(ctx context.Context, identity string, source media.Source) error
	EndCall(ctx context.Context) error

	// SocketLost and SocketBack tell whether somebody listens: the
	// participant is shown as reconnecting in between.
	SocketLost()
	SocketBack()
	// Fail says why the session is about to be lost; Leave follows.
	Fail(f event.Failure)
	// Leave ends the session. Done is closed when it is over, for whatever
	// reason; the last notice comes before.
	Leave(reason media.EndReason)
	Done() <-chan struct{}
}

var _ Session = (*sfu.Session)(nil)

// Adapt makes an SFU of a Join method that returns a concrete session:
//
//	signaling.Adapt(server.Join)
func Adapt[S Session](join func(context.Context, sfu.JoinRequest) (S, error)) SFU {
	return joinFunc(func(ctx context.Context, r sfu.JoinRequest) (Session, error) {
		session, err := join(ctx, r)
		if err != nil {
			return nil, err // not session: a nil pointer is no nil interface
		}
		return session, nil
	})
}

type joinFunc func(context.Context, sfu.JoinRequest) (Session, error)

func (f joinFunc) Join(ctx context.Context, r sfu.JoinRequest) (Session, error) { return f(ctx, r) }

// Claims is what a verified join token says.
type Claims struct {
	Person sfu.Person
	Grants []string // the names of the grants, for the client
}

// Authenticator verifies join tokens. It is safe for concurrent use. Its errors
// are, or wrap, a *TokenError; any other counts as TOKEN_BAD.
type Authenticator interface {
	Verify(ctx context.Context, token string) (Claims, error)
}

// TokenError says why a token was refused.
type TokenError struct {
	Code      event.Code // TOKEN_BAD, TOKEN_EXPIRED or TOKEN_EARLY
	Forbidden bool       // genuine, but not for joining: 403 instead of 401
	Err       error      // for an administrator; holds no secret
	// Person is whose token it is, if its signature is good and only its time
	// is not; zero otherwise. Claimed is what any other token says.
	Person  sfu.Person
	Claimed Claimed
}

// Claimed is what a token says that nobody vouches for.
type Claimed struct{ Room, Identity string }

// Error returns the words of Err.
func (e *TokenError) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *TokenError) Unwrap() error { return e.Err }

// Config is what New needs. Zero limits and durations stand for the defaults.
type Config struct {
	SFU  SFU           // required
	Auth Authenticator // required
	// SecretKey signs the session secrets, so that they hold across a restart
	// of the server: at least 32 bytes, the same after the restart. Required.
	SecretKey []byte
	// ICEServers mints STUN and TURN servers with fresh credentials for a
	// session. May be nil: none.
	ICEServers func(session, identity string) []ICEServer
	// Events gets consent.refused, and participant.failed of those who are
	// refused. May be nil.
	Events event.Sink
	// Number gives a failure its incident number before it is emitted and told
	// to the client. nil: failures have none.
	Number func(event.Event) event.Event
	// Recording says that calls are recorded: nobody joins without consent.
	Recording bool
	Limits    LimitConfig
	Timing    Timing
	Log       *slog.Logger // nil: discarded
}

// LimitConfig bounds what one client may do. Zero stands for the default.
type LimitConfig struct {
	Sockets        int     // sockets open at once, of all clients; 4096
	MessageBytes   int     // a message from the client; 262144
	MessageRate    float64 // messages a second, sustained; 50
	MessageBurst   int     // messages at once; 300
	QueueMessages  int     // messages waiting for a slow socket; 256
	ReplayMessages int     // unacknowledged messages kept for a resume; 200
	ReplayBytes    int     // the same in bytes; 524288
	SDPBytes       int     // body of a WHIP or WHEP request; 65536
	Joins          int     // joins a second, of all clients; 0: no limit
	JoinRate       float64 // WHIP and WHEP joins a second, of one identity; 10
	JoinBurst      int     // the same at once; 50
}

// Timing holds the durations. Zero stands for the default.
type Timing struct {
	Hello        time.Duration // from the socket to the first message; 10 s
	PingInterval time.Duration // 20 s
	PongTimeout  time.Duration // silence after which a socket is dead; 45 s
	Write        time.Duration // one write to a socket; 10 s
	CloseWait    time.Duration // for the client's half of the close handshake; 2 s
	ResumeWindow time.Duration // a lost socket may take to come back; 20 s
	RejoinWindow time.Duration // a secret lives on after its session, or after a restart; 5 min
	SecretTTL    time.Duration // age at which a secret is refused in any case; 24 h
	AckDelay     time.Duration // the longest an acknowledgement waits; 500 ms
	Request      time.Duration // one call into the SFU; 10 s
	Retry        time.Duration // after which clients come back from a restart; 2 s
	// These are only told to the client.
	MediaTimeout   time.Duration // 10 s
	RelayRestart   time.Duration // 4.5 s
	ReportInterval time.Duration // 2 s
	// TunnelAfter is when a client without a connection may open GET /ws/media,
	// from its answer on; 0: there is none.
	TunnelAfter time.Duration
}

func orDefault[T int | float64 | time.Duration](value *T, fallback T) {
	if *value <= 0 {
		*value = fallback
	}
}

func (c *Config) setDefaults() error {
	switch {
	case c.SFU == nil:
		return errors.New("signaling: Config.SFU is missing")
	case c.Auth == nil:
		return errors.New("signaling: Config.Auth is missing")
	case len(c.SecretKey) < 32:
		return fmt.Errorf("signaling: Config.SecretKey has %d bytes, needs at least 32", len(c.SecretKey))
	}
	if c.ICEServers == nil {
		c.ICEServers = func(string, string) []ICEServer { return nil }
	}
	if c.Events == nil {
		c.Events = event.Func(func(event.Event) {})
	}
	if c.Number == nil {
		c.Number = func(e event.Event) event.Event { return e }
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c.Limits.setDefaults()
	c.Timing.setDefaults()
	return nil
}

func (l *LimitConfig) setDefaults() {
	orDefault(&l.Sockets, 4096)
	orDefault(&l.MessageBytes, 256<<10)
	orDefault(&l.MessageRate, 50)
	orDefault(&l.MessageBurst, 300)
	orDefault(&l.QueueMessages, 256)
	orDefault(&l.ReplayMessages, 200)
	orDefault(&l.ReplayBytes, 512<<10)
	orDefault(&l.SDPBytes, 64<<10)
	orDefault(&l.JoinRate, 10)
	orDefault(&l.JoinBurst, 50)
}

func (t *Timing) setDefaults() {
	orDefault(&t.Hello, 10*time.Second)
	orDefault(&t.PingInterval, 20*time.Second)
	orDefault(&t.PongTimeout, 45*time.Second)
	orDefault(&t.Write, 10*time.Second)
	orDefault(&t.CloseWait, 2*time.Second)
	orDefault(&t.ResumeWindow, 20*time.Second)
	orDefault(&t.RejoinWindow, 5*time.Minute)
	orDefault(&t.SecretTTL, 24*time.Hour)
	orDefault(&t.AckDelay, 500*time.Millisecond)
	orDefault(&t.Request, 10*time.Second)
	orDefault(&t.Retry, 2*time.Second)
	orDefault(&t.MediaTimeout, 10*time.Second)
	orDefault(&t.RelayRestart, 4500*time.Millisecond)
	orDefault(&t.ReportInterval, 2*time.Second)
}
