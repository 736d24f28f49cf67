// Package upload keeps a copy of every finished recording in another store:
// part by part, resumable over restarts, read back before it counts. DESIGN of
// who may delete what: a local file goes only after its copy was read back
// twice, a copy only when its recording is erased.
//
// The package is a leaf: what a recording is, it asks a [Source]; where copies
// go, a [Store] knows.
package upload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// Store keeps objects under keys. It is safe for concurrent use. Errors that
// have a meaning here are *Error or wrap one of the errors below; no method
// waits for ever for a peer that is silent.
type Store interface {
	// Place names where objects go. What was sent to another place does not
	// count.
	Place() string
	// Begin begins an object that comes in parts and returns what names the
	// upload.
	Begin(ctx context.Context, key string) (upload string, err error)
	// Put sends a part; numbers begin at 1. The same part may come again. The
	// error wraps ErrNoUpload if the store knows nothing of the upload.
	Put(ctx context.Context, key, upload string, number int, content *io.SectionReader) (etag string, err error)
	// Complete makes an object of its parts and returns its version, "" where
	// the store has none. The error may wrap ErrNoUpload.
	Complete(ctx context.Context, key, upload string, etags []string) (version string, err error)
	// Abort drops an upload. One that is not there is no error.
	Abort(ctx context.Context, key, upload string) error
	// Unfinished lists uploads that were neither completed nor aborted, also
	// those of others.
	Unfinished(ctx context.Context) ([]Unfinished, error)
	// Open reads an object from its beginning; of version "" the latest. The
	// error wraps ErrNoObject if there is none. The caller closes it.
	Open(ctx context.Context, key, version string) (*Object, error)
	// Remove removes a version of an object. One that is not there is no
	// error; of one that the store must keep the Reason is Locked.
	Remove(ctx context.Context, key, version string) error
}

// Object is one that is being read.
type Object struct {
	io.ReadCloser
	Version string // that is read; "" where the store has none
}

// Unfinished is an upload that a store holds parts of.
type Unfinished struct {
	Key, Upload string
	Begun       time.Time
}

// Errors of a Store.
var (
	ErrNoUpload = errors.New("the store knows no such upload")
	ErrNoObject = errors.New("the store has no such object")
)

// Reason is why a copy is not there yet; also the label of a metric.
type Reason string

// Reasons.
const (
	Unreachable Reason = "unreachable"    // no connection, or the store is out of order
	Stalled     Reason = "stalled"        // a connection over which nothing goes
	Certificate Reason = "certificate"    // TLS: the store's certificate is not trusted
	Credentials Reason = "credentials"    // the store does not know the access key, or refuses the secret
	Denied      Reason = "denied"         // the key may not do that
	NoBucket    Reason = "no_bucket"      // the bucket does not exist
	Full        Reason = "full"           // the store has no space left
	Locked      Reason = "locked"         // the store must keep the object
	Corrupted   Reason = "corrupted"      // what was read back is not what was sent
	Local       Reason = "local"          // the file here can't be read, or is not what its manifest says
	Unsealed    Reason = "unsealed"       // not sealed, and unsealed files must not leave
	Other       Reason = "other"          // anything else
	NotSaved    Reason = "state_not_kept" // progress can't be written down: the disk here is full
)

// Reasons returns every reason.
func Reasons() []Reason {
	return []Reason{
		Unreachable, Stalled, Certificate, Credentials, Denied, NoBucket, Full, Locked, Corrupted, Local, Unsealed, NotSaved, Other,
	}
}

// everywhere reports whether the next recording would fail likewise. What is
// not known is taken for a fault of one recording, which must not keep back the
// others.
func (r Reason) everywhere() bool {
	switch r {
	case Corrupted, Local, Unsealed, Locked, Other:
		return false
	default:
		return true
	}
}

// Error is a failure with its reason.
type Error struct {
	Reason Reason
	Err    error
}

// Error implements error.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns what failed.
func (e *Error) Unwrap() error { return e.Err }

// fail makes an *Error.
func fail(r Reason, format string, args ...any) error {
	return &Error{r, fmt.Errorf(format, args...)}
}

// ReasonOf returns why something failed.
func ReasonOf(err error) Reason {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Reason
	}
	return Other
}
